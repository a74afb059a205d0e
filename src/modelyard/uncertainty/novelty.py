"""Novelty: how unusual a row is beside the rows the model was developed on."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from math import log1p

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints
from modelyard.encoding.encoding import MISSING, Encoding

_EDGES = 40
"""Values of a number whose tail probabilities are kept, denser towards both ends."""
_LEVELS = 1_000
_RANKS = 1_000
"""Surprises of development rows that are kept: the score's resolution is one in so many."""
_PARTS = 5
_MOST_ROWS = 50_000
_DIGITS = 9
_CELLS = 2**22
"""Comparisons held in memory at once."""


@dataclass(frozen=True, slots=True)
class NumberSeen:
    """What a number looked like.

    Attributes
    ----------
    place : int
        Column of the encoding's matrix of numbers.
    edges : tuple of float
        Values seen, increasing, the least and the largest among them.
    surprise : tuple of float
        For a value at most edges[0], of edges[i-1] < value <= edges[i], ..., in nats.
    missing : float
        Surprise of no value.
    """

    place: int
    edges: tuple[float, ...]
    surprise: tuple[float, ...]
    missing: float


@dataclass(frozen=True, slots=True)
class LevelsSeen:
    """What a category looked like: the surprise of each level, the missing one (``""``) among them, in nats."""

    place: int
    surprise: dict[str, float]


