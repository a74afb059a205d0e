"""Checking a table column by column: what `Schema.check_row` refuses is refused, with the same words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import polars as pl

from modelyard.core.errors import Problem, RowError
from modelyard.data.column import Column
from modelyard.data.dates import parse_dates
from modelyard.data.infer import natural
from modelyard.data.limits import disallowed, is_limited
from modelyard.data.rows import convert
from modelyard.data.schema import Schema

_TRUTHS = ("true", "false", "1", "0")


def check_frame(
    schema: Schema,
    table: pl.DataFrame,
    *,
    text: bool = False,
    unknown: Literal["refuse", "ignore"] = "refuse",
    most: int = 1_000,
) -> pl.DataFrame:
    """Turn a table from outside into typed columns, or say what is wrong with it.

    Parameters
    ----------
    schema : Schema
        What rows must fit.
    table : polars.DataFrame
        A column for each of `features`, in any order; one that may be missing may be left out.
    text : bool
        Whether every value is still a string, as read from a text file.
    unknown : {"refuse", "ignore"}
        What to do with a column the schema does not know.
    most : int
        Problems listed; more are not looked for.

    Returns
    -------
    polars.DataFrame of shape [n_rows, features]
        Typed as the schema says, in its order.

    Raises
    ------
    RowError
        With a problem for each bad value, under the pointer ``/row/column``, rows counted from 0; of what is wrong
        with a whole column, under ``/column``.
    """
    check = schema.row_check()
    known = {c.name: c for c in schema.columns}
    strange = [name for name in table.columns if name not in known] if unknown == "refuse" else []
    problems = [check.unknown(name, "") for name in strange]
    bad: list[tuple[int, str]] = []
    typed: list[pl.Series] = []
    for column in schema.features:
        if column.name not in table.columns:
            if column.missing == 0.0:
                problems.append(check.missing(column.name, False, ""))
            typed.append(convert(pl.Series(column.name, [None] * table.height, dtype=pl.String), column))
            continue
        plain, _ = natural(table.select(column.name), text=False)
        if not plain.width:
            what = f"'{column.name}' holds {table[column.name].dtype}, which is not read"
            problems.append(Problem(f"/{column.name}", what, "Numbers, text, true and false, dates."))
            continue
        series = plain.to_series()
        misfits = _misfits(series, column, text)
        if is_limited(column):
            misfits |= disallowed(series, column)
        wrong = misfits | series.is_null() if column.missing == 0.0 else misfits
        if bool(wrong.any()):
            bad += [(int(row), column.name) for row in wrong.arg_true().head(most).to_list()]
            continue
        typed.append(convert(series.str.to_lowercase() if text and column.kind == "boolean" else series, column))
    bad.sort(key=lambda place: place[0])
    for row, name in bad[: max(0, most - len(problems))]:
        problems.append(check.problem(name, _sent(table[name][row], known[name], text), f"/{row}"))
    if problems:
        raise RowError(problems[:most])
    return pl.DataFrame(typed)


def _misfits(series: pl.Series, column: Column, text: bool) -> pl.Series:
    """Return where a plain series (see `natural`) holds what its column does not take; a missing value is no misfit."""
    kind, present = series.dtype, series.is_not_null()
    none = pl.Series(series.name, [False]).new_from_index(0, series.len())
    if column.kind == "number":
        if kind == pl.String and text:
            number = series.cast(pl.Float64, strict=False)
            return (number.is_null() & present) | number.is_infinite().fill_null(False)
        if not kind.is_numeric():
            return present
        return series.cast(pl.Float64).is_infinite().fill_null(False)
    if column.kind == "boolean":
        if kind == pl.Boolean:
            return none
        if kind == pl.String and text:
            return ~series.str.to_lowercase().is_in(_TRUTHS).fill_null(True)
        return ((series != 0) & (series != 1)).fill_null(False) if kind.is_numeric() else present
    if column.kind == "date":
        if kind == pl.String:
            return parse_dates(series).is_null() & present
        return none if kind.is_temporal() else present
    return series.is_infinite().fill_null(False) if kind.is_float() else none


def _sent(value: Any, column: Column, text: bool) -> Any:
    """Return a value as a row would bring it: in a text file a number is a text that reads as one."""
    if text and column.kind == "number":
        with suppress(TypeError, ValueError):
            return float(value)
    return value
