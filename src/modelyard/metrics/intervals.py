"""Intervals by resampling: of one figure, and of the gain of one model over another on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modelyard.metrics.metric import Context, Floats, Metric, Scorer, Truth

Groups = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the central part of its bootstrap distribution.

    Attributes
    ----------
    value : float
        On the rows themselves.
    low, high : float
        Bounds of the interval; NaN when there is none (one row or group, or a figure that is undefined).
    n : int
        Rows.
    level : float
        Share of the distribution between the bounds.
    resamples : int
        Resamples that gave a figure.
    unit : {"rows", "groups"}
        What was resampled.
    skipped : int
        Resamples on which the figure was undefined, such as ROC AUC where one class was not drawn.
    """

    value: float
    low: float
    high: float
    n: int
    level: float
    resamples: int
    unit: Literal["rows", "groups"]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better one prediction is than another, on the same rows: positive when the first is better.

    ``low`` and ``high`` bound the central part of the paired bootstrap distribution, `p_value` is two-sided.
    """

    gain: float
    low: float
    high: float
    p_value: float


def bootstrap(
    metric: Metric,
    truth: Truth,
    prediction: Floats,
    *,
    weights: Floats | None = None,
    groups: Groups | None = None,
    context: Context | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a figure with its percentile interval.

    A resample draws rows (or whole groups) with replacement; how often each was drawn is its weight, so that rows are
    sorted once for all resamples.

    Parameters
    ----------
    metric : Metric
        What is computed.
    truth : array of shape [n]
        Class codes or values.
    prediction : array of shape [n] or [n, k]
        What the metric reads.
    weights : float64 array of shape [n], optional
        Sample weights; they multiply the draws.
    groups : int array of shape [n], optional
        Entity of each row: whole entities are drawn, because their rows are alike.
    context : mapping of str to array of shape [n], optional
        Per-row figures some metrics need.
    resamples : int
        How many.
    level : float
        Share between the bounds.
    seed : int
        The draws derive from it.

    Notes
    -----
    Where every resample gives the very end of the metric's range (no error was seen), the bootstrap is blind to errors
    that have not happened yet. The other bound is then Wilson's, for as many successes as the rarest class has rows or
    groups.

    References
    ----------
    Efron & Tibshirani (1993), "An introduction to the bootstrap", chapter 13.
    """
    scorer = metric.scorer(truth, prediction, context)
    (scored,) = resample([scorer], len(truth), weights=weights, groups=groups, resamples=resamples, seed=seed)
    return interval(metric, truth, scored, weights=weights, groups=groups, level=level)


