"""Layout of the graph's feature matrix: every table column some split reads, once, whichever models share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelyard.data.dataset import Ints
from modelyard.families.tabular.inputs import Levels, Singles


def union_levels(several: Sequence[Levels]) -> Levels:
    """Return for each column every level some member knows, sorted."""
    return tuple(tuple(sorted(set().union(*known))) for known in zip(*several, strict=True))


def stretch(own: Sequence[str], whole: Sequence[str]) -> Ints:
    """Return for each row of a table over `whole` (and unseen, missing) the row of the table over `own` it takes."""
    place = {level: i for i, level in enumerate(own)}
    size = len(own)
    return np.array([*(place.get(level, size) for level in whole), size, size + 1], dtype=np.int64)


@dataclass(slots=True)
class Layout:
    """Columns of the feature matrix: `p` numbers, then `width` figures for each category column.

    Columns come as they are asked for; asking for equal figures twice gives the same one.
    """

    numbers: int
    levels: Levels
    columns: list[list[Singles]] = field(default_factory=list)
    known: list[dict[bytes, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.columns = [[] for _ in self.levels]
        self.known = [{} for _ in self.levels]

    def place(self, own: Levels, tables: Sequence[Singles], used: Ints) -> list[tuple[int, int]]:
        """Return (category column or -1, position) for each feature of one model; unused ones are (-1, -1)."""
        wanted = set(used.tolist())
        found = [(-1, i if i in wanted else -1) for i in range(self.numbers)]
        for c, (table, mine, whole) in enumerate(zip(tables, own, self.levels, strict=True)):
            rows = stretch(mine, whole)
            for j in range(table.shape[1]):
                if len(found) not in wanted:
                    found.append((-1, -1))
                    continue
                figures = np.ascontiguousarray(table[rows, j])
                key = figures.tobytes()
                if key not in self.known[c]:
                    self.known[c][key] = len(self.columns[c])
                    self.columns[c].append(figures)
                found.append((c, self.known[c][key]))
        return found

    @property
    def width(self) -> int:
        """Figures each category column has room for: the most any of them needs."""
        return max((len(c) for c in self.columns), default=0)

    def position(self, place: tuple[int, int]) -> int:
        """Return the column of the feature matrix; -1 for a feature no split reads."""
        column, index = place
        return index if column < 0 else self.numbers + column * self.width + index

    def table(self) -> Singles:
        """Return the figures of all levels of all columns, [sum of (L + 2), width], zero where there is none."""
        rows = [len(known) + 2 for known in self.levels]
        whole = np.zeros((sum(rows), self.width), dtype=np.float32)
        start = 0
        for size, figures in zip(rows, self.columns, strict=True):
            for j, column in enumerate(figures):
                whole[start : start + size, j] = column
            start += size
        return whole


def vocabulary(levels: Levels) -> tuple[list[str], Ints]:
    """Return every string any column knows, and the row each means in each column.

    Returns
    -------
    list of str
        V strings, the empty one (missing) first.
    int64 array of shape [V + 1, q]
        Row of the table over all columns; the last is for strings nobody knows.
    """
    words = ["", *sorted(set().union(*levels))] if levels else [""]
    place = {word: i for i, word in enumerate(words)}
    rows = np.zeros((len(words) + 1, len(levels)), dtype=np.int64)
    start = 0
    for c, known in enumerate(levels):
        size = len(known)
        rows[:, c] = start + size
        rows[0, c] = start + size + 1
        rows[[place[level] for level in known], c] = start + np.arange(size)
        start += size + 2
    return words, rows
