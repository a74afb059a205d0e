"""Settling a brief once the label has been seen: its task, its metric, and whether its targets fit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelyard.brief.brief import Brief, Target, Task
from modelyard.brief.target import target_text
from modelyard.core.errors import BriefError
from modelyard.metrics.find import all_metrics, default_metric
from modelyard.metrics.metric import Metric
from modelyard.metrics.one_class import class_code, metric_for

_NO_METRIC = {"recommend": "scores ranked lists; recommending is a task no family of modelyard trains yet"}


def settle(brief: Brief, schema_task: Task, classes: Sequence[str]) -> Brief:
    """Return the brief with its task and metric filled in.

    Parameters
    ----------
    brief : Brief
        As read.
    schema_task : {"binary", "multiclass", "regression", "forecast"}
        What the table's label makes of it.
    classes : sequence of str
        Of the label; empty for numbers.

    Returns
    -------
    Brief
        ``metric`` is the one to optimise: the brief's, the first target's, or the task's usual one. Of several classes
        "recall", "precision" and "f1" become their means over the classes unless a target names one, and the names of
        classes are spelt as in the table.

    Raises
    ------
    BriefError
        If the task is another than the table's, a metric does not suit it, or a class is unknown.
    """
    if brief.task is not None and brief.task != schema_task:
        raise BriefError(
            f"The brief asks for {brief.task}, but the label makes it {schema_task}.",
            where=brief.source,
            do="Leave task out, or name another label; data.types can say that a number is a category.",
        )
    targets = tuple(_target(t, brief, schema_task, classes) for t in brief.target)
    if brief.metric is not None:
        metric = metric_for(Target(brief.metric, ">=", 0.0), classes)
        _check(metric, schema_task, f"metric: {brief.metric}", brief.source)
    elif targets:
        metric = metric_for(replace(targets[0], label=None), classes)
    else:
        metric = default_metric(schema_task)
    return replace(brief, task=schema_task, target=targets, metric=metric.name)


def _target(target: Target, brief: Brief, task: Task, classes: Sequence[str]) -> Target:
    where = f"target: {target_text(target)}"
    try:
        metric = metric_for(target, classes)
    except BriefError as error:
        raise BriefError(error.what, where=f"{brief.source}, {where}", allowed=error.allowed, do=error.do) from None
    _check(metric, task, where, brief.source)
    if target.label is None:
        return replace(target, metric=metric.name)
    return replace(target, label=classes[class_code(target.label, classes)])


def _check(metric: Metric, task: Task, where: str, source: str) -> None:
    if task in metric.tasks:
        return
    fitting = ", ".join(m.name for m in all_metrics() if task in m.tasks)
    why = next((text for name, text in _NO_METRIC.items() if name in metric.tasks), f"does not score a {task} task")
    if task == "multiclass" and "binary" in metric.tasks:
        why = f"speaks of one class: name it, as in '{metric.name} >= 0.9 on CLASS'"
    raise BriefError(f"{metric.title} {why}.", where=f"{source}, {where}", allowed=f"For {task}: {fitting}.")
