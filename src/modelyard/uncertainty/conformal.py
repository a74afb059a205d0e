"""Conformal intervals and sets: bounds as wide as out-of-fold answers were wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints

_A_BIN, _MOST_BINS = 200, 10
"""Units a bin of predicted values holds at least, so that its outer 2.5 % are five of them."""
_OWN = 50
"""Units from which on a class has a threshold of its own."""
_PARITY = 1e-5
"""A packed model may answer that much otherwise than the trained one; bounds are that much wider."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """How far the truth may lie from a predicted value.

    Attributes
    ----------
    coverage : float
        Share of coming values that lie within.
    edges : tuple of float
        Inner edges of the bins of predicted values, increasing; bin i holds edges[i-1] < value <= edges[i].
    low, high : tuple of float
        What is added to the predicted value, for each bin.
    """

    coverage: float
    edges: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, predicted: Floats) -> Floats:
        """Return low and high, of shape [n, 2], for predicted values of shape [n]."""
        place = np.searchsorted(np.asarray(self.edges), predicted, side="left")
        bounds = np.array([self.low, self.high], dtype=np.float64).T
        return np.asarray(predicted[:, None] + bounds[place], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Sets:
    """From which probability on a class that is not the answer may be the true one.

    Attributes
    ----------
    coverage : float
        Least share of coming rows, of each class, whose class is in its set.
    least : tuple of float
        For each class, the probability from which on it is in the set; just under 1 where the answer alone is right
        often enough.
    held : float
        Share held of the out-of-fold units the sets were made from: more than `coverage` where the answer alone is
        right more often; NaN in records that lack it.
    """

    coverage: float
    least: tuple[float, ...]
    held: float = float("nan")

    def __call__(self, probabilities: Floats, answered: Ints) -> NDArray[np.bool_]:
        """Return which classes are in each row's set, bool of shape [n, k]; the answered one, of shape [n], always."""
        chosen = np.asarray(probabilities >= np.asarray(self.least))
        chosen[np.arange(len(chosen)), answered] = True
        return chosen


def units_needed(coverage: float) -> int:
    """Return how many units a bound of that coverage takes: n of them bound at most n / (n + 1) of the future."""
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))


