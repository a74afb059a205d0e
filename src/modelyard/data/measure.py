"""Measured facts of typed columns: missing rates, ranges, levels; taken from the rows they are allowed to see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from modelyard.data.column import Column

MOST_LEVELS = 1000
_MANY, _FEW = 100, 10
"""Levels, at least, and rows of each, at most, of a category whose words may tell more than its levels do."""
_WORDS, _SHARED = 2.5, 2
"""Words such a level holds on average, and levels such a word stands in, at least."""


def measure(frame: pl.DataFrame, columns: Sequence[Column]) -> tuple[Column, ...]:
    """Fill in what the rows of a typed frame show of each column.

    Parameters
    ----------
    frame : polars.DataFrame
        Typed, with every one of the columns.
    columns : sequence of Column
        Their kinds and roles; what was measured before is measured anew.
    """
    # Series by series: a table may have thousands of columns, and asking the frame for its schema costs them all.
    held = {series.name: series for series in frame.iter_columns()}
    return tuple(_measured(held[column.name], column) for column in columns)


def _measured(series: pl.Series, column: Column) -> Column:
    values = series.drop_nulls()
    low = high = None
    if column.kind in ("number", "date") and series.dtype != pl.String and values.len():
        spots = values.dt.epoch("us").cast(pl.Float64) / 1e6 if series.dtype.is_temporal() else values
        low, high = float(spots.min()), float(spots.max())  # type: ignore[arg-type]
    levels = _levels(values) if column.kind in ("category", "boolean") else ()
    distinct = values.n_unique()
    many = column.kind == "category" and column.physical == "string" and distinct >= _MANY
    return replace(
        column,
        missing=series.null_count() / max(series.len(), 1),
        distinct=distinct,
        low=low,
        high=high,
        levels=levels,
        phrases=many and values.len() <= _FEW * distinct and _are_phrases(levels),
    )


def _levels(series: pl.Series) -> tuple[str, ...]:
    counts = series.rename("level").value_counts(name="rows")
    ordered = counts.sort(["rows", "level"], descending=[True, False]).head(MOST_LEVELS)
    return tuple(str(v) for v in ordered["level"].to_list())


def _are_phrases(levels: Sequence[str]) -> bool:
    words = [word for level in levels for word in re.findall(r"[^\W_]+", level.lower())]
    words = [word for word in words if not word.isdigit()]  # "2:14:1" is a name, and says nothing
    return len(words) >= max(_WORDS * len(levels), _SHARED * len(set(words)))
