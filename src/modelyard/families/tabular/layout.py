"""Layout of the graph's feature matrix: every table column some split reads, once, whichever models share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelyard.data.dataset import Ints
from modelyard.families.tabular.derived import Derived
from modelyard.families.tabular.inputs import Levels, Singles

PLAIN, DERIVED = -1, -2
"""Places of numbers, and of derived numbers."""


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
    """Columns of the feature matrix: `p` numbers, derived numbers, then `width` figures for each category column.

    Columns come as they are asked for; asking for equal ones twice gives the same one.
    """

    numbers: int
    levels: Levels
    pairs: dict[tuple[int, int, int], int] = field(default_factory=dict)
    columns: list[list[Singles]] = field(default_factory=list)
    known: list[dict[bytes, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.columns = [[] for _ in self.levels]
        self.known = [{} for _ in self.levels]

    def place(self, own: Levels, tables: Sequence[Singles], derived: Derived, used: Ints) -> list[tuple[int, int]]:
        """Return (category column, `PLAIN` or `DERIVED`; position) for each feature of one model; -1 if unused."""
        wanted = set(used.tolist())
        found = [(PLAIN, i if i in wanted else -1) for i in range(self.numbers)]
        for kind, first, second in derived.pairs.tolist():
            if len(found) in wanted:
                found.append((DERIVED, self.pairs.setdefault((kind, first, second), len(self.pairs))))
            else:
                found.append((PLAIN, -1))
        for c, (table, mine, whole) in enumerate(zip(tables, own, self.levels, strict=True)):
            rows = stretch(mine, whole)
            for j in range(table.shape[1]):
                if len(found) not in wanted:
                    found.append((PLAIN, -1))
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

    @property
    def derived(self) -> Derived:
        """The derived numbers, those of one kind together."""
        return Derived(np.array(sorted(self.pairs), dtype=np.int64).reshape(-1, 3))

    def positions(self, places: Sequence[tuple[int, int]]) -> Ints:
        """Return the columns of the feature matrix, once all have been placed; -1 for a feature no split reads."""
        rank = {self.pairs[pair]: i for i, pair in enumerate(sorted(self.pairs))}

        def column(kind: int, index: int) -> int:
            if kind == PLAIN:
                return index
            if kind == DERIVED:
                return self.numbers + rank[index]
            return self.numbers + len(rank) + kind * self.width + index

        return np.array([column(*place) for place in places], dtype=np.int64)

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
