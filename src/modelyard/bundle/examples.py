"""Rows as a caller writes them: the typed values of a frame turned back into the JSON a user can send."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from modelyard.data.schema import Column, Schema, Value

COUNT = 5
"""Example rows a bundle ships."""


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


def spread(frame: pl.DataFrame, count: int = COUNT) -> pl.DataFrame:
    """Return a few rows, evenly spread over the table: the same ones for the same table."""
    step = max(1, frame.height // count)
    return frame.gather_every(step).head(count)


def _writer(column: Column) -> Any:
    if column.kind == "date":
        return _date if column.physical == "date" else datetime.isoformat
    if column.physical == "integer" and column.kind in {"number", "boolean"}:
        return int
    return lambda value: value


def _date(value: datetime) -> str:
    return value.date().isoformat()
