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
Scorer = Callable[[Truth, Floats, Floats | None, Context], float]


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
        The tasks it can score: binary, multiclass, regression, forecast.
    greater_is_better : bool
        Its direction.
    low, high : float
        The range of its values.
    score : callable
        ``score(truth, prediction, weights or None, context) -> float``. ``truth`` holds class codes or values,
        ``context`` per-row arrays some metrics need (``"scale"`` for MASE). NaN when undefined, as ROC AUC is
        on rows of one class.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    reads: Literal["probabilities", "classes", "values"]
    tasks: frozenset[str]
    greater_is_better: bool
    low: float
    high: float
    score: Scorer

    def __call__(
        self, truth: Truth, prediction: Floats, weights: Floats | None = None, context: Context | None = None
    ) -> float:
        """Score predictions; see `score`."""
        return self.score(truth, prediction, weights, context or {})

    def better(self, one: float, other: float) -> bool:
        """Say whether one value is better than another."""
        return one > other if self.greater_is_better else one < other

    def loss(self, value: float) -> float:
        """Return the value turned so that less is better."""
        return -value if self.greater_is_better else value