@dataclass(frozen=True)
class Novelty:
    """How unusual a row is: the share of development rows that are less unusual.

    A row's surprise is the mean over its columns of -log of how often so extreme a value, or this level, was seen.
    A value beyond the range seen, a level never seen and a value missing that never was count as seen once more than
    never; further beyond the range is more surprising. The score is where that mean stands among those of the
    development rows, each measured by rows it is not among.

    Attributes
    ----------
    unseen : float
        Surprise of what was never seen, in nats.
    numbers : tuple of NumberSeen
        One for each number, boolean and date but the time column.
    levels : tuple of LevelsSeen
        One for each category.
    ranks : tuple of float
        Surprises of development rows, increasing, at even shares of them.

    Notes
    -----
    Columns are looked at one by one: a usual value beside another that it never goes with is not noticed, nor is a
    gap inside a range.

    References
    ----------
    Li, Zhao, Hu, Botta, Ionescu, Chen (2022), "ECOD: unsupervised outlier detection using empirical cumulative
    distribution functions". IEEE TKDE: the tails of numbers. Categories and missing values are this project's.
    """

    unseen: float
    numbers: tuple[NumberSeen, ...]
    levels: tuple[LevelsSeen, ...]
    ranks: tuple[float, ...]

    def __call__(self, numbers: NDArray[np.float32], strings: NDArray[np.object_]) -> Floats:
        """Return the score of encoded rows, from 0 (more usual than all) to 1 (more unusual than all), of shape [n].

        Parameters
        ----------
        numbers : float32 array of shape [n, p]
            As the encoding gives them.
        strings : object array of shape [n, q]
            Likewise.
        """
        below = np.searchsorted(self._table.ranks, self.surprise(numbers, strings), side="left")
        return np.asarray(below / max(1, len(self.ranks)), dtype=np.float64)

    def surprise(self, numbers: NDArray[np.float32], strings: NDArray[np.object_]) -> Floats:
        """Return the mean surprise over the columns of each row, in nats, of shape [n]."""
        if len(numbers) == 1:  # a request: a handful of numpy calls would take ten times as long
            total = np.array([self._of_one(numbers[0].tolist())])
        else:
            step = max(1, _CELLS // max(1, self._table.edges.size))
            parts = [self._table.surprise(numbers[i : i + step], self.unseen) for i in range(0, len(numbers), step)]
            total = np.concatenate(parts) if parts else np.zeros(0)
        for seen in self.levels:
            get, unseen = seen.surprise.get, self.unseen
            total += [get(level, unseen) for level in strings[:, seen.place].tolist()]
        # Rounded: how many rows are summed at once changes the last bits, and must not change the score.
        mean = total / max(1, len(self.numbers) + len(self.levels))
        return np.asarray(mean.round(_DIGITS), dtype=np.float64)

    def _of_one(self, row: list[float]) -> float:
        total = 0.0
        for seen in self.numbers:
            value, edges = row[seen.place], seen.edges
            if value != value:
                total += seen.missing
            elif edges and edges[0] <= value <= edges[-1]:
                total += seen.surprise[bisect_left(edges, value)]
            elif edges:
                beyond = max(edges[0] - value, value - edges[-1])
                total += self.unseen + log1p(beyond / (edges[-1] - edges[0] or 1.0))
            else:
                total += self.unseen
        return total

    @cached_property
    def _table(self) -> _Table:
        return _Table(self)


class _Table:
    """The numbers' side of a Novelty as arrays, padded to one width, so that a row is a handful of numpy calls."""

    def __init__(self, record: Novelty) -> None:
        seen = record.numbers
        width = max((len(s.edges) for s in seen), default=0)
        self.ranks = np.asarray(record.ranks)
        self.places = np.array([s.place for s in seen], dtype=np.intp)
        self.edges = np.full((len(seen), width), np.inf)
        self.surprises = np.full((len(seen), width + 1), record.unseen)
        for j, s in enumerate(seen):
            self.edges[j, : len(s.edges)] = s.edges
            self.surprises[j, : len(s.surprise)] = s.surprise
        self.missing = np.array([s.missing for s in seen])
        self.low = np.array([s.edges[0] if s.edges else -np.inf for s in seen])
        self.high = np.array([s.edges[-1] if s.edges else np.inf for s in seen])
        span = self.high - self.low
        self.span = np.where(span > 0, span, 1.0)
        self.columns = np.arange(len(seen))

    def surprise(self, numbers: NDArray[np.float32], unseen: float) -> Floats:
        """Return the sum over the numbers of each row, of shape [n]."""
        x = numbers[:, self.places].astype(np.float64)
        found = self.surprises[self.columns, (x[:, :, None] > self.edges).sum(axis=2)]
        beyond = np.maximum(self.low - x, x - self.high)
        outside = beyond > 0
        if outside.any():
            found = np.where(outside, unseen + np.log1p(np.where(outside, beyond, 0.0) / self.span), found)
        return np.asarray(np.where(np.isnan(x), self.missing, found).sum(axis=1), dtype=np.float64)


def novelty(
    encoding: Encoding,
    numbers: NDArray[np.float32],
    strings: NDArray[np.object_],
    seed: int,
    groups: Ints | None = None,
) -> Novelty | None:
    """Learn what is usual; None where there is no column to look at.

    Parameters
    ----------
    encoding : Encoding
        The layout of the matrices.
    numbers, strings : arrays
        Encoded development rows.
    seed : int
        Divides the rows into fifths, each of which is measured by the others.
    groups : int64 array of shape [n], optional
        Entity of each row: a fifth holds whole entities.
    """
    random = np.random.default_rng(seed)
    if len(numbers) > _MOST_ROWS:
        some = np.sort(random.choice(len(numbers), _MOST_ROWS, replace=False))
        numbers, strings, groups = numbers[some], strings[some], None if groups is None else groups[some]
    units = np.arange(len(numbers)) if groups is None else np.unique(groups, return_inverse=True)[1]
    part = (random.permutation(int(units.max(initial=-1)) + 1) % _PARTS)[units]
    whole = _learn(encoding, numbers, strings)
    if not whole.numbers and not whole.levels:
        return None
    surprises = [
        _learn(encoding, numbers[part != k], strings[part != k]).surprise(numbers[part == k], strings[part == k])
        for k in np.unique(part)
        if (part != k).any()
    ]
    ranked = np.sort(np.concatenate(surprises)) if surprises else np.empty(0)
    if len(ranked) > _RANKS:
        ranked = ranked[(np.arange(_RANKS) * len(ranked)) // _RANKS]
    return Novelty(whole.unseen, whole.numbers, whole.levels, tuple(ranked.tolist()))


def _learn(encoding: Encoding, numbers: NDArray[np.float32], strings: NDArray[np.object_]) -> Novelty:
    # Of a date its place in time is looked at; its other parts follow from it. Of the time column all is new to come.
    whole = {i for i, wanted in enumerate(encoding.numbers) if wanted.part in ("value", "days")}
    places = sorted(whole - set(encoding.elapsed))
    return Novelty(
        _surprise(0, len(numbers)),
        tuple(_number(i, numbers[:, i].astype(np.float64)) for i in places),
        tuple(_levels(i, strings[:, i]) for i in range(len(encoding.strings))),
        (),
    )


def _number(place: int, values: Floats) -> NumberSeen:
    n, known = len(values), np.sort(values[~np.isnan(values)])
    missing = _surprise(n - len(known), n)
    if not len(known):
        return NumberSeen(place, (), (), missing)
    tails = np.geomspace(0.5, 0.5 / max(1, len(known)), _EDGES // 2)
    shares = np.concatenate([[0.0], tails[::-1], 1 - tails[1:], [1.0]])
    edges = np.unique(np.quantile(known, shares, method="inverted_cdf"))
    upto = np.searchsorted(known, edges, side="right")
    least = np.concatenate([[0], upto[:-1]])  # values under all that fall to this edge
    seen = 2 * np.minimum(upto, len(known) - least)
    present = _surprise(len(known), n)
    return NumberSeen(
        place,
        tuple(edges.tolist()),
        tuple(present + _surprise(min(int(c), len(known)), len(known)) for c in seen),
        missing,
    )


def _levels(place: int, values: NDArray[np.object_]) -> LevelsSeen:
    n, counts = len(values), Counter(values.tolist())
    ordered = sorted(counts, key=lambda level: (-counts[level], level))
    seen = {level: _surprise(counts[level], n) for level in ordered[:_LEVELS]}
    seen.setdefault(MISSING, _surprise(0, n))
    return LevelsSeen(place, seen)


def _surprise(count: int, n: int) -> float:
    """Return -log of a share, seen once more than it was: what was never seen has a share too."""
    return float(np.log(n + 1) - np.log(count + 1))
