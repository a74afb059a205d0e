"""The p-values drift needs, on counts alone: Kolmogorov-Smirnov, chi-squared, and Benjamini-Hochberg over them.

scipy has all of them and is not needed for this: an image that serves and watches stays small. The tests compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]
_SMALL = 1e-300
_RARE = 5.0
_MOST_TERMS = 100_000


def ks(reference: Counts, window: Counts) -> tuple[float, float]:
    """Compare two samples counted into the same ordered bins.

    Parameters
    ----------
    reference, window : float64 arrays of shape [bins]
        Counts.

    Returns
    -------
    (float, float)
        The largest distance between the two distribution functions at a bin's edge, and its asymptotic two-sided
        p-value. Within a bin the distance may be larger, so the p-value is never too small.

    References
    ----------
    Smirnov (1948), "Table for estimating the goodness of fit of empirical distributions".
    """
    n, m = float(window.sum()), float(reference.sum())
    if n == 0 or m == 0:
        return 0.0, 1.0
    distance = float(np.abs(np.cumsum(window) / n - np.cumsum(reference) / m).max())
    return distance, kolmogorov(math.sqrt(n * m / (n + m)) * distance)


def chi_squared(reference: Counts, window: Counts) -> tuple[float, float]:
    """Test whether two samples counted into the same categories come from one distribution.

    Parameters
    ----------
    reference, window : float64 arrays of shape [categories]
        Counts. Two categories get Yates' correction, and Fisher's exact test where a count under 5 is expected.

    Returns
    -------
    (float, float)
        Pearson's statistic and the p-value, with one degree of freedom fewer than categories that occur.

    References
    ----------
    Fisher (1922), "On the interpretation of chi-squared from contingency tables, and the calculation of P"; Cochran
    (1954), "Some methods for strengthening the common chi-squared tests": below 5 the approximation does not hold.
    """
    both = np.stack([reference, window])
    both = both[:, both.sum(axis=0) > 0]
    if both.shape[1] < 2 or (both.sum(axis=1) == 0).any():
        return 0.0, 1.0
    expected = both.sum(axis=1, keepdims=True) * both.sum(axis=0, keepdims=True) / both.sum()
    off = np.abs(both - expected)
    if both.shape[1] == 2:
        off -= np.minimum(0.5, off)
    statistic = float((off**2 / expected).sum())
    if both.shape[1] == 2 and expected.min() < _RARE:
        return statistic, _fisher(both)
    return statistic, chi_squared_tail(statistic, both.shape[1] - 1)


def _fisher(table: Counts) -> float:
    """Return the chance of a two by two table at most as likely as this one, its margins given."""
    total, row, column = table.sum(), table[0].sum(), table[:, 0].sum()
    cell = np.arange(max(0.0, row + column - total), min(row, column) + 1)
    here = cell[:-1]
    steps = np.log((row - here) * (column - here)) - np.log((here + 1) * (total - row - column + here + 1))
    logs = np.append(0.0, np.cumsum(steps))
    chances = np.exp(logs - logs.max())
    seen = chances[int(table[0, 0] - cell[0])]
    return min(1.0, float(chances[chances <= seen * (1 + 1e-7)].sum() / chances.sum()))


def beyond(count: int, window: int, reference: int) -> float:
    """Return the chance that `count` or more of `window` new values pass the largest of `reference` old ones.

    Exact without drift, whatever the distribution: the largest values of both together are all new. Ties make it
    smaller still.
    """
    both = window + reference
    rest = math.lgamma(window - count + 1) - math.lgamma(both - count + 1)
    return math.exp(math.lgamma(window + 1) - math.lgamma(both + 1) - rest)


def benjamini_hochberg(p_values: Sequence[float], q: float) -> list[bool]:
    """Return which p-values are significant when at most a share `q` of those found may be false.

    References
    ----------
    Benjamini and Hochberg (1995), "Controlling the false discovery rate".
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    last = max((rank for rank, i in enumerate(order, start=1) if p_values[i] <= q * rank / len(order)), default=0)
    chosen = set(order[:last])
    return [i in chosen for i in range(len(p_values))]


def kolmogorov(x: float) -> float:
    """Return the chance that the supremum of a Brownian bridge exceeds `x`."""
    if x < 0.04:  # closer to 1 than a float can tell
        return 1.0
    if x < 1.18:  # the alternating series is slow here; its Jacobi transform is not
        step = -(math.pi**2) / (8 * x * x)
        return 1.0 - math.sqrt(2 * math.pi) / x * sum(math.exp(step * (2 * k - 1) ** 2) for k in range(1, 6))
    return 2.0 * sum((1.0, -1.0)[k % 2] * math.exp(-2 * ((k + 1) * x) ** 2) for k in range(5))


def chi_squared_tail(x: float, degrees: int) -> float:
    """Return the chance that a chi-squared variable exceeds `x`.

    References
    ----------
    Press et al. (2007), "Numerical Recipes", section 6.2: the incomplete gamma function.
    """
    if x < 1e-32:  # closer to 1 than a float can tell
        return 1.0
    a, half = degrees / 2, x / 2
    front = math.exp(a * math.log(half) - half - math.lgamma(a))
    if half < a + 1:
        term = total = 1 / a
        for i in range(1, _MOST_TERMS):
            term *= half / (a + i)
            total += term
            if term < total * 1e-16:
                break
        return max(0.0, 1.0 - front * total)
    # Lentz' continued fraction for the upper tail, exact where it is tiny.
    b = half + 1 - a
    c, d = 1 / _SMALL, 1 / b
    value = d
    for i in range(1, _MOST_TERMS):
        step = -i * (i - a)
        b += 2
        d = step * d + b
        d = 1 / (d if abs(d) > _SMALL else _SMALL)
        c = b + step / c
        c = c if abs(c) > _SMALL else _SMALL
        change = c * d
        value *= change
        if abs(change - 1) < 1e-15:
            break
    return front * value
