"""What families pass on: Candidate, Fitted, Blend, Export. All of it plain data, so nothing is ever pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Link = Literal["identity", "log", "logistic", "softmax"]
"""What turns raw scores into answers."""


@dataclass(frozen=True, slots=True)
class Range:
    """The range one parameter is searched over; `kind` is "float", "int" or "choice"."""

    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def nearest(self, value: Any) -> Any:
        """Return the value of the range that lies nearest to a number; of a choice, the value as it is."""
        if self.kind == "choice":
            return value
        within = min(max(value, self.low), self.high)
        return round(within) if self.kind == "int" else float(within)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a fit is expected to take on this machine, from a short probe: seconds and peak megabytes."""

    seconds: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something a family could fit.

    Attributes
    ----------
    name : str
        Unique in a run, such as ``"lightgbm"``, or ``"lightgbm-t7"`` for the search's seventh trial.
    family, title : str
        The family's name; the algorithm as people write it ("LightGBM").
    parameters : mapping
        Hyperparameters, JSON values.
    space : mapping of str to Range
        What the search may change.
    starts : tuple of mapping
        Values of all that is in the space, which the search tries first.
    reason : str
        Why it is in the plan, from the data and the brief.
    cost : Cost
        What it is expected to take.
    size : str
        What holds its size, such as rounds and leaves, and by which rule; a trial of the search has its own.
    guard : float, optional
        Seconds after which the clock ends one of its fits; no hyperparameter, since a fit it ends is a poor one.
    log : mapping, optional
        Parameters under which it learns the logarithm of the mean in place of the mean; None where it does so
        anyway, or the label does not allow it.
    """

    name: str
    family: str
    title: str
    parameters: Mapping[str, Any]
    space: Mapping[str, Range]
    reason: str
    cost: Cost
    size: str = ""
    guard: float | None = None
    log: Mapping[str, Any] | None = None
    starts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning curve of one fold: the loss on the inner stopping part after each of `steps`; `unit` names one."""

    fold: int
    steps: tuple[int, ...]
    train: tuple[float, ...]
    validation: tuple[float, ...]
    unit: str = "step"


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted candidate, as data: any of it can be written to files and read back without running code.

    Attributes
    ----------
    candidate : Candidate
        What was fitted.
    facts : mapping
        JSON values the family needs to predict; ``settled`` holds parameters that the fit on every row takes over.
    arrays : mapping of str to array
        Numeric arrays.
    texts : mapping of str to str
        Native models as text (a LightGBM model string, an XGBoost JSON).
    scores : float64 array of shape [n_development, n_outputs]
        Raw out-of-fold scores: a logit for binary, one score for each class for multiclass, the value (or, where a
        deviance is minimised, its logarithm) otherwise.
        NaN where a row was never scored.
    rounds : tuple of int
        Iteration counts, one for each fit made, in order: what a replay needs.
    seconds : float
        Wall-clock seconds the fit took, but for what other candidates will find worked out; 0 where nobody says.
    curves : tuple of Curve
        Learning curves.
    shared_seconds : float
        What it took to work out for one fold what other candidates will find, scaled up to every row: the first fit on
        every row takes as much longer.
    whole : tuple of int
        Iteration counts of fits on every row, one for each model. Where there are any, the models of the folds only
        score: those fitted on every row answer (see `modelyard.families.whole`). Over the folds, as many as are worth
        averaging; on every row, those that were fitted.
    whole_seconds : float
        What these fits are reckoned to take.
    microseconds : float
        What these models are reckoned to add to one answer.
    own_bytes, shared_bytes : float
        What they are reckoned to add to the model's file, and what all members share of that.
    """

    candidate: Candidate
    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    texts: Mapping[str, str]
    scores: Floats
    rounds: tuple[int, ...] = ()
    seconds: float = 0.0
    curves: tuple[Curve, ...] = ()
    whole: tuple[int, ...] = ()
    whole_seconds: float = 0.0
    microseconds: float = 0.0
    own_bytes: float = 0.0
    shared_bytes: float = 0.0
    shared_seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """A weighted sum of fitted candidates in raw-score space, calibrated, and linked to the answer.

    answer = link(scale * sum_i weight_i * raw_i + offset)

    Attributes
    ----------
    members : tuple of (Fitted, float)
        What is summed; weights are positive and sum to 1.
    link : {"identity", "log", "logistic", "softmax"}
        From raw scores to values, the values of which they are logarithms, the probability of the positive class, or
        probabilities of all classes.
    scale : float
        Calibration slope (1 / temperature).
    offset : tuple of float
        Calibration offset for each output.
    """

    members: tuple[tuple[Fitted, float], ...]
    link: Link
    scale: float
    offset: tuple[float, ...]

    def answer(self, raw: Floats) -> Floats:
        """Turn summed raw scores [n, n_outputs] into values [n], P(positive) [n], or probabilities [n, k]."""
        z: Floats = self.scale * raw + np.asarray(self.offset, dtype=np.float64)
        if self.link == "identity":
            return np.asarray(z[:, 0], dtype=np.float64)
        if self.link == "log":
            return np.asarray(np.exp(z[:, 0]), dtype=np.float64)
        if self.link == "logistic":
            return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z[:, 0])), dtype=np.float64)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Export:
    """Files any machine can run, and how.

    Attributes
    ----------
    runtime : {"onnx", "arrays"}
        Which runtime of `modelyard.bundle.runtimes` reads them. ``onnx``: ``model.onnx`` with inputs ``numbers``
        (float32 [n, p], absent when p = 0) and ``strings`` (string [n, q], absent when q = 0) laid out by the Encoding,
        and one output ``answer`` (float32 [n, k]: both probabilities of a binary task, all of a multiclass one, or
        the value). ``arrays``: ``forecast.npz``.
    files : mapping of str to bytes
        By name; native members under ``members/``, as text.
    facts : mapping
        JSON values the manifest records: trees, nodes, members with weights, and what explanations need.
    moments : bool
        Whether the graph works out the parts of dates itself: it then has the input ``moments`` (int64 [n, d], absent
        when d = 0) and they are not among ``numbers``.
    """

    runtime: Literal["onnx", "arrays"]
    files: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    moments: bool = False
