"""Shift: how far two samples of one column lie apart, and whether chance would do as much; from counts in bins.

Both an effect and its significance are needed: significance alone fires on harmless wobbles of large samples, and the
population stability index alone on the noise of small ones.

References
----------
Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the Royal Statistical Society
B 57(1), 289-300.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = Sequence[int] | NDArray[np.int64]

WARNING, ACTION = 0.1, 0.25
"""Limits of the adjusted index, beside significance."""

_LEAST_EXPECTED = 5.0
_LEAST_SHARE = 0.005


def pooled(reference: Counts, counts: Counts) -> tuple[Floats, Floats]:
    """Pool rare levels: those expected fewer than 5 times, or under half a percent of the reference."""
    one, other = np.asarray(reference, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    n, m = one.sum(), other.sum()
    if not n or not m:
        return one, other
    expected = (one + other) / (n + m)
    rare = (expected * min(n, m) < _LEAST_EXPECTED) | (one / n < _LEAST_SHARE)
    if rare.sum() < 1:
        return one, other
    return np.append(one[~rare], one[rare].sum()), np.append(other[~rare], other[rare].sum())


def psi(reference: Counts | Floats, counts: Counts | Floats) -> float:
    """Return the population stability index of two histograms, counts smoothed by one half."""
    p, q = _shares(reference), _shares(counts)
    return float(np.sum((q - p) * np.log(q / p)))


def adjusted_psi(reference: Counts | Floats, counts: Counts | Floats) -> float:
    """Return the index less what chance alone adds to it: (bins - 1) (1/n + 1/m)."""
    one, other = np.asarray(reference, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    n, m = one.sum(), other.sum()
    if not n or not m:
        return 0.0
    return float(psi(one, other) - (one.size - 1) * (1.0 / n + 1.0 / m))


def _shares(counts: Counts | Floats) -> Floats:
    smoothed = np.asarray(counts, dtype=np.float64) + 0.5
    return np.asarray(smoothed / smoothed.sum(), dtype=np.float64)


def ks_p_value(reference: Counts, counts: Counts) -> float:
    """Return the p-value of the two-sample Kolmogorov-Smirnov test on ordered bins (asymptotic, conservative)."""
    one, other = np.asarray(reference, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    n, m = one.sum(), other.sum()
    if not n or not m:
        return 1.0
    distance = float(np.abs(np.cumsum(one) / n - np.cumsum(other) / m).max())
    root = math.sqrt(n * m / (n + m))
    x = (root + 0.12 + 0.11 / root) * distance  # Stephens' correction for finite samples
    if x < 0.3:
        return 1.0
    terms = sum((-1) ** (k - 1) * math.exp(-2.0 * k * k * x * x) for k in range(1, 101))
    return float(min(1.0, max(0.0, 2.0 * terms)))


def chi2_p_value(reference: Counts | Floats, counts: Counts | Floats) -> float:
    """Return the p-value of the chi-squared test that two histograms come from one distribution."""
    table = np.stack([np.asarray(reference, dtype=np.float64), np.asarray(counts, dtype=np.float64)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return chi2_survival(statistic, table.shape[1] - 1)


def chi2_survival(statistic: float, freedom: int) -> float:
    """Return P(X > statistic) of a chi-squared variable: the regularised upper incomplete gamma function.

    References
    ----------
    Press, W. H. et al. (2007). Numerical Recipes, 3rd edition, section 6.2: a series below, a continued fraction above.
    """
    a, x = freedom / 2.0, statistic / 2.0
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a)) if x < 1e5 else 0.0
    if x < a + 1:
        term = total = 1.0 / a
        n = a
        while abs(term) > abs(total) * 1e-15:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1.0 - front * total)
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for i in range(1, 1000):
        an = -i * (i - a)
        b += 2
        d = 1 / (an * d + b or tiny)
        c = b + an / c or tiny
        h *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return min(1.0, front * h)


def discoveries(p_values: Sequence[float], rate: float) -> NDArray[np.bool_]:
    """Return which p-values are significant at a false discovery rate (Benjamini and Hochberg)."""
    p = np.asarray(p_values, dtype=np.float64)
    if not p.size:
        return np.zeros(0, dtype=np.bool_)
    order = np.argsort(p)
    below = np.flatnonzero(p[order] <= rate * np.arange(1, p.size + 1) / p.size)
    found = np.zeros(p.size, dtype=np.bool_)
    if below.size:
        found[order[: below[-1] + 1]] = True
    return found
