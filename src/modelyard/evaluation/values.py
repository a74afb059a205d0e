"""Predicted against actual: for numbers what calibration is for probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats
from modelyard.evaluation.calibration import equal_bins
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.report import Estimate, ValueBin

_BINS, _LEAST = 10, 30
_Z = 1.96


def predicted_against_actual(evidence: Evidence) -> tuple[tuple[ValueBin, ...], Estimate | None]:
    """Return bins of equal counts by what was predicted, and how much too high predictions are on average.

    Bins are for regression only: the series of a forecast differ in size. Nothing for classes.
    """
    if evidence.rows.schema.classes or not len(evidence.truth):
        return (), None
    truth, answers = np.asarray(evidence.truth, dtype=np.float64), evidence.answers
    value, low, high = mean_interval(evidence, answers - truth)
    unit = "rows" if evidence.groups is None else "groups"
    bias = Estimate("bias", value, low, high, len(truth), 0.95, 0, unit)
    if evidence.rows.schema.task != "regression":
        return (), bias
    codes = equal_bins(answers, max(1, min(_BINS, len(truth) // _LEAST)))
    bins = []
    for k in range(int(codes.max()) + 1):
        where = codes == k
        actual = mean_interval(evidence, truth, where)
        if np.isfinite(actual[0]):
            bins.append(ValueBin(mean_interval(evidence, answers, where)[0], *actual, int(where.sum())))
    return tuple(bins), bias


def share_below(evidence: Evidence) -> Estimate:
    """Return the share of the rows whose value is at or below the prediction: a quantile's level, where it is right."""
    below = (np.asarray(evidence.truth, dtype=np.float64) <= evidence.answers).astype(np.float64)
    unit = "rows" if evidence.groups is None else "groups"
    return Estimate("below", *mean_interval(evidence, below), len(below), 0.95, 0, unit)


def mean_interval(
    evidence: Evidence, values: Floats, where: NDArray[np.bool_] | None = None
) -> tuple[float, float, float]:
    """Return the weighted mean of some rows with its 95 % interval, as wide as whole groups differ.

    NaN where nothing is weighed; NaN bounds where there is one row or group.

    References
    ----------
    Liang & Zeger (1986), "Longitudinal data analysis using generalized linear models": the cluster-robust variance.
    """
    some = np.ones(len(values), dtype=np.bool_) if where is None else where
    weights = np.ones(int(some.sum())) if evidence.weights is None else evidence.weights[some]
    if weights.sum() <= 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(np.average(values[some], weights=weights))
    units = np.arange(len(weights)) if evidence.groups is None else evidence.groups[some]
    sums = np.bincount(np.unique(units, return_inverse=True)[1], weights * (values[some] - mean))
    if len(sums) < 2:
        return mean, float("nan"), float("nan")
    half = _Z * float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1))) / float(weights.sum())
    return mean, mean - half, mean + half
