"""Labels of one fold as losses want them: classes that are there, standardised values, what every row starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.data.dataset import Floats, Ints
from modelyard.families.tabular.booster import Loss
from modelyard.metrics.metric import Metric
from modelyard.metrics.objective import deviance, objective, quantile

STANDARDISED = ("squared", "absolute", "quantile")
"""Losses of numbers that are learnt less their base and over their deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels of the rows one model learns from.

    raw score [n, k] = base + scale * (what the model adds to the outputs `present`)

    Attributes
    ----------
    loss : {"logistic", "softmax", "squared", "absolute", "quantile", "poisson", "tweedie"}
        What fits them.
    base : float64 array of shape [k]
        Smoothed log odds, log shares of the classes, the mean, the quantile, or the logarithm of the mean.
    scale : float
        Deviation of a number, which is learnt standardised so that float32 sums stay exact enough; else 1, and 0 where
        all labels are the same.
    present : int64 array of shape [m]
        Outputs the model adds to: all, but for classes these rows do not hold.
    at : float
        Level of the quantile, or power of the variance; NaN for the other losses.
    """

    loss: Loss
    base: Floats
    scale: float
    present: Ints
    at: float = float("nan")

    @property
    def start(self) -> Floats:
        """What a row starts from in the model's own outputs and unit, of shape [m]."""
        return np.zeros(1) if self.loss in (*STANDARDISED, "tweedie") else self.base[self.present]

    @property
    def constant(self) -> bool:
        """Whether there is nothing to learn: one class, or one value."""
        return self.scale == 0.0 or len(self.present) == 0

    def of(self, truth: Ints | Floats) -> tuple[Floats, Ints]:
        """Return labels in the model's terms, and the positions of the rows whose class it knows."""
        if self.loss in STANDARDISED:
            return (truth - self.base[0]) / (self.scale or 1.0), np.arange(len(truth))
        if self.loss == "tweedie":  # in means: then penalties weigh the same whatever the unit of the label
            return truth / np.exp(self.base[0]), np.arange(len(truth))
        if self.loss in ("logistic", "poisson"):
            return truth.astype(np.float64), np.arange(len(truth))
        known = np.flatnonzero(np.isin(truth, self.present))
        return np.searchsorted(self.present, truth[known]).astype(np.float64), known


def loss_of(parameters: Mapping[str, Any]) -> tuple[Loss, float]:
    """Return the loss of numbers a candidate's parameters name, and its level or power; see `loss_parameters`."""
    return parameters.get("loss", "squared"), float(parameters.get("level", parameters.get("power", math.nan)))


def loss_parameters(metric: Metric) -> dict[str, Any]:
    """Return the parameters that make a candidate minimise what a metric of numbers asks; none for squared error."""
    aim = objective(metric)
    named: dict[str, dict[str, Any]] = {
        "squared_error": {},
        "absolute_error": {"loss": "absolute"},
        "pinball": {"loss": "quantile", "level": aim.at},
        "poisson_deviance": {"loss": "poisson", "power": aim.at},
        "tweedie_deviance": {"loss": "tweedie", "power": aim.at},
    }
    return named[aim.name]


def read_labels(
    truth: Ints | Floats, weights: Floats, classes: int, loss: Loss = "squared", at: float = math.nan
) -> Labels:
    """Describe the labels of the rows a model learns from.

    Parameters
    ----------
    truth : array of shape [n]
        Class codes, or values.
    weights : float64 array of shape [n]
        Sample weights.
    classes : int
        Number of classes; 0 for a number.
    loss, at
        Of a number, as in `Labels`.
    """
    if classes == 0:
        mean = float(np.average(truth, weights=weights))
        deviation = float(np.sqrt(np.average(np.square(truth - mean), weights=weights)))
        varies = truth.min() < truth.max()  # of equal values the mean may be off a bit, and so the deviation
        base, scale = mean, deviation if varies else 0.0
        if loss in ("poisson", "tweedie"):
            # Rows without a single event teach no mean; half an event is what they leave possible.
            base, scale = float(np.log(mean or 0.5 / len(truth))), float(varies and deviation > 0)
        elif loss != "squared":
            base = quantile(truth, weights, 0.5 if loss == "absolute" else at)
        return Labels(loss, np.array([base]), scale, np.zeros(1, dtype=np.int64), at)
    codes = truth.astype(np.int64)
    mass = np.bincount(codes, weights / weights.mean(), classes)
    held = np.flatnonzero(np.bincount(codes, minlength=classes)).astype(np.int64)
    share = (mass + 0.5) / (mass.sum() + 0.5 * classes)
    if classes == 2:
        place = np.zeros(1 if len(held) == 2 else 0, dtype=np.int64)
        return Labels("logistic", np.array([np.log(share[1] / share[0])]), 1.0, place)
    return Labels("softmax", np.log(share), 1.0, held if len(held) > 1 else held[:0])


def class_weighted(
    parameters: Mapping[str, Any], truth: Ints | Floats, weights: Floats, classes: int, rows: Ints
) -> Floats | None:
    """Return weights [n] of rows where a candidate weighs classes otherwise than the table does; else None.

    Parameters
    ----------
    parameters : mapping
        The candidate's: ``balanced``, or ``class_weights`` in the order of the classes.
    truth, weights
        As in `read_labels`.
    classes : int
        Number of classes.
    rows : int array
        Rows that are learnt from, whose shares "balanced" is about.
    """
    if parameters.get("balanced"):
        return balance(truth, weights, classes, rows)
    if "class_weights" in parameters:
        return np.asarray(weights * np.asarray(parameters["class_weights"], dtype=np.float64)[truth.astype(np.int64)])
    return None


def balance(truth: Ints | Floats, weights: Floats, classes: int, rows: Ints) -> Floats:
    """Return weights under which every class weighs the same in some of the rows."""
    mass = np.bincount(truth[rows].astype(np.int64), weights[rows], classes)
    return np.asarray(weights * (mass.sum() / np.maximum(mass * (mass > 0).sum(), 1e-300))[truth.astype(np.int64)])


def mean_loss(
    raw: Floats, truth: Ints | Floats, weights: Floats, loss: Loss = "squared", at: float = math.nan
) -> float:
    """Return the log loss of raw scores of classes; of numbers the mean loss, of squared errors its root."""
    if np.issubdtype(truth.dtype, np.floating):
        if loss in ("poisson", "tweedie"):
            return float(np.average(deviance(truth, raw[:, 0], at), weights=weights))
        error = truth - raw[:, 0]
        if loss == "squared":
            return float(np.sqrt(np.average(np.square(error), weights=weights)))
        each = np.abs(error) if loss == "absolute" else np.maximum(at * error, (at - 1) * error)
        return float(np.average(each, weights=weights))
    if raw.shape[1] == 1:
        return float(np.average(np.logaddexp(0.0, raw[:, 0]) - truth * raw[:, 0], weights=weights))
    top = raw - raw.max(axis=1, keepdims=True)
    return float(np.average(np.log(np.exp(top).sum(axis=1)) - top[np.arange(len(truth)), truth], weights=weights))
