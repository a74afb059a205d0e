"""The metric on parts of the rows: by level, by quantile, and for every sensitive column."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.schema import Column
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.levels import Levels
from modelyard.evaluation.report import Estimate, Importance, Slice
from modelyard.metrics.metric import Metric

FEW = "insufficient data"
_TOP = 5
_QUANTILES, _LEVELS, _SENSITIVE_LEVELS, _DISTINCT = 4, 8, 20, 6
_ROWS, _OF_A_CLASS = 30, 10
_RESAMPLES = 400


def slices(evidence: Evidence, metric: Metric, importance: tuple[Importance, ...]) -> tuple[Slice, ...]:
    """Return the metric on slices of every sensitive column and of the most important features.

    Columns come in that order. A slice with fewer than 30 rows, or fewer than 10 of either class, is shown with its
    count and no figure.
    """
    schema, columns = evidence.rows.schema, set(evidence.rows.frame.columns)
    sensitive = [c for c in schema.columns if c.sensitive and c.name in columns and c.role != "label"]
    top = [i.column for i in importance if i.low > 0][:_TOP]
    if schema.task == "forecast":
        top = [c.name for c in schema.columns if c.role == "feature" and c.kind in {"category", "boolean"}][:_TOP]
    names = {c.name for c in sensitive}
    rest = [schema.column(name) for name in top if name in columns and name not in names]
    return tuple(s for column in (*sensitive, *rest) for s in _of_column(evidence, metric, column))


def _of_column(evidence: Evidence, metric: Metric, column: Column) -> list[Slice]:
    values = evidence.rows.frame[column.name]
    if values.dtype.is_numeric() and values.drop_nulls().n_unique() <= _DISTINCT:
        values = pl.Series(values.name, [None if v is None else f"{v:g}" for v in values.to_list()], dtype=pl.String)
    levels = Levels.of(values, _QUANTILES, _SENSITIVE_LEVELS if column.sensitive else _LEVELS)
    levels = levels.merged(values, len(values) // (2 * _QUANTILES))
    codes, found = levels.codes(values), []
    for code, name in enumerate(_names(levels, values, column.physical == "integer")):
        where = codes == code
        if where.any():
            found.append(_slice(evidence, metric, column, name, where))
    return found if len(found) > 1 else []


def _slice(evidence: Evidence, metric: Metric, column: Column, name: str, where: NDArray[np.bool_]) -> Slice:
    n, nan = int(where.sum()), float("nan")
    share = n / len(where)
    if _enough(evidence, where):
        estimate = evidence.estimate(metric, where, min(_RESAMPLES, evidence.resamples))
        if not np.isnan(estimate.low):
            return Slice(column.name, name, estimate, share, column.sensitive)
    unit = "rows" if evidence.groups is None else "groups"
    return Slice(
        column.name, name, Estimate(metric.name, nan, nan, nan, n, 0.95, 0, unit), share, column.sensitive, FEW
    )


def _enough(evidence: Evidence, where: NDArray[np.bool_]) -> bool:
    if where.sum() < _ROWS:
        return False
    if len(evidence.rows.schema.classes) != 2:
        return True
    positive = int((evidence.truth[where] == 1).sum())
    return min(positive, int(where.sum()) - positive) >= _OF_A_CLASS


def _names(levels: Levels, values: pl.Series, whole: bool) -> list[str]:
    if levels.edges is None:
        return [*levels.names, "other", "missing"]
    ends = [_written(e, values.dtype) for e in levels.edges]
    if not ends:
        return ["any", "missing"]
    starts = [_written(e + 1, values.dtype) for e in levels.edges] if whole else ends
    between = [a if a == b else f"{a} to {b}" for a, b in zip(starts, ends[1:], strict=False)]
    last = f"{starts[-1]} and over" if whole else f"over {ends[-1]}"
    return [f"up to {ends[0]}", *between, last, "missing"]


def _written(edge: float, kind: pl.DataType) -> str:
    if kind.is_temporal():
        return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=edge)).date().isoformat()
    return f"{edge:,.0f}" if edge == round(edge) and abs(edge) < 1e15 else f"{edge:.4g}"
