"""Calibration: do rows predicted at 20 % come true one time in five?"""

from __future__ import annotations

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Floats, Ints
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.report import CalibrationBin, CalibrationError
from modelyard.metrics.intervals import wilson

_BINS, _LEAST = 10, 30
_SIMULATED = 2_000


def calibration(evidence: Evidence) -> tuple[tuple[CalibrationBin, ...], CalibrationError | None]:
    """Return bins of equal counts, and the error beyond what chance shows.

    Binary: the positive class. More classes: the likeliest class, and whether it came true.

    References
    ----------
    Kumar, Liang, Ma (2019), "Verified uncertainty calibration": the debiased squared error, each bin's gap less its
    sampling variance. The null band redraws every bin at its mean prediction.
    """
    if not evidence.rows.schema.classes:
        return (), None
    predicted, came = _read(evidence)
    n = len(predicted)
    weights = np.ones(n) if evidence.weights is None else evidence.weights
    codes = equal_bins(predicted, max(1, min(_BINS, n // _LEAST)))
    bins, sizes = [], []
    for k in range(int(codes.max(initial=-1)) + 1):
        w = np.where(codes == k, weights, 0.0)
        if w.sum() == 0:
            continue
        mean, share = float(np.average(predicted, weights=w)), float(np.average(came, weights=w))
        size = float(w.sum() ** 2 / (w**2).sum())
        low, high = wilson(share * size, size)
        bins.append(CalibrationBin(mean, share, low, high, int((codes == k).sum())))
        sizes.append(size)
    return tuple(bins), _error(bins, np.array(sizes) / _design_effect(evidence, came - predicted), evidence.seed)


def _read(evidence: Evidence) -> tuple[Floats, Floats]:
    if evidence.answers.ndim == 1:
        return evidence.answers, np.asarray(evidence.truth, dtype=np.float64)
    likeliest = evidence.answers.argmax(axis=1)
    return evidence.answers.max(axis=1), np.asarray(likeliest == evidence.truth, dtype=np.float64)


def equal_bins(predicted: Floats, count: int) -> Ints:
    """Return the bin of each row; rows with the same prediction share one."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, count + 1)[1:-1], method="inverted_cdf"))
    found = np.searchsorted(edges, predicted, side="left")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _design_effect(evidence: Evidence, residual: Floats) -> float:
    """Return by how much alike the rows of one entity are: 1 when they are not."""
    if evidence.groups is None:
        return 1.0
    sums = np.bincount(np.unique(evidence.groups, return_inverse=True)[1], residual - residual.mean())
    return max(1.0, float((sums**2).sum() / max(1e-12, ((residual - residual.mean()) ** 2).sum())))


def _error(bins: list[CalibrationBin], sizes: Floats, seed: int) -> CalibrationError | None:
    if not bins or (sizes < 2).any():
        return None
    predicted, observed = np.array([b.predicted for b in bins]), np.array([b.observed for b in bins])
    shares = sizes / sizes.sum()

    def squared(rate: Floats) -> Floats:
        return np.asarray((shares * ((rate - predicted) ** 2 - rate * (1 - rate) / (sizes - 1))).sum(axis=-1))

    whole = np.maximum(1, sizes.round()).astype(np.int64)
    random = np.random.default_rng(derive_seed(seed, "calibration"))
    drawn = squared(random.binomial(whole, predicted.clip(0, 1), size=(_SIMULATED, len(bins))) / whole)
    seen = float(squared(observed))
    worse = (int((drawn >= seen).sum()) + 1) / (_SIMULATED + 1)
    null = float(np.sqrt(max(0.0, np.quantile(drawn, 0.95))))
    return CalibrationError(float(np.sqrt(max(0.0, seen))), null, worse, sum(b.n for b in bins))
