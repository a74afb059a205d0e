"""Loss: the proper loss training minimises, in raw-score space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from modelyard.data.dataset import Dataset, Floats, Ints, Split
from modelyard.families.fitted import Link
from modelyard.metrics.metric import Metric
from modelyard.metrics.objective import Name as ObjectiveName
from modelyard.metrics.objective import Objective, deviance, objective

Name = Literal["log_loss", "scaled_error"] | ObjectiveName
DEVIANCES = ("poisson_deviance", "tweedie_deviance")
_TITLES = {
    "pinball": "pinball loss",
    "poisson_deviance": "Poisson deviance",
    "tweedie_deviance": "Tweedie deviance",
    "scaled_error": "absolute error over the series' seasonal-naive error",
}
_LINKS: dict[str, Link] = {"binary": "logistic", "multiclass": "softmax"}


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A proper loss over rows: the same for search, blend and calibration, whatever metric is published.

    A ranking metric such as ROC AUC is reached through the log loss: it is smooth, it rewards the same order, and it
    keeps the probabilities honest.

    Attributes
    ----------
    name : {"log_loss", "scaled_error", "squared_error", "absolute_error", "pinball", "poisson_deviance", ...}
        What is minimised: for numbers as `modelyard.metrics.objective.Objective` names it.
    truth : array of shape [n]
        Class codes or values.
    weights : float64 array of shape [n]
        Sample weights, divided by their mean; for ``scaled_error`` by the row's scale too. See `favouring_later`.
    at : float
        Level of the quantile, or power of the variance.
    link : {"identity", "log", "logistic", "softmax"}
        What raw scores are turned into answers by. Squared error is of answers: under "log", raw scores are logarithms.
    """

    name: Name
    truth: Ints | Floats
    weights: Floats
    at: float = float("nan")
    link: Link = "identity"

    @classmethod
    def of(cls, task: str, metric: Metric, data: Dataset) -> Loss:
        """Choose the loss of a task and metric over the rows of a table."""
        given = data.weights()
        weights = np.ones(len(data)) if given is None else given / given.mean()
        if task in ("binary", "multiclass"):
            return cls("log_loss", data.truth(), weights, link=_LINKS[task])
        if task == "forecast" and "scale" in data.extras:
            scale = data.extras["scale"]
            known = np.isfinite(scale) & (scale > 0)
            return cls("scaled_error", data.truth(), np.where(known, weights / np.where(known, scale, 1.0), 0.0))
        aim = Objective("absolute_error") if task == "forecast" else objective(metric)
        return cls(aim.name, data.truth(), weights, aim.at, "log" if aim.name in DEVIANCES else "identity")

    def favouring_later(self, split: Split) -> Loss:
        """Return the loss in which a row of an expanding window counts by the rows that were learnt from before it.

        What answers will learn from every row and answer for rows after the last: later windows, which learnt from
        more and lie nearer, say more of it. Of other splits, this loss.
        """
        if split.strategy not in ("time", "group_time"):
            return self
        number = np.zeros(len(self.weights))
        for fold in split.folds:
            number[fold.score] = len(fold.train)
        return replace(self, weights=self.weights * number / number[number > 0].mean())

    @property
    def title(self) -> str:
        """As people write it: "log loss", "absolute error"."""
        return _TITLES.get(self.name, self.name.replace("_", " "))

    def take(self, rows: Ints) -> Loss:
        """Return the loss over some of the rows."""
        return replace(self, truth=self.truth[rows], weights=self.weights[rows])

    def __call__(self, raw: Floats) -> float:
        """Return the mean loss of raw scores of shape [n, k]."""
        return float(np.mean(self.weights * self.rows(raw)))

    def rows(self, raw: Floats) -> Floats:
        """Return the unweighted loss of each row, of shape [n]."""
        if self.name != "log_loss":
            return self._of_values(raw[:, 0])
        if raw.shape[1] == 1:
            z = raw[:, 0]
            return np.asarray(np.logaddexp(0.0, z) - self.truth * z, dtype=np.float64)
        top = raw.max(axis=1)
        total = np.log(np.exp(raw - top[:, None]).sum(axis=1)) + top
        return np.asarray(total - raw[np.arange(len(raw)), self.truth.astype(np.int64)], dtype=np.float64)

    def _of_values(self, raw: Floats) -> Floats:
        if self.name in DEVIANCES:
            return deviance(self.truth, raw, self.at)
        if self.link == "log":
            with np.errstate(over="ignore"):
                raw = np.exp(raw)
        error = self.truth - raw
        if self.name == "pinball":
            return np.asarray(np.maximum(self.at * error, (self.at - 1) * error), dtype=np.float64)
        return np.asarray(error * error if self.name == "squared_error" else np.abs(error), dtype=np.float64)
