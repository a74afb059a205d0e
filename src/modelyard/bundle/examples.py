"""Rows as a caller writes them, and example rows that are nobody's: what a bundle shows of how to ask it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from modelyard.core.seeds import derive_seed
from modelyard.data.limits import ends
from modelyard.data.schema import Column, Schema, Value

COUNT = 5
"""Example rows a bundle ships."""
_QUANTILES = (0.25, 0.5, 0.75)
_LEVELS = 3
_WORDS = 8
_DRAWN = 50


def plain_rows(frame: pl.DataFrame, schema: Schema) -> list[dict[str, Value]]:
    """Return the features of typed rows as JSON values; the label is never among them.

    Parameters
    ----------
    frame : polars.DataFrame
        Typed as the schema says.
    schema : Schema
        Names the features and how their values are written.
    """
    writers = [(c.name, _writer(c)) for c in schema.features if c.name in frame.columns]
    names = [name for name, _ in writers]
    columns = [[None if v is None else write(v) for v in frame[name].to_list()] for name, write in writers]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def synthetic(frame: pl.DataFrame, schema: Schema, seed: int, count: int = COUNT) -> pl.DataFrame:
    """Return made-up rows that a caller could send: a bundle is passed on, and no person's row goes with it.

    Every feature is drawn on its own from values that are usual in its column: the quartiles of a number, the three
    most frequent levels of a category, the median day of a date, the most frequent words of a text. Of the rows drawn,
    those that happen to be a row of the table are left out, unless so few columns have so few values that there are no
    others.

    Parameters
    ----------
    frame : polars.DataFrame
        The rows whose columns are drawn from, typed as the schema says.
    schema : Schema
        Names the features.
    seed : int
        The brief's seed: one table and seed give the same rows.
    count : int
        Rows to return.
    """
    features = [c for c in schema.features if c.name in frame.columns]
    drawn = pl.DataFrame({c.name: _draw(frame[c.name], c, derive_seed(seed, "example", c.name)) for c in features})
    drawn = drawn.unique(maintain_order=True)
    real = drawn.join(frame, on=drawn.columns, how="semi", nulls_equal=True, maintain_order="left")
    made = drawn.join(frame, on=drawn.columns, how="anti", nulls_equal=True, maintain_order="left")
    some = pl.concat([made, real])
    return some.gather([i % some.height for i in range(count)])


def spread(frame: pl.DataFrame, count: int = COUNT) -> pl.DataFrame:
    """Return a few rows, evenly spread over the table: for a forecast, whose rows are series and times, not people."""
    step = max(1, frame.height // count)
    return frame.gather_every(step).head(count)


def _draw(values: pl.Series, column: Column, seed: int) -> pl.Series:
    usual = _usual(values.drop_nulls(), column)
    if not len(usual):
        return values.clear(_DRAWN)  # never seen: missing
    return usual.gather(np.random.default_rng(seed).integers(len(usual), size=_DRAWN))


def _usual(values: pl.Series, column: Column) -> pl.Series:
    """Return what is usual in a column, in the column's type."""
    if not len(values):
        return values
    if column.kind == "date":
        day = values.sort()[(len(values) - 1) // 2].replace(hour=0, minute=0, second=0, microsecond=0)
        least, _ = ends(column)  # the first moment of its first day may be too early
        return pl.Series(values.name, [day if least is None else max(day, least)], dtype=values.dtype)
    if column.kind == "number":
        quantiles = [values.quantile(q, "nearest") for q in _QUANTILES]
        return pl.Series(values.name, quantiles, dtype=pl.Float64).cast(values.dtype)
    if column.kind == "text":
        words = values.str.to_lowercase().str.extract_all(r"\w+").explode().drop_nulls()
        often = _frequent(words, _LEVELS * _WORDS).to_list()
        return pl.Series(values.name, [" ".join(often[i::_LEVELS]) for i in range(_LEVELS)], dtype=pl.String)
    return _frequent(values, _LEVELS)


def _frequent(values: pl.Series, most: int) -> pl.Series:
    counted = values.rename("level").value_counts(name="rows").sort("rows", "level", descending=[True, False])
    return counted["level"].head(most).rename(values.name)


def _writer(column: Column) -> Any:
    if column.kind == "date":
        return _date if column.physical == "date" else datetime.isoformat
    if column.physical == "integer" and column.kind in {"number", "boolean"}:
        return int
    return lambda value: value


def _date(value: datetime) -> str:
    return value.date().isoformat()
