"""What is predicted: the task a label asks for, and the order of its classes."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from modelyard.brief.brief import Brief, Task
from modelyard.core.errors import DataError, did_you_mean
from modelyard.metrics.find import metric as find_metric

_FEW = 20
_POSITIVE = ("1", "1.0", "true", "yes", "y", "t", "positive", "pos")
_NEGATIVE = ("0", "0.0", "-1", "-1.0", "false", "no", "n", "f", "negative", "neg")
_FORECAST_METRICS = ("mase", "smape")


def task_of(label: pl.Series, brief: Brief, series_only: bool) -> Task:
    """Return the task: the brief's, else what the label's values ask for.

    Parameters
    ----------
    label : polars.Series
        Without missing values, of a plain type.
    brief : Brief
        Its task decides when named; so does a horizon, or a metric of forecasts, of numbers or of classes: counts
        from 0 to 5 that are to be judged by a deviance are no classes, and 100 whole numbers that are to be judged by
        accuracy are.
    series_only : bool
        Whether the table holds nothing but series: no column changes within one but time and label.
    """
    if brief.task is not None:
        return brief.task
    metrics = {brief.metric, *(t.metric for t in brief.target)}
    forecast = brief.forecast.horizon is not None or series_only or bool(metrics.intersection(_FORECAST_METRICS))
    if forecast and label.dtype.is_numeric() and brief.data.time is not None:
        return "forecast"
    distinct = label.n_unique()
    kind = brief.data.types.get(label.name)
    numbers = label.dtype.is_numeric() and kind is None and any(_of_numbers(name) for name in metrics)
    if (kind == "number" or numbers) and distinct > 2:
        return "regression"
    if kind is None and any(_of_classes(name) for name in metrics):
        return "binary" if distinct == 2 else "multiclass"
    if label.dtype == pl.Float64 and kind is None and distinct > 2:
        whole = bool((label == label.round()).all())
        return "multiclass" if whole and distinct <= _FEW else "regression"
    if label.dtype == pl.Int64 and kind is None and distinct > _FEW:
        return "regression"
    return "binary" if distinct == 2 else "multiclass"


def _of_numbers(metric: str | None) -> bool:
    return metric is not None and "regression" in find_metric(metric).tasks


def _of_classes(metric: str | None) -> bool:
    return metric is not None and not set(find_metric(metric).tasks).difference(("binary", "multiclass"))


def order_classes(counts: Mapping[str, int], task: Task, positive: str | None, label: str) -> tuple[str, ...]:
    """Return the classes in the order of the model's outputs; of two, the positive one last.

    Raises
    ------
    DataError
        If the task needs another number of classes, there are hardly fewer of them than rows, or the brief's positive
        class is none of them.
    """
    names = list(counts)
    if len(names) < 2:
        raise constant_label(label, names[0] if names else "nothing")
    rows = sum(counts.values())
    if len(names) > _FEW and 2 * len(names) > rows:
        raise DataError(
            f"The label '{label}' has {len(names):,} classes in {rows:,} rows: it looks like an identifier or a text.",
            where=f"column '{label}'",
            allowed=f"{_FEW} classes, or two rows a class on average.",
            do="Name another label, merge classes, or write task: regression if it is a number.",
        )
    if task == "binary" and len(names) != 2:
        raise DataError(
            f"'{label}' has {len(names)} classes, and a binary task has two.",
            where=f"column '{label}'",
            allowed=f"Its classes: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}.",
            do="Write task: multiclass, or leave the task out.",
        )
    if positive is not None and positive not in counts:
        raise DataError(
            f"'{label}' has no class '{positive}'.",
            where="data.positive",
            allowed=f"Its classes: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}.",
            do=did_you_mean(positive, names) or "Name one of them.",
        )
    if len(names) > 2:
        return tuple(_sorted(names))
    chosen = positive or _natural_positive(counts)
    return next(n for n in names if n != chosen), chosen


def _natural_positive(counts: Mapping[str, int]) -> str:
    for name in () if set(counts) == {"1", "2"} else counts:  # which of 1 and 2 means yes, surveys disagree on
        if name.lower() in _POSITIVE:
            return name
    for name in counts:
        if name.lower() in _NEGATIVE:
            return next(n for n in counts if n != name)
    return min(sorted(counts), key=lambda n: counts[n])


def _sorted(names: list[str]) -> list[str]:
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)


def constant_label(label: str, value: object) -> DataError:
    """Return the error for a label of one value."""
    return DataError(
        f"The label '{label}' is '{value}' in every row: there is nothing to learn.",
        where=f"column '{label}'",
        allowed="A label has two or more values.",
        do="Name another label, or a table with other rows too.",
    )
