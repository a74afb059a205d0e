"""Labels of one fold as losses want them: classes that are there, standardised values, what every row starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelyard.data.dataset import Floats, Ints
from modelyard.families.tabular.booster import Loss


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels of the rows one model learns from.

    raw score [n, k] = base + scale * (what the model adds to the outputs `present`)

    Attributes
    ----------
    loss : {"logistic", "softmax", "squared"}
        What fits them.
    base : float64 array of shape [k]
        Smoothed log odds, log shares of the classes, or the mean.
    scale : float
        Deviation of a number, which is learnt standardised so that float32 sums stay exact enough; else 1.
    present : int64 array of shape [m]
        Outputs the model adds to: all, but for classes these rows do not hold.
    """

    loss: Loss
    base: Floats
    scale: float
    present: Ints

    @property
    def start(self) -> Floats:
        """What a row starts from in the model's own outputs and unit, of shape [m]."""
        return np.zeros(1) if self.loss == "squared" else self.base[self.present]

    @property
    def constant(self) -> bool:
        """Whether there is nothing to learn: one class, or one value."""
        return self.scale == 0.0 or len(self.present) == 0

    def of(self, truth: Ints | Floats) -> tuple[Floats, Ints]:
        """Return labels in the model's terms, and the positions of the rows whose class it knows."""
        if self.loss == "squared":
            return (truth - self.base[0]) / (self.scale or 1.0), np.arange(len(truth))
        if self.loss == "logistic":
            return truth.astype(np.float64), np.arange(len(truth))
        known = np.flatnonzero(np.isin(truth, self.present))
        return np.searchsorted(self.present, truth[known]).astype(np.float64), known


def read_labels(truth: Ints | Floats, weights: Floats, classes: int) -> Labels:
    """Describe the labels of the rows a model learns from.

    Parameters
    ----------
    truth : array of shape [n]
        Class codes, or values.
    weights : float64 array of shape [n]
        Sample weights.
    classes : int
        Number of classes; 0 for a number.
    """
    if classes == 0:
        mean = float(np.average(truth, weights=weights))
        deviation = float(np.sqrt(np.average(np.square(truth - mean), weights=weights)))
        return Labels("squared", np.array([mean]), deviation, np.zeros(1, dtype=np.int64))
    codes = truth.astype(np.int64)
    mass = np.bincount(codes, weights / weights.mean(), classes)
    held = np.flatnonzero(np.bincount(codes, minlength=classes)).astype(np.int64)
    share = (mass + 0.5) / (mass.sum() + 0.5 * classes)
    if classes == 2:
        place = np.zeros(1 if len(held) == 2 else 0, dtype=np.int64)
        return Labels("logistic", np.array([np.log(share[1] / share[0])]), 1.0, place)
    return Labels("softmax", np.log(share), 1.0, held if len(held) > 1 else held[:0])


def balance(truth: Ints | Floats, weights: Floats, classes: int) -> Floats:
    """Return weights under which every class weighs the same."""
    mass = np.bincount(truth.astype(np.int64), weights, classes)
    return np.asarray(weights * (mass.sum() / np.maximum(mass * (mass > 0).sum(), 1e-300))[truth.astype(np.int64)])


def mean_loss(raw: Floats, truth: Ints | Floats, weights: Floats) -> float:
    """Return the log loss of raw scores, or the root of the mean squared error."""
    if np.issubdtype(truth.dtype, np.floating):
        return float(np.sqrt(np.average(np.square(raw[:, 0] - truth), weights=weights)))
    if raw.shape[1] == 1:
        return float(np.average(np.logaddexp(0.0, raw[:, 0]) - truth * raw[:, 0], weights=weights))
    top = raw - raw.max(axis=1, keepdims=True)
    return float(np.average(np.log(np.exp(top).sum(axis=1)) - top[np.arange(len(truth)), truth], weights=weights))
