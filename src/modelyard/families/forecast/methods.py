"""Methods: from the evenly spaced values of one series to the steps after the last."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.data.season import seasonal_naive

TITLES = {
    "autoces": "AutoCES",
    "autotheta": "AutoTheta",
    "autoets": "AutoETS",
    "seasonal_naive": "Seasonal naive",
}
"""Every method, best bet first: as a brief names it, and as people write it."""
WINDOWS = {"autoces": 600, "autotheta": 600, "autoets": 300}
"""Latest values a method with parameters learns from, unless six seasons are more: what AutoETS gains from a longer
past is less than what it costs."""
_ENOUGH = 8
"""Values below which a method with parameters has nothing to estimate them from."""


def forecast(method: str, values: Floats, season: int, steps: int, window: int | None = None) -> tuple[Floats, bool]:
    """Forecast one series.

    Parameters
    ----------
    method : str
        A key of `TITLES`.
    values : float64 array of shape [n]
        Evenly spaced, oldest first.
    season : int
        Values in one season; 1 where there is none.
    steps : int
        How many to forecast.
    window : int, optional
        Learn from so many of the latest values, or six seasons where those are more.

    Returns
    -------
    mean : float64 array of shape [steps]
        The forecast.
    own : bool
        False where the method could not be used and the seasonal naive forecast stands in: a series too short,
        constant, or one the method fails on.

    Raises
    ------
    MissingExtra
        If the method needs statsforecast and it is not installed.
    """
    naive = seasonal_naive(values, season, steps)
    if method == "seasonal_naive":
        return naive, True
    fit = _fitter(method)
    recent = values if window is None else values[-max(window, 6 * season) :]
    if len(recent) < _ENOUGH or np.ptp(recent) == 0:
        return naive, False
    try:
        with warnings.catch_warnings():
            # The library's own divisions on short series; what comes of them is looked at below.
            warnings.simplefilter("ignore")
            mean = fit(np.ascontiguousarray(recent), season if len(recent) >= 2 * season else 1, steps)
    except Exception:
        # Estimation of one odd series may fail in many ways inside the library; it must not cost the others theirs.
        return naive, False
    return (mean, True) if np.isfinite(mean).all() else (naive, False)


def _fitter(method: str) -> Callable[[Floats, int, int], Floats]:
    models = need("statsforecast.models", "forecast", f"The method '{TITLES[method]}'")

    def fit(values: Floats, season: int, steps: int) -> Floats:
        if method == "autoets":
            model = models.AutoETS(season_length=season)
        elif method == "autoces":
            model = models.AutoCES(season_length=season)
        else:
            # Seasonal factors multiply only where no value can turn their sign.
            kind = "multiplicative" if values.min() > 0 else "additive"
            model = models.AutoTheta(season_length=season, decomposition_type=kind)
        return np.asarray(model.forecast(y=values, h=steps)["mean"], dtype=np.float64)

    return fit
