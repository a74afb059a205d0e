"""Loss: the proper loss training minimises, in raw-score space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.metrics.metric import Metric

Link = Literal["identity", "logistic", "softmax"]
LINKS: dict[str, Link] = {
    "binary": "logistic",
    "multiclass": "softmax",
    "regression": "identity",
    "forecast": "identity",
}
_ABSOLUTE = frozenset({"mae", "medae", "mape", "smape", "wape"})


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A proper loss over rows: the same for search, blend and calibration, whatever metric is published.

    A ranking metric such as ROC AUC is reached through the log loss: it is smooth, it rewards the same order, and it
    keeps the probabilities honest.

    Attributes
    ----------
    name : {"log_loss", "squared_error", "absolute_error", "scaled_error"}
        What is minimised.
    truth : array of shape [n]
        Class codes or values.
    weights : float64 array of shape [n]
        Sample weights, divided by their mean; for ``scaled_error`` by the row's scale too.
    """

    name: Literal["log_loss", "squared_error", "absolute_error", "scaled_error"]
    truth: Ints | Floats
    weights: Floats

    @classmethod
    def of(cls, task: str, metric: Metric, data: Dataset) -> Loss:
        """Choose the loss of a task and metric over the rows of a table."""
        given = data.weights()
        weights = np.ones(len(data)) if given is None else given / given.mean()
        if task in ("binary", "multiclass"):
            return cls("log_loss", data.truth(), weights)
        if task == "forecast" and "scale" in data.extras:
            scale = data.extras["scale"]
            known = np.isfinite(scale) & (scale > 0)
            return cls("scaled_error", data.truth(), np.where(known, weights / np.where(known, scale, 1.0), 0.0))
        absolute = task == "forecast" or metric.name in _ABSOLUTE
        return cls("absolute_error" if absolute else "squared_error", data.truth(), weights)

    def take(self, rows: Ints) -> Loss:
        """Return the loss over some of the rows."""
        return replace(self, truth=self.truth[rows], weights=self.weights[rows])

    def __call__(self, raw: Floats) -> float:
        """Return the mean loss of raw scores of shape [n, k]."""
        return float(np.mean(self.weights * self.rows(raw)))

    def rows(self, raw: Floats) -> Floats:
        """Return the unweighted loss of each row, of shape [n]."""
        if self.name != "log_loss":
            error = raw[:, 0] - self.truth
            return np.asarray(error * error if self.name == "squared_error" else np.abs(error), dtype=np.float64)
        if raw.shape[1] == 1:
            z = raw[:, 0]
            return np.asarray(np.logaddexp(0.0, z) - self.truth * z, dtype=np.float64)
        top = raw.max(axis=1)
        total = np.log(np.exp(raw - top[:, None]).sum(axis=1)) + top
        return np.asarray(total - raw[np.arange(len(raw)), self.truth.astype(np.int64)], dtype=np.float64)
