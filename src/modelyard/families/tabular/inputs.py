"""Inputs: the rows of a table as numbers and level codes, before any fold has taught them anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.dataset import Dataset, Ints
from modelyard.encoding.encoding import MISSING, Encoding
from modelyard.families.tabular.texts import TextRows, Vocabulary, find_vocabulary, read_texts

Singles = NDArray[np.float32]
Codes = NDArray[np.int32]
Levels = tuple[tuple[str, ...], ...]

MOST_LEVELS = 10_000
"""Levels kept of one column, most frequent first; rarer ones are treated as unseen."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Encoded rows.

    Attributes
    ----------
    numbers : float32 array of shape [n, p]
        Missing is NaN; finite otherwise.
    codes : int32 array of shape [n, q]
        Position of the level among the column's L levels; L where it is not among them, L + 1 where missing.
    texts : tuple of TextRows
        Words and pairs of each text column.
    """

    numbers: Singles
    codes: Codes
    texts: tuple[TextRows, ...] = ()

    def take(self, rows: Ints) -> Inputs:
        """Return the named rows."""
        return Inputs(self.numbers[rows], self.codes[rows], tuple(text.take(rows) for text in self.texts))

    def wider(self, more: Singles) -> Inputs:
        """Return the rows with more numbers after their own."""
        return replace(self, numbers=np.concatenate([self.numbers, more], axis=1))

    def without(self, places: Sequence[int]) -> Inputs:
        """Return the rows with 0 in some columns of numbers, from which nothing can be learnt."""
        numbers = self.numbers.copy()
        numbers[:, list(places)] = 0.0
        return replace(self, numbers=numbers)


@lru_cache(maxsize=1)  # every candidate asks it of the same rows
def find_levels(data: Dataset) -> Levels:
    """Return the levels of each category column, sorted by name so that equal tables give equal codes."""
    _, strings = Encoding.of(data.schema).frame(data.frame)
    found = []
    for column in strings.T:
        counts = _text(column).value_counts().filter(pl.col("text") != MISSING)
        kept = counts.sort(["count", "text"], descending=[True, False]).head(MOST_LEVELS)["text"]
        found.append(tuple(sorted(kept.to_list())))
    return tuple(found)


@lru_cache(maxsize=1)
def find_vocabularies(data: Dataset) -> tuple[Vocabulary, ...]:
    """Return the words of each text column."""
    return tuple(find_vocabulary(column) for column in Encoding.of(data.schema).texts_of_frame(data.frame).T)


@lru_cache(maxsize=1)  # every candidate, and every member of a blend, asks it of the same rows
def read_inputs(data: Dataset, levels: Levels, vocabularies: tuple[Vocabulary, ...] = ()) -> Inputs:
    """Return a table's features as numbers, codes and counts of words; nobody may change them.

    Parameters
    ----------
    data : Dataset
        Rows of the schema the levels were found in.
    levels : tuple of tuple of str
        The levels of each category column.
    vocabularies : tuple of Vocabulary
        The words of each text column.
    """
    encoding = Encoding.of(data.schema)
    numbers, strings = encoding.frame(data.frame)
    texts = encoding.texts_of_frame(data.frame).T if vocabularies else ()
    codes = [_codes(column, known) for column, known in zip(strings.T, levels, strict=True)]
    return Inputs(
        numbers,
        np.stack(codes, axis=1) if codes else np.zeros((len(data), 0), dtype=np.int32),
        tuple(read_texts(column, words) for column, words in zip(texts, vocabularies, strict=True)),
    )


def varies(matrix: NDArray[Any]) -> bool:
    """Say whether some column of a matrix [n, p] holds more than one value."""
    first = matrix[:1]
    same = (matrix == first) | (np.isnan(matrix) & np.isnan(first))
    return not bool(same.all())


def _codes(column: NDArray[np.object_], known: Sequence[str]) -> Codes:
    size = len(known)
    place = {text: i for i, text in enumerate(known)} | {MISSING: size + 1}
    return np.fromiter(map(place.get, column.tolist(), repeat(size)), dtype=np.int32, count=len(column))


def _text(column: NDArray[np.object_]) -> pl.Series:
    return pl.Series("text", column.tolist(), dtype=pl.String)