def paired(
    metric: Metric,
    truth: Truth,
    one: Floats,
    other: Floats,
    *,
    weights: Floats | None = None,
    groups: Groups | None = None,
    context: Context | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Gain:
    """Compare two predictions of the same rows: both see the same draws, so what they share cancels.

    Parameters
    ----------
    metric, truth, weights, groups, context, resamples, level, seed
        As in `bootstrap`.
    one, other : array of shape [n] or [n, k]
        The two predictions; the gain is positive when `one` is better, whatever the metric's direction.

    Returns
    -------
    Gain
        NaN throughout when the metric is undefined on these rows, and NaN bounds when there is one row or group.

    References
    ----------
    Davison & Hinkley (1997), "Bootstrap methods and their application", section 4.4: the p-value counts resamples on
    the other side of zero, plus one.
    """
    scorers = [metric.scorer(truth, prediction, context) for prediction in (one, other)]
    scored = resample(scorers, len(truth), weights=weights, groups=groups, resamples=resamples, seed=seed)
    return gain(metric, *scored, level=level)


def resample(
    scorers: Sequence[Scorer],
    n: int,
    *,
    weights: Floats | None = None,
    groups: Groups | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Floats]:
    """Score rows as they are, and then each resample of them; all scorers see the same draws.

    Parameters
    ----------
    scorers : sequence of callable
        See `modelyard.metrics.metric.Metric.scorer`.
    n : int
        Rows.
    weights, groups, resamples, seed
        As in `bootstrap`.

    Returns
    -------
    list of float64 array of shape [1 + resamples]
        The figure on the rows themselves, then one for each resample: NaN throughout where the first is, and no
        resamples where there is one row or group.
    """
    base = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    drawn = _Draws(n, groups, seed)
    count = resamples if drawn.units > 1 else 0
    scored = [np.full(1 + count, np.nan) for _ in scorers]
    for score, values in zip(scorers, scored, strict=True):
        values[0] = score(base)
    known = [(score, values) for score, values in zip(scorers, scored, strict=True) if not np.isnan(values[0])]
    for place, counts in enumerate(drawn(count if known else 0), start=1):
        drawn_weights = counts if weights is None else base * counts
        for score, values in known:
            values[place] = score(drawn_weights)
    return scored


def interval(
    metric: Metric,
    truth: Truth,
    scored: Floats,
    *,
    weights: Floats | None = None,
    groups: Groups | None = None,
    level: float = 0.95,
) -> Interval:
    """Return the percentile interval of what `resample` scored; see `bootstrap`."""
    value, values = float(scored[0]), scored[1:]
    unit: Literal["rows", "groups"] = "rows" if groups is None else "groups"
    if np.isnan(value) or not len(values):
        return Interval(value, np.nan, np.nan, len(truth), level, 0, unit)
    known = values[~np.isnan(values)]
    low, high = _bounds(known, level)
    if metric.reads != "values" and low == high == value:
        base = np.ones(len(truth)) if weights is None else np.asarray(weights, dtype=np.float64)
        n = _rarest(truth, base, groups)
        unseen = (1 - wilson(n, n, level)[0]) * (metric.high - metric.low)
        if value == metric.high:
            low = metric.high - unseen
        elif value == metric.low and np.isfinite(unseen):
            high = metric.low + unseen
    return Interval(value, low, high, len(truth), level, len(known), unit, len(values) - len(known))


def gain(metric: Metric, one: Floats, other: Floats, *, level: float = 0.95) -> Gain:
    """Return how much better one prediction is than another, by what `resample` scored of both; see `paired`."""
    better = one - other if metric.greater_is_better else other - one
    value, values = float(better[0]), better[1:]
    if np.isnan(value) or not len(values):
        return Gain(value, np.nan, np.nan, 1.0)
    known = values[~np.isnan(values)]
    low, high = _bounds(known, level)
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return Gain(value, low, high, min(1.0, 2 * (tail + 1) / (len(known) + 1)))


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share from `successes` among `n`; (0, 1) when `n` is 0.

    References
    ----------
    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if n <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = successes / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = (spread * (share * (1 - share) + spread / 4)) ** 0.5 / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


class _Draws:
    """How often each row is drawn, resample after resample."""

    def __init__(self, n: int, groups: Groups | None, seed: int) -> None:
        self._codes = None if groups is None else np.unique(groups, return_inverse=True)[1]
        self.units = n if self._codes is None else int(self._codes.max(initial=-1)) + 1
        self._seed = seed

    def __call__(self, resamples: int) -> Iterator[Floats]:
        """Yield counts of shape [n] as float64."""
        random = np.random.default_rng(self._seed)
        for _ in range(resamples):
            counts = np.bincount(random.integers(self.units, size=self.units), minlength=self.units).astype(np.float64)
            yield counts if self._codes is None else counts[self._codes]


def _bounds(values: Floats, level: float) -> tuple[float, float]:
    if len(values) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def _rarest(truth: Truth, base: Floats, groups: Groups | None) -> int:
    """Return how many rows, or groups, hold the rarest class."""
    count: Callable[[NDArray[np.bool_]], int] = (
        (lambda chosen: int(chosen.sum())) if groups is None else (lambda chosen: len(np.unique(groups[chosen])))
    )
    return min(count((truth == k) & (base > 0)) for k in np.unique(truth[base > 0]))
