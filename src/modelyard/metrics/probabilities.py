"""Metrics of probabilities: ranking (ROC AUC, average precision), proper scores, and calibration.

A binary prediction has shape [n] (of the positive class), any other [n, k]. Where a metric of several classes is the
mean over one-versus-rest problems, classes that no row holds are left out of the mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from modelyard.metrics.metric import Context, Floats, Scorer, Truth, dot

_BINS = 15


def roc_auc(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Area under the ROC curve, ties counted half; the mean over one-versus-rest for several classes.

    References
    ----------
    Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating characteristic curve".
    """
    return _one_versus_rest(truth, prediction, _roc_auc)


def average_precision(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Precision averaged over the steps of recall, without interpolation; the mean over one-versus-rest."""
    return _one_versus_rest(truth, prediction, _average_precision)


def log_loss(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Return the negative log-likelihood of the true class, in nats; probabilities are kept 2.2e-16 off 0 and 1."""
    tiny = float(np.finfo(np.float64).eps)
    chosen = np.clip(_of_truth(truth, prediction), tiny, 1 - tiny)
    return _mean(-np.log(chosen))


def brier(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Mean squared error of the probabilities, halved over several classes, so that its range is 0 to 1 for both.

    References
    ----------
    Brier (1950), "Verification of forecasts expressed in terms of probability".
    """
    if prediction.ndim == 1:
        return _mean((prediction - truth) ** 2)
    hits = truth[:, None] == np.arange(prediction.shape[1])
    return _mean(0.5 * ((prediction - hits) ** 2).sum(axis=1))


def expected_calibration_error(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Mean gap between stated and observed share over 15 bins of equal width; of the likeliest class for several.

    It reads above zero even for a perfectly calibrated model, the more so the fewer the rows: compare it with what such
    a model would read, never with zero.

    References
    ----------
    Guo et al. (2017), "On calibration of modern neural networks".
    """
    if prediction.ndim == 1:
        stated, came_true = prediction, truth.astype(np.float64)
    else:
        stated = prediction.max(axis=1)
        came_true = (prediction.argmax(axis=1) == truth).astype(np.float64)
    bins = np.clip((stated * _BINS).astype(np.int64), 0, _BINS - 1)
    gap = stated - came_true

    def score(weights: Floats) -> float:
        return float(np.abs(np.bincount(bins, weights * gap, _BINS)).sum() / weights.sum())

    return score


def _mean(loss: Floats) -> Scorer:
    return lambda weights: float(dot(weights, loss) / weights.sum())


def _of_truth(truth: Truth, prediction: Floats) -> Floats:
    if prediction.ndim == 1:
        return np.where(truth == 1, prediction, 1 - prediction)
    codes = truth.astype(np.int64)
    return prediction[np.arange(len(codes)), codes]


def _one_versus_rest(truth: Truth, prediction: Floats, kind: type[_Ranked]) -> Scorer:
    if prediction.ndim == 1:
        return kind(truth == 1, prediction)
    parts = [kind(truth == k, prediction[:, k]) for k in range(prediction.shape[1])]

    def score(weights: Floats) -> float:
        values = np.array([part(weights) for part in parts])
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    return score


class _Ranked(ABC):
    """Rows sorted once, highest score first, tied scores taken as one step; what a resample costs is one running sum.

    Sums over steps are read off running sums at the steps of the positive rows alone, which are few where a class is.
    """

    def __init__(self, positive: NDArray[np.bool_], score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        first = np.r_[True, ordered[1:] != ordered[:-1]]
        starts = np.flatnonzero(first)
        places = np.flatnonzero(positive[self._order])
        step = (np.cumsum(first) - 1)[places]
        self._positive = self._order[places]
        self._starts, self._ends = starts[step], np.append(starts[1:], len(ordered))[step]
        self._hits = np.searchsorted(places, self._starts), np.searchsorted(places, self._ends)

    def __call__(self, weights: Floats) -> float:
        """Return the value for weights of shape [n], in the order of the rows."""
        hits = weights[self._positive]
        return self.value(hits, _running(hits), _running(weights[self._order]))

    @abstractmethod
    def value(self, hits: Floats, found: Floats, seen: Floats) -> float:
        """Return the value from the positive rows' weights, and running sums of theirs and of all rows'."""


def _running(weights: Floats) -> Floats:
    """Return the sums of the first 0, 1, ..., n weights."""
    sums = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=sums[1:])
    return sums


class _roc_auc(_Ranked):
    def value(self, hits: Floats, found: Floats, seen: Floats) -> float:
        before, after = (seen[ends] - found[n] for ends, n in zip((self._starts, self._ends), self._hits, strict=True))
        misses = seen[-1] - found[-1]
        # Of the misses within a step a half lies below.
        return float(dot(hits, misses - 0.5 * (before + after)) / (found[-1] * misses))


class _average_precision(_Ranked):
    def value(self, hits: Floats, found: Floats, seen: Floats) -> float:
        if found[-1] == 0:
            return float("nan")
        called = seen[self._ends]
        return float(dot(hits, found[self._hits[1]] / np.where(called > 0, called, 1)) / found[-1])
