"""Layout of the graph's feature matrix: every table column some split reads, once, whichever models share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from modelyard.data.dataset import Ints
from modelyard.families.tabular.derived import Derived
from modelyard.families.tabular.inputs import Levels, Singles
from modelyard.families.tabular.text_tables import TextTable
from modelyard.families.tabular.texts import Vocabulary

PLAIN, DERIVED, TEXT = -1, -2, -3
"""Places of numbers, of derived numbers, and of the first text column; the others count on downwards."""


@dataclass(slots=True)
class TextColumn:
    """What the graph works out of one text column: the words of the text, and figures as they are asked for.

    Attributes
    ----------
    vocabulary : Vocabulary
        Its words and pairs.
    weights, squares : list of float32 arrays of shape [rows of the vocabulary]
        Different columns of text tables.
    figures : dict of (int, int) to int
        By place among `weights` and `squares`, the figure; the text's words are figure 0.
    """

    vocabulary: Vocabulary
    weights: list[Singles] = field(default_factory=list)
    squares: list[Singles] = field(default_factory=list)
    figures: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Columns of the feature matrix."""
        return 1 + len(self.figures)

    def place(self, table: TextTable, number: int) -> int:
        """Return the figure that is one column of a table."""
        key = _among(self.weights, table.weights[:, number]), _among(self.squares, table.squares)
        return self.figures.setdefault(key, 1 + len(self.figures))


def _among(held: list[Singles], column: Singles) -> int:
    """Return where a column stands in a list, put at its end if it is not there."""
    column = np.ascontiguousarray(column)
    for place, other in enumerate(held):
        if np.array_equal(column, other):
            return place
    held.append(column)
    return len(held) - 1


@dataclass(slots=True)
class Layout:
    """Columns of the feature matrix: `p` numbers, those of texts, derived numbers, `width` figures for each category.

    Columns come as they are asked for; asking for equal ones twice gives the same one.
    """

    numbers: int
    levels: Levels
    texts: tuple[TextColumn, ...] = ()
    pairs: dict[tuple[int, int, int], int] = field(default_factory=dict)
    columns: list[list[Singles]] = field(init=False)
    known: list[dict[bytes, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = [[] for _ in self.levels]
        self.known = [{} for _ in self.levels]

    def place(
        self, tables: Sequence[Singles], derived: Derived, used: Ints, texts: Sequence[TextTable] = ()
    ) -> list[tuple[int, int]]:
        """Return (category column, `PLAIN`, `DERIVED` or text; position) for each feature of a model; -1 if unused."""
        wanted = set(used.tolist())
        found = [(PLAIN, i if i in wanted else -1) for i in range(self.numbers)]
        for kind, number in _figures(texts):
            place = self._figure(kind, number, texts) if len(found) in wanted else (PLAIN, -1)
            found.append(place)
        for kind, first, second in derived.pairs.tolist():
            if len(found) in wanted:
                found.append((DERIVED, self.pairs.setdefault((kind, first, second), len(self.pairs))))
            else:
                found.append((PLAIN, -1))
        for c, table in enumerate(tables):
            for j in range(table.shape[1]):
                if len(found) not in wanted:
                    found.append((PLAIN, -1))
                    continue
                figures = np.ascontiguousarray(table[:, j])
                key = figures.tobytes()
                if key not in self.known[c]:
                    self.known[c][key] = len(self.columns[c])
                    self.columns[c].append(figures)
                found.append((c, self.known[c][key]))
        return found

    def place_numbers(self, texts: Sequence[TextTable]) -> list[tuple[int, int]]:
        """Return the places of the numbers and figures of texts of one linear model."""
        plain = [(PLAIN, i) for i in range(self.numbers)]
        return [*plain, *(self._figure(kind, number, texts) for kind, number in _figures(texts))]

    def _figure(self, column: int, number: int, texts: Sequence[TextTable]) -> tuple[int, int]:
        return TEXT - column, 0 if number < 0 else self.texts[column].place(texts[column], number)

    @property
    def plain(self) -> int:
        """Numbers and figures of texts: what linear models read."""
        return self.numbers + sum(text.width for text in self.texts)

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
            if kind <= TEXT:
                return self.numbers + sum(text.width for text in self.texts[: TEXT - kind]) + index
            if kind == DERIVED:
                return self.plain + rank[index]
            return self.plain + len(rank) + kind * self.width + index

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


def _figures(texts: Sequence[TextTable]) -> list[tuple[int, int]]:
    """Return text column and column of its table, -1 for the text's words, in a model's order."""
    return [(c, j) for c, table in enumerate(texts) for j in range(-1, table.weights.shape[1])]


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
