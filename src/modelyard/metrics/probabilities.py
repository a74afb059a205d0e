"""Metrics of probabilities: ranking (ROC AUC, average precision), proper scores, and calibration.

A binary prediction has shape [n] (of the positive class), any other [n, k]. Where a metric of several classes is the
mean over one-versus-rest problems, classes that no row holds are left out of the mean.
"""

from __future__ import annotations

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


class _Ranked:
    """Rows sorted once, highest score first, with tied scores taken as one step."""

    def __init__(self, positive: NDArray[np.bool_], score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._positive = positive[self._order].astype(np.float64)
        self._steps = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def __call__(self, weights: Floats) -> float:
        """Return the value for weights of shape [n], in the order of the rows."""
        ordered = weights[self._order]
        hits = ordered * self._positive
        misses = ordered - hits
        if len(self._steps) < len(ordered):
            hits, misses = np.add.reduceat(hits, self._steps), np.add.reduceat(misses, self._steps)
        return self.value(hits, misses)

    def value(self, hits: Floats, misses: Floats) -> float:
        """Return the value from the weight of positives and negatives at each step."""
        raise NotImplementedError


class _roc_auc(_Ranked):
    def value(self, hits: Floats, misses: Floats) -> float:
        below = misses.sum() - np.cumsum(misses)
        return float(dot(hits, below + 0.5 * misses) / (hits.sum() * misses.sum()))


class _average_precision(_Ranked):
    def value(self, hits: Floats, misses: Floats) -> float:
        found = np.cumsum(hits)
        seen = found + np.cumsum(misses)
        if found[-1] == 0:
            return float("nan")
        return float(dot(hits, found / np.where(seen > 0, seen, 1)) / found[-1])