def intervals(
    predicted: Floats,
    truth: Floats,
    coverages: tuple[float, ...],
    *,
    groups: Ints | None = None,
    weights: Floats | None = None,
) -> tuple[Intervals, ...]:
    """Return the intervals that out-of-fold answers support, narrowest first.

    Parameters
    ----------
    predicted, truth : float64 arrays of shape [n]
        Answers to rows the model had not seen, and what came true.
    coverages : tuple of float
        Wanted, increasing; those with too few units for any bound are left out.
    groups : int64 array of shape [n], optional
        Entity of each row: entities and not rows are exchangeable, and each counts once.
    weights : float64 array of shape [n], optional
        Sample weights.

    Notes
    -----
    Split conformal prediction with residuals in the place of a held-out part's (cross-conformal), within up to ten
    bins of the predicted value of at least 200 units each (Mondrian), so that width follows the size of the errors.
    From 200 units on each end is a quantile of its own, as errors are seldom symmetric; fewer are taken as absolute
    errors in one bin. How many bins there are follows from the count of units alone.

    References
    ----------
    Vovk, Gammerman, Shafer (2005), "Algorithmic learning in a random world", chapters 2 and 4.
    Vovk (2015), "Cross-conformal predictors". Annals of mathematics and artificial intelligence 74.
    Lee, Barber, Willett (2023), "Distribution-free inference with hierarchical data": each group counts once.
    """
    share, units = unit_weights(len(truth), groups, weights)
    wanted = [c for c in coverages if units >= units_needed(c)]
    if not wanted:
        return ()
    residual = truth - predicted
    spare = _PARITY * float(np.std(truth))
    edges = _edges(predicted, share, min(_MOST_BINS, units // _A_BIN))
    place = np.searchsorted(edges, predicted, side="left")
    cells = []
    for k in range(len(edges) + 1):
        rows = np.flatnonzero(place == k)
        cells.append((residual[rows], *unit_weights(len(rows), _of(groups, rows), _of(weights, rows))))
    found = []
    for coverage in wanted:
        ends = [_ends(*cell, coverage, units >= _A_BIN) for cell in cells]
        if np.isfinite(ends).all():  # a few rows of great weight may leave no room for the unit to come
            low, high = tuple(low - spare for low, _ in ends), tuple(high + spare for _, high in ends)
            found.append(Intervals(coverage, tuple(edges.tolist()), low, high))
    return tuple(found)


def sets(
    probabilities: Floats,
    answered: Ints,
    codes: Ints,
    coverages: tuple[float, ...],
    *,
    groups: Ints | None = None,
    weights: Floats | None = None,
) -> tuple[Sets, ...]:
    """Return the sets that out-of-fold answers support, smallest first.

    Parameters
    ----------
    probabilities : float64 array of shape [n, k]
        Answers to rows the model had not seen.
    answered : int64 array of shape [n]
        The class that is answered, which is always in the set.
    codes : int64 array of shape [n]
        The true classes.
    coverages, groups, weights
        As in `intervals`.

    Notes
    -----
    A class is in a set where it is the answer, and else from the probability on that makes up `coverage` of its own
    rows: least ambiguous sets with a promise for each class, since one promise for all rows could be kept by never
    naming a rare one. The answer scores as if it were certain: however sure the models are of it, rows of a class
    that is answered in nearly all of them stay tied, where thresholds between their probabilities would hold more as
    soon as the models that ship are a little surer than those of the folds. A class with fewer than 50 units takes
    the threshold of all rows, and has no promise of its own.

    References
    ----------
    Sadinle, Lei, Wasserman (2019), "Least ambiguous set-valued classifiers with bounded error levels". JASA 114.
    Ding, Angelopoulos, Bates, Jordan, Tibshirani (2023), "Class-conditional conformal prediction with many classes":
    rare classes share one threshold. NeurIPS.
    """
    own = np.where(answered == codes, 1.0, probabilities[np.arange(len(codes)), codes])
    share, units = unit_weights(len(own), groups, weights)
    whole = (-own, share, units)
    cells = []
    for k in range(probabilities.shape[1]):
        rows = np.flatnonzero(codes == k)
        cell = (-own[rows], *unit_weights(len(rows), _of(groups, rows), _of(weights, rows)))
        cells.append(whole if cell[2] < _OWN else cell)
    found = []
    for coverage in coverages:
        least = np.array([-_bound(*cell, coverage) for cell in cells]) * (1 - _PARITY)
        if np.isfinite(least).all():
            held = float(np.average(own >= least[codes], weights=share))
            found.append(Sets(coverage, tuple(least.tolist()), held))
    return tuple(found)


def unit_weights(n: int, groups: Ints | None, weights: Floats | None) -> tuple[Floats, int]:
    """Return weights of n rows that sum to the number of units, each group counting once, and that number."""
    given = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if groups is None:
        kept = int((given > 0).sum())
        return (given * kept / given.sum() if kept else given), kept
    codes = np.unique(groups, return_inverse=True)[1]
    total = np.bincount(codes, given)
    shares = given / np.where(total > 0, total, 1.0)[codes]
    return shares, int((total > 0).sum())


def _edges(predicted: Floats, share: Floats, bins: int) -> Floats:
    """Return inner edges at predicted values that divide the weights evenly."""
    if bins < 2:
        return np.empty(0)
    order = np.argsort(predicted, kind="stable")
    cut = np.searchsorted(np.cumsum(share[order]), share.sum() * np.arange(1, bins) / bins)
    edges = np.unique(predicted[order][cut])
    return np.asarray(edges[edges < predicted.max()], dtype=np.float64)


def _ends(residual: Floats, share: Floats, units: int, coverage: float, apart: bool) -> tuple[float, float]:
    """Return the lowest and highest residual to expect, each end for itself or both alike."""
    if apart:
        each = (1 + coverage) / 2
        return -_bound(-residual, share, units, each), _bound(residual, share, units, each)
    half = _bound(np.abs(residual), share, units, coverage)
    return -half, half


def _bound(scores: Floats, share: Floats, units: int, coverage: float) -> float:
    """Return the least score that `coverage` of the units and one more lie under; infinite where there is none.

    The one more is the unit to come, which may lie anywhere.
    """
    order = np.argsort(scores, kind="stable")
    at = int(np.searchsorted(np.cumsum(share[order]), coverage * (units + 1) - 1e-9))
    return float(scores[order[at]]) if at < len(scores) else float("inf")


def _of(values: Any, rows: Ints) -> Any:
    return None if values is None else values[rows]
