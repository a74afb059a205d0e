"""Metric: a name, a direction, and a function from truth and prediction to one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truth = NDArray[np.float64] | NDArray[np.int64]
Context = Mapping[str, NDArray[np.float64]]
Scorer = Callable[[Floats], float]
"""From weights of shape [n] to the metric's value: all that depends on the rows alone has been done."""
Prepare = Callable[[Truth, Floats, Context], Scorer]


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to score predictions.

    Attributes
    ----------
    name : str
        The field's standard name, such as ``"roc_auc"``.
    title : str
        As a person writes it, such as "ROC AUC".
    aliases : tuple of str
        Other spellings a brief may use ("auc", "AUC-ROC").
    reads : {"probabilities", "classes", "values"}
        What the function is given as its prediction: probabilities (``[n]`` of the positive class for a binary
        task, ``[n, k]`` otherwise), class codes ``[n]``, or values ``[n]``.
    tasks : frozenset of str
        The tasks it can score: binary, multiclass, regression, forecast (and recommend, which no family trains yet).
    greater_is_better : bool
        Its direction.
    low, high : float
        The range of its values.
    prepare : callable
        ``prepare(truth, prediction, context) -> scorer``: sorts, bins or subtracts once, and returns a function of
        the weights alone, so that a thousand resamples of the same rows (which differ in their weights only) cost a
        thousand weighted sums. NaN when undefined, as ROC AUC is on rows of one class.
    at : float
        Level of a quantile, or power of a variance; NaN for a metric that has neither.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    reads: Literal["probabilities", "classes", "values"]
    tasks: frozenset[str]
    greater_is_better: bool
    low: float
    high: float
    prepare: Prepare
    at: float = float("nan")

    def __call__(
        self, truth: Truth, prediction: Floats, weights: Floats | None = None, context: Context | None = None
    ) -> float:
        """Score predictions; see `score`."""
        return self.score(truth, prediction, weights, context)

    def score(
        self, truth: Truth, prediction: Floats, weights: Floats | None = None, context: Context | None = None
    ) -> float:
        """Score predictions.

        Parameters
        ----------
        truth : array of shape [n]
            Class codes or values.
        prediction : array of shape [n] or [n, k]
            What the metric `reads`.
        weights : float64 array of shape [n], optional
            Weight of each row; a weight of two counts as two copies of the row.
        context : mapping of str to array of shape [n], optional
            Per-row figures some metrics need: ``"scale"`` for MASE.

        Returns
        -------
        float
            NaN when undefined on these rows, or when a prediction is NaN.
        """
        return self.scorer(truth, prediction, context)(np.ones(len(truth)) if weights is None else weights)

    def scorer(self, truth: Truth, prediction: Floats, context: Context | None = None) -> Scorer:
        """Return the score as a function of the weights (float64 of shape [n]) alone; see `prepare`."""
        prediction = np.asarray(prediction, dtype=np.float64)
        if len(truth) != len(prediction):
            raise ValueError(f"{len(truth)} rows of truth, {len(prediction)} of prediction")
        if len(truth) == 0 or np.isnan(prediction).any():
            return _undefined
        with np.errstate(all="ignore"):
            inner = self.prepare(truth, prediction, context or {})

        def score(weights: Floats) -> float:
            if not weights.any():
                return float("nan")
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return float(inner(weights))

        return score

    def better(self, one: float, other: float) -> bool:
        """Say whether one value is better than another."""
        return one > other if self.greater_is_better else one < other

    def loss(self, value: float) -> float:
        """Return the value turned so that less is better."""
        return -value if self.greater_is_better else value


def _undefined(weights: Floats) -> float:
    return float("nan")


def dot(one: Floats, other: Floats) -> float:
    """Return the sum of products of two arrays [n], on the calling thread.

    A bootstrap calls this thousands of times; ``@`` would wake the linear algebra library's threads each time, which
    on a busy machine costs many times the sum itself.
    """
    return float(np.einsum("i,i", one, other))
