"""Conformal intervals: as wide as past forecasts made the same way were wrong."""

from __future__ import annotations

import math

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
    level = coverage / 100
    wanted = math.ceil(level / (1 - level))
    out = np.full(horizon, np.nan)
    known = np.isfinite(errors)
    errors, steps = errors[known], steps[known]
    if len(errors) < wanted:
        return out
    for h in range(1, horizon + 1):
        away = np.abs(steps - h)
        reach = np.sort(away)[wanted - 1]
        pool = np.sort(errors[away <= reach])
        rank = math.ceil((len(pool) + 1) * level)
        out[h - 1] = pool[min(rank, len(pool)) - 1]
    return np.asarray(np.maximum.accumulate(out), dtype=np.float64)
