"""Measured facts of typed columns: missing rates, ranges, levels; taken from the rows they are allowed to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from modelyard.data.column import Column

MOST_LEVELS = 1000


def measure(frame: pl.DataFrame, columns: Sequence[Column]) -> tuple[Column, ...]:
    """Fill in what the rows of a typed frame show of each column.

    Parameters
    ----------
    frame : polars.DataFrame
        Typed, with every one of the columns.
    columns : sequence of Column
        Their kinds and roles; what was measured before is measured anew.
    """
    rows = max(frame.height, 1)
    names = [c.name for c in columns]
    nulls = frame.select(pl.col(names).null_count()).row(0)
    distinct = frame.select(pl.col(names).drop_nulls().n_unique()).row(0)
    ranged = [c.name for c in columns if c.kind in ("number", "date") and frame.schema[c.name] != pl.String]
    spots = frame.lazy().select(
        pl.col(n).dt.epoch("us").cast(pl.Float64) / 1e6 if frame.schema[n].is_temporal() else pl.col(n) for n in ranged
    )
    low = dict(zip(ranged, spots.select(pl.all().min()).collect().row(0), strict=True)) if ranged else {}
    high = dict(zip(ranged, spots.select(pl.all().max()).collect().row(0), strict=True)) if ranged else {}
    return tuple(
        replace(
            column,
            missing=nulls[i] / rows,
            distinct=int(distinct[i]),
            low=low.get(column.name),
            high=high.get(column.name),
            levels=_levels(frame[column.name]) if column.kind in ("category", "boolean") else (),
        )
        for i, column in enumerate(columns)
    )


def _levels(series: pl.Series) -> tuple[str, ...]:
    counts = series.drop_nulls().rename("level").value_counts(name="rows")
    ordered = counts.sort(["rows", "level"], descending=[True, False]).head(MOST_LEVELS)
    return tuple(str(v) for v in ordered["level"].to_list())
