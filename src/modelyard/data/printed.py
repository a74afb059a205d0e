"""Values as texts: levels of a category as the table it was learnt from printed them, each value by itself."""

from __future__ import annotations

import polars as pl

from modelyard.data.column import Column


def as_text(series: pl.Series, column: Column) -> pl.Series:
    """Return values as Python prints them, in the type the column had when the schema was made: 1, 1.0, True."""
    physical = column.physical
    if series.dtype == pl.String:
        if physical in ("integer", "float", "boolean"):
            series = _reprinted(series, column)
        return series
    if series.dtype == pl.Float64 and physical == "integer":
        # By value: 1.0 is the level 1 beside 2.5 too, as it is in a row of its own.
        whole = series.cast(pl.Int64, strict=False)
        same = whole.cast(pl.Float64) == series
        text = pl.when(same).then(whole.cast(pl.String)).otherwise(_printed(series))
        return pl.select(text.alias(series.name)).to_series()
    if series.dtype == pl.Int64 and physical == "float":
        series = series.cast(pl.Float64)
    return _printed(series)


def _printed(series: pl.Series) -> pl.Series:
    if series.dtype == pl.Int64:
        return series.cast(pl.String)
    values = series.unique().drop_nulls()
    texts = pl.Series([str(v) for v in values.to_list()], dtype=pl.String)
    return series.replace_strict(values, texts, default=None, return_dtype=pl.String)


def _reprinted(series: pl.Series, column: Column) -> pl.Series:
    """Print the numbers and booleans of a text file as the training data printed them; leave what is neither."""
    if column.physical == "boolean":
        lowered = series.str.to_lowercase()
        frame = pl.select(
            pl.when(lowered == "true")
            .then(pl.lit("True"))
            .when(lowered == "false")
            .then(pl.lit("False"))
            .otherwise(series)
            .alias(series.name)
        )
        return frame.to_series()
    number = series.cast(pl.Int64 if column.physical == "integer" else pl.Float64, strict=False)
    return pl.select(pl.coalesce(_printed(number), series).alias(series.name)).to_series()
