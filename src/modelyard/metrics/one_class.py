"""The metric a target speaks of: the whole task's, or a binary metric turned to one class ("99% recall on defects")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from modelyard.core.errors import BriefError, did_you_mean, listed
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.metric import Context, Floats, Metric, Scorer, Truth

# What a metric of one class becomes where a target names none of several.
_OVER_CLASSES = {"recall": "balanced_accuracy", "precision": "precision_macro", "f1": "f1_macro"}


class Asked(Protocol):
    """A target: the metric it names and the class it speaks of."""

    @property
    def metric(self) -> str:
        """Name of the metric."""

    @property
    def label(self) -> str | None:
        """The class, or None for the positive one or the average."""


def metric_for(target: Asked, classes: Sequence[str]) -> Metric:
    """Return the metric that decides a target.

    Parameters
    ----------
    target : Target
        Its metric, and its class if it names one.
    classes : sequence of str
        Of the label, in the order of the model's outputs; empty for numbers.

    Raises
    ------
    BriefError
        If the class is unknown, or the metric cannot speak of one.
    """
    metric = find_metric(target.metric)
    if target.label is None:
        return find_metric(_OVER_CLASSES.get(metric.name, metric.name)) if len(classes) > 2 else metric
    if "binary" not in metric.tasks or metric.name.endswith("_macro"):
        raise BriefError(f"{metric.title} does not speak of one class, so 'on {target.label}' has no meaning.")
    code = class_code(target.label, classes)
    return of_class(metric, code, classes[code])


def class_code(label: str, classes: Sequence[str]) -> int:
    """Return the position of a class by its name, whatever its case and with or without a plural s.

    Raises
    ------
    BriefError
        If there is none.
    """
    for plain in (str, str.lower, lambda text: text.lower().removesuffix("s")):
        found = [i for i, name in enumerate(classes) if plain(name) == plain(label)]
        if len(found) == 1:
            return found[0]
    shown = listed([repr(c) for c in classes], 20)
    raise BriefError(
        f"The label has no class '{label}'.",
        allowed=did_you_mean(label, classes)
        or (f"Classes: {shown}." if classes else "The label is a number: it has no classes."),
        do=f"Without 'on {label}' the target speaks of the positive class, '{classes[-1]}'."
        if len(classes) == 2
        else None,
    )


def of_class(metric: Metric, code: int, label: str) -> Metric:
    """Return a metric of one class against the rest.

    Parameters
    ----------
    metric : Metric
        One that can score a binary task.
    code : int
        The class, as a position in the schema's classes.
    label : str
        Its name, for the title.

    Returns
    -------
    Metric
        It reads what `metric` reads for the whole task: [n] or [n, k] probabilities, or class codes [n].
    """

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        chosen = (truth == code).astype(np.int64)
        if metric.reads == "classes":
            return metric.prepare(chosen, (prediction == code).astype(np.float64), context)
        if prediction.ndim == 2:
            return metric.prepare(chosen, prediction[:, code], context)
        return metric.prepare(chosen, prediction if code == 1 else 1 - prediction, context)

    tasks = metric.tasks | {"multiclass"}
    title = f"{metric.title} on {label}"
    return replace(metric, name=f"{metric.name} on {label}", title=title, tasks=tasks, prepare=prepare)
