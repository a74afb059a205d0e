"""Typed columns: from how values are written to what they mean, the same for training and for prediction."""

from __future__ import annotations

import polars as pl

from modelyard.core.errors import DataError, listed
from modelyard.data.column import Column
from modelyard.data.dates import ALLOWED, parse_dates
from modelyard.data.infer import natural
from modelyard.data.printed import as_text
from modelyard.data.schema import Schema
from modelyard.data.source import Table, from_memory, not_read

CORRECT = "Correct the value."
_NUMBERS = "Numbers, with a point for decimals."


def typed(table: Table, schema: Schema, *, text: bool = False, first_row: int = 1) -> pl.DataFrame:
    """Bring a table to the types of a schema.

    Parameters
    ----------
    table : pandas, polars or pyarrow table
        Must bring every feature; the label and other columns of the schema are kept when it brings them, columns
        the schema does not know are left out.
    schema : Schema
        Types and roles.
    text : bool
        Whether every value is still a string, as read from a text file.
    first_row : int
        Number of its first row, for errors.

    Returns
    -------
    polars.DataFrame
        Columns in the schema's order.

    Raises
    ------
    DataError
        If a feature is absent, holds lists or the like, or a value is not of its type.
    """
    frame = from_memory(table)
    present = set(frame.columns)
    absent = [f"'{c.name}'" for c in schema.features if c.name not in present]
    if absent:
        raise DataError(
            f"{'A column is' if len(absent) == 1 else f'{len(absent)} columns are'} absent: {listed(absent, 5)}.",
            allowed=f"The model needs {len(schema.features)} columns.",
            do="Add what is absent.",
        )
    wanted = [c for c in schema.columns if c.name in present]
    plain = frame if text else natural(frame.select([c.name for c in wanted]), text=False)[0]
    held = {series.name: series for series in plain.iter_columns()}
    for column in wanted:
        if column.role != "ignored" and column.name not in held:
            raise not_read(column.name, frame[column.name].dtype)
    columns = [
        _label(held[c.name], c, schema) if c.role == "label" else convert(held[c.name], c, first_row)
        for c in wanted
        if c.name in held
    ]
    return pl.DataFrame(columns)


def _label(series: pl.Series, column: Column, schema: Schema) -> pl.Series:
    if not schema.classes:
        return convert(series, column)
    texts = as_text(series, column)
    strange = texts.filter(~texts.is_in(schema.classes)).drop_nulls()
    if strange.len():
        raise DataError(
            f"The label '{column.name}' holds '{strange[0]}', a class the model does not know.",
            where=f"column '{column.name}'",
            allowed=f"Its classes: {', '.join(schema.classes)}.",
            do="Leave those rows out, or train again with them.",
        )
    return texts


def convert(series: pl.Series, column: Column, first_row: int = 1) -> pl.Series:
    """Return a plain column (see `natural`), or one of strings, as the type its kind asks for.

    Float64 for numbers, Boolean, Datetime("us"), String for the rest; missing values are null.

    Raises
    ------
    DataError
        Naming the first value that is not of the kind, and its row.
    """
    if column.kind == "number":
        return _numbers(series, first_row)
    if column.kind == "boolean":
        return _booleans(series, first_row)
    if column.kind == "date":
        return _dates(series, first_row)
    return as_text(series, column)


def _bad(series: pl.Series, wrong: pl.Series, first_row: int, what: str, allowed: str) -> DataError:
    at = int(wrong.arg_max() or 0)
    return DataError(
        f"'{series.name}' holds {series[at]!r}, which is {what}.",
        where=f"column '{series.name}', row {first_row + at}",
        allowed=allowed,
        do=CORRECT,
    )


def _numbers(series: pl.Series, first_row: int) -> pl.Series:
    if series.dtype.is_temporal():
        raise _bad(series, series.is_not_null(), first_row, "a date, not a number", _NUMBERS)
    number = series.cast(pl.Float64, strict=False)
    if series.dtype == pl.String:
        wrong = number.is_null() & series.is_not_null()
        if bool(wrong.any()):
            raise _bad(series, wrong, first_row, "not a number", _NUMBERS)
    number = number.fill_nan(None)
    infinite = number.is_infinite().fill_null(False)
    if bool(infinite.any()):
        raise DataError(
            f"'{series.name}' holds an infinite value.",
            where=f"column '{series.name}', row {first_row + int(infinite.arg_max() or 0)}",
            allowed="Finite numbers; a missing value is left empty.",
            do="Leave the cell empty if the value is not known, or cap it at a number.",
        )
    return number


def _booleans(series: pl.Series, first_row: int) -> pl.Series:
    if series.dtype == pl.Boolean:
        return series
    if series.dtype.is_numeric():
        truth = pl.Series(series.name, series == 1)
        # Not is_in([0, 1]): polars does not look for 1.0 among whole numbers.
        wrong = pl.Series(series.name, ((series != 0) & (series != 1)).fill_null(False))
    else:
        lowered = series.cast(pl.String).str.to_lowercase()
        truth = pl.Series(series.name, lowered.is_in(["true", "1", "yes"]))
        wrong = (~lowered.is_in(["true", "false", "1", "0", "yes", "no"])).fill_null(False)
    if bool(wrong.any()):
        raise _bad(series, wrong, first_row, "neither true nor false", "true and false, or 1 and 0.")
    return truth


def _dates(series: pl.Series, first_row: int) -> pl.Series:
    if series.dtype.is_temporal():
        return series.cast(pl.Datetime("us"))
    if series.dtype != pl.String:
        raise _bad(series, series.is_not_null(), first_row, "not a date", ALLOWED)
    moments = parse_dates(series)
    wrong = moments.is_null() & series.is_not_null()
    if bool(wrong.any()):
        raise _bad(series, wrong, first_row, "not a date", ALLOWED)
    return moments
