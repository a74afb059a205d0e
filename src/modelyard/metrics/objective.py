"""Objective: what training minimises so that a metric of numbers is reached, and what a constant answer is then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from modelyard.metrics.metric import Floats, Metric, Truth

Name = Literal["squared_error", "absolute_error", "pinball", "poisson_deviance", "tweedie_deviance"]
_MEDIAN = frozenset({"mae", "mape", "smape", "pinball"})

_NAMED: dict[str, Name] = {
    "pinball": "pinball",
    "poisson_deviance": "poisson_deviance",
    "tweedie_deviance": "tweedie_deviance",
}


@dataclass(frozen=True, slots=True)
class Objective:
    """A consistent scoring function of numbers: the mean, the median or a quantile minimises it.

    Attributes
    ----------
    name : {"squared_error", "absolute_error", "pinball", "poisson_deviance", "tweedie_deviance"}
        What is minimised.
    at : float
        Level of the quantile, or power of the variance (1 for Poisson); NaN for the others.

    References
    ----------
    Gneiting (2011), "Making and evaluating point forecasts".
    """

    name: Name
    at: float = float("nan")

    @property
    def level(self) -> float | None:
        """Level of the quantile that is asked for, a half for the median; None where it is the mean."""
        return {"absolute_error": 0.5, "pinball": self.at}.get(self.name)

    @property
    def positive(self) -> bool:
        """Whether answers are above zero, and labels zero or more."""
        return self.name in ("poisson_deviance", "tweedie_deviance")


def objective(metric: Metric) -> Objective:
    """Return what a model is trained for when a metric of numbers is asked of it."""
    if metric.name in _MEDIAN:
        return Objective("absolute_error")
    return Objective(_NAMED.get(metric.name.partition("@")[0], "squared_error"), metric.at)


def deviance(truth: Truth, log_mean: Floats, power: float) -> Floats:
    """Return each row's unit deviance, of shape [n]: Poisson's for a power of 1, Tweedie's between 1 and 2.

    Parameters
    ----------
    truth : array of shape [n]
        Zero or more.
    log_mean : float64 array of shape [n]
        Logarithm of the mean that was predicted.
    power : float
        The variance is in proportion to this power of the mean.

    References
    ----------
    Jorgensen (1987), "Exponential dispersion models".
    """
    y = truth.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        if power == 1:
            half = y * (np.log(np.where(y > 0, y, 1.0)) - log_mean) - y + np.exp(log_mean)
        else:
            own = y ** (2 - power) / ((1 - power) * (2 - power))
            half = own - y * np.exp((1 - power) * log_mean) / (1 - power) + np.exp((2 - power) * log_mean) / (2 - power)
    return np.asarray(np.maximum(2 * half, 0.0), dtype=np.float64)  # rounding may leave it a little below 0


def quantile(values: Truth, weights: Floats | None, level: float) -> float:
    """Return the least value that a share `level` of the weight does not exceed: a constant of least pinball loss."""
    return float(np.quantile(values.astype(np.float64), level, method="inverted_cdf", weights=weights))
