"""Conformal intervals: as wide as past forecasts made the same way were wrong."""

from __future__ import annotations

import numpy as np

from modelyard.data.dataset import Floats, Ints

COVERAGES = (80, 90, 95)
"""Percent of future values each interval is to hold."""


def radii(errors: Floats, steps: Ints, horizon: int, coverage: int) -> Floats:
    """Return the half-width of the interval at each step ahead, in units of a series' seasonal-naive error.

    Parameters
    ----------
    errors : float64 array of shape [n]
        Absolute errors of rolling-origin forecasts over the scale of their series.
    steps : int64 array of shape [n]
        How many steps ahead each was made, from 1.
    horizon : int
        Steps wanted.
    coverage : int
        Percent.

    Returns
    -------
    float64 array of shape [horizon]
        Never falling with the step. NaN where there are too few past forecasts for a bound that holds:
        ``n`` of them bound at most ``n / (n + 1)`` of the future.

    Notes
    -----
    Split conformal prediction over errors pooled across series; a step with too few errors of its own borrows those
    of its nearest steps. The bound holds on average over series and steps, not for each series alone.

    References
    ----------
    Vovk, Gammerman & Shafer (2005), "Algorithmic Learning in a Random World".
    """
    out = np.full(horizon, np.nan)
    known = np.isfinite(errors)
    errors, steps = errors[known], steps[known]
    if len(errors) < _least(coverage):
        return out
    # The same errors for every coverage, so that a wider interval holds a narrower one.
    enough = min(len(errors), max(map(_least, COVERAGES)))
    for h in range(1, horizon + 1):
        away = np.abs(steps - h)
        reach = np.sort(away)[enough - 1]
        pool = np.sort(errors[away <= reach])
        out[h - 1] = pool[_ceil((len(pool) + 1) * coverage, 100) - 1]
    return np.asarray(np.maximum.accumulate(out), dtype=np.float64)


def _least(coverage: int) -> int:
    """Return how many errors bound a coming one with that coverage: the rank ``(n + 1) * coverage`` must exist."""
    return _ceil(coverage, 100 - coverage)


def _ceil(one: int, other: int) -> int:
    return -(-one // other)
