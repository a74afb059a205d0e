"""Seasons: how many observations make one cycle, read off the spacing of the times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DAY = 86_400.0
# Seconds between observations (upper bound), observations a season, observations usually forecast (those of the M4
# competition: Makridakis, Spiliotis and Assimakopoulos, International Journal of Forecasting 36 (2020) 54-74).
_CYCLES = (
    (90.0, 60, 60),  # a minute: the hour
    (450.0, 288, 288),  # five minutes: the day
    (750.0, 144, 144),
    (1_200.0, 96, 96),
    (2_700.0, 48, 48),
    (2 * 3_600.0, 24, 48),  # an hour: the day
    (1.5 * _DAY, 7, 14),  # a day: the week
    (10 * _DAY, 52, 13),  # a week: the year
    (45 * _DAY, 12, 18),
    (135 * _DAY, 4, 8),
    (np.inf, 1, 6),
)
_PLAIN = (1, 6)


def season_length(times: Floats) -> int:
    """Return how many observations make one season of a series.

    Parameters
    ----------
    times : float64 array of shape [n]
        When each value was seen, increasing, in seconds. Spacings under half a second are taken for plain counts
        (1, 2, 3 ...), which have no season.

    Returns
    -------
    int
        24 for hours, 7 for days, 52 for weeks, 12 for months, 4 for quarters, 1 for years and where nothing is known.
    """
    return _cycle(times)[0]


def usual_horizon(times: Floats) -> int:
    """Return how many observations ahead a series of this spacing is usually forecast."""
    return _cycle(times)[1]


def _cycle(times: Floats) -> tuple[int, int]:
    if times.size < 2:
        return _PLAIN
    step = float(np.median(np.diff(times)))
    if step <= 1.0:
        return _PLAIN
    return next((season, horizon) for most, season, horizon in _CYCLES if step <= most)


def seasonal_naive(history: Floats, season: int, steps: int) -> Floats:
    """Return the forecast that repeats the last season, of shape [steps]."""
    cycle = history[-min(season, history.size) :]
    return np.asarray(np.resize(cycle, steps), dtype=np.float64)


def seasonal_scale(history: Floats, season: int) -> float:
    """Return the mean absolute error of the seasonal naive forecast within a history: what MASE divides by.

    A history too short for its season, or one that repeats it exactly, falls back on one step, then on the mean
    absolute value, then on 1.

    References
    ----------
    Hyndman, R. J. and Koehler, A. B. (2006). Another look at measures of forecast accuracy. International Journal of
    Forecasting 22(4), 679-688.
    """
    for lag in (season, 1):
        if history.size > lag:
            error = float(np.mean(np.abs(history[lag:] - history[:-lag])))
            if error > 0:
                return error
    size = float(np.mean(np.abs(history))) if history.size else 0.0
    return size if size > 0 else 1.0
