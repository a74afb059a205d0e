"""Objective: what training minimises so that a metric of numbers is reached, and what a constant answer is then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelyard.metrics.metric import Metric

Name = Literal["squared_error", "absolute_error", "pinball", "poisson_deviance", "tweedie_deviance"]
_MEDIAN = frozenset({"mae", "mape", "smape", "pinball"})


@dataclass(frozen=True, slots=True)
class Objective:
    """A consistent scoring function of numbers: the mean, the median or a quantile minimises it.

    Attributes
    ----------
    name : {"squared_error", "absolute_error", "pinball", "poisson_deviance", "tweedie_deviance"}
        What is minimised.
    at : float
        Level of the quantile, or power of the variance; NaN for the others.

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
    plain = metric.name.partition("@")[0]
    if metric.name in _MEDIAN:
        return Objective("absolute_error")
    if plain == "pinball" or plain == "poisson_deviance" or plain == "tweedie_deviance":
        return Objective(plain, metric.at)
    return Objective("squared_error")
