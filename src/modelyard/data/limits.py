"""Limits: what the brief allows of a column's values, of the rows that are learnt from as of those that are sent.

Where it says nothing, every value of the column's type is answered, seen or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import polars as pl

from modelyard.brief.brief import Brief
from modelyard.brief.words import shortest
from modelyard.core.errors import BriefError, DataError, listed
from modelyard.data.column import Column
from modelyard.data.dates import ALLOWED, parse_date, parse_dates
from modelyard.data.printed import as_text

WIDEN = "Correct these rows or leave them out, or widen data.minimum, data.maximum or data.levels."
_EPOCH = datetime(1970, 1, 1)
_TO_ITS_END = timedelta(days=1, microseconds=-1)
"""From the first moment of a day to its last: rows of the day that a maximum names are allowed."""
_MOST_SHOWN = 10
_MOST_COLUMNS = 5


def with_limits(column: Column, brief: Brief) -> Column:
    """Return a column with what the brief allows of it.

    Parameters
    ----------
    column : Column
        Its kind and how it is written are settled.
    brief : Brief
        Its ``data.minimum``, ``data.maximum`` and ``data.levels``.

    Raises
    ------
    BriefError
        If the column's kind has no such limit, a bound is not of its kind, or the least is over the largest.
    """
    data = brief.data
    low, high = (_bound(column, key, getattr(data, key), brief.source) for key in ("minimum", "maximum"))
    if low is not None and high is not None and low > high:
        raise BriefError(
            f"Of '{column.name}' no value is allowed: its minimum is over its maximum.",
            where=f"{brief.source}: data.minimum and data.maximum",
            do="Swap them.",
        )
    return replace(column, minimum=low, maximum=high, allowed=_levels(column, brief))


def _levels(column: Column, brief: Brief) -> tuple[str, ...]:
    if column.name not in brief.data.levels:
        return ()
    if column.kind != "category":
        raise _no_limit(column, "levels", "Categories have levels.", "category", brief.source)
    # As the table prints them: of a column of numbers with a point, the level 1 is 1.0.
    return tuple(as_text(pl.Series(list(brief.data.levels[column.name])), column).unique(maintain_order=True))


def _bound(column: Column, key: str, bounds: Mapping[str, float | str], source: str) -> float | None:
    if column.name not in bounds:
        return None
    bound, where = bounds[column.name], f"{source}: data.{key}"
    if column.kind == "number":
        if not isinstance(bound, str):
            return float(bound)
        what, allowed = f"'{column.name}' holds numbers, and its {key} is '{bound}'.", "A number."
        raise BriefError(what, where=where, allowed=allowed, do="Write one.")
    if column.kind != "date":
        raise _no_limit(column, key, "Numbers and dates have one.", "number", source)
    moment = parse_date(bound) if isinstance(bound, str) else None
    if moment is None:
        shown = bound if isinstance(bound, str) else shortest(bound)
        what = f"'{column.name}' holds dates, and its {key} is '{shown}'."
        raise BriefError(what, where=where, allowed=ALLOWED, do="Write one.")
    if key == "maximum" and ":" not in str(bound):
        moment += _TO_ITS_END
    return (moment - _EPOCH).total_seconds()


def _no_limit(column: Column, key: str, allowed: str, kind: str, source: str) -> BriefError:
    return BriefError(
        f"'{column.name}' is read as {'an' if column.kind == 'id' else 'a'} {column.kind}, which has no {key}.",
        where=f"{source}: data.{key}",
        allowed=allowed,
        do=f"If it is a {kind}, write data.types: {{{column.name}: {kind}}}; otherwise take it out of data.{key}.",
    )


def is_limited(column: Column) -> bool:
    """Say whether the brief allows only some of a column's values."""
    return bool(column.allowed) or column.minimum is not None or column.maximum is not None


def ends(column: Column) -> tuple[Any, Any]:
    """Return the least and the largest value allowed as typed values are, numbers or datetimes; None for no end."""
    if column.kind != "date":
        return column.minimum, column.maximum
    low, high = (None if e is None else _EPOCH + timedelta(seconds=e) for e in (column.minimum, column.maximum))
    return low, high


def allowed_values(column: Column) -> str:
    """Return in words what the brief allows of a column: "0 to 120", "0 or more", "F, M"; empty for everything."""
    if column.allowed:
        return listed(column.allowed, _MOST_SHOWN)
    low, high = (None if end is None else _shown(end) for end in ends(column))
    if low is None or high is None:
        more, less = ("or later", "or earlier") if column.kind == "date" else ("or more", "or less")
        return f"{low} {more}" if low is not None else f"{high} {less}" if high is not None else ""
    return f"{low} to {high}"


def refusal(column: Column) -> Callable[[Any], str | None]:
    """Return what says why a typed value of a column is not allowed, such as "is more than 120"; None where it is."""
    if column.allowed:
        known = frozenset(column.allowed)
        return lambda level: None if level in known else "is not an allowed level"
    low, high = ends(column)
    under, over = ("before", "after") if column.kind == "date" else ("less than", "more than")

    def said(value: Any) -> str | None:
        if low is not None and value < low:
            return f"is {under} {_shown(low)}"
        return f"is {over} {_shown(high)}" if high is not None and value > high else None

    return said


def outside(series: pl.Series, column: Column) -> pl.Series:
    """Return where a typed column holds what is not allowed; a missing value is allowed, as far as limits go."""
    if column.allowed:
        wrong = ~series.is_in(list(column.allowed))
    else:
        low, high = ends(column)
        wrong = pl.Series([False]).new_from_index(0, series.len())
        wrong = wrong if low is None else wrong | (series < low)
        wrong = wrong if high is None else wrong | (series > high)
    return wrong.fill_null(False)


def disallowed(series: pl.Series, column: Column) -> pl.Series:
    """Return `outside` for a series whose values may be of another type still: those are no limit's business."""
    if column.kind == "number":
        return outside(series.cast(pl.Float64, strict=False).fill_nan(None), column)
    if column.kind != "date":
        return outside(as_text(series, column), column)
    if series.dtype == pl.String:
        return outside(parse_dates(series), column)
    nothing = pl.Series(series.name, [None], dtype=pl.Datetime("us")).new_from_index(0, series.len())
    return outside(series.cast(pl.Datetime("us")) if series.dtype.is_temporal() else nothing, column)


def check_limits(frame: pl.DataFrame, columns: Iterable[Column], do: str, first_row: int = 1) -> None:
    """Refuse a typed table that holds what is not allowed.

    Parameters
    ----------
    frame : polars.DataFrame
        Typed, with every one of the columns.
    columns : iterable of Column
        What is allowed of them.
    do : str
        What the error says to do.
    first_row : int
        Number of the table's first row, for the error.

    Raises
    ------
    DataError
        Naming each column, in how many rows it is so, and the first of them.
    """
    limited = [column for column in columns if is_limited(column)]
    found = [(c, wrong) for c in limited if bool((wrong := outside(frame[c.name], c)).any())]
    if not found:
        return
    counts = [f"'{c.name}' in {int(wrong.sum()):,} of {frame.height:,} rows" for c, wrong in found]
    firsts = [(c.name, int(wrong.arg_max() or 0)) for c, wrong in found[:_MOST_COLUMNS]]
    allowed = [f"'{c.name}': {allowed_values(c)}" for c, _ in found[:_MOST_COLUMNS]]
    raise DataError(
        f"The brief does not allow what {'a column holds' if len(found) == 1 else f'{len(found)} columns hold'}: "
        f"{listed(counts, _MOST_COLUMNS)}.",
        where="; ".join(f"column '{name}', row {first_row + at}: {_shown(frame[name][at])}" for name, at in firsts),
        allowed="; ".join(allowed) + ".",
        do=do,
    )


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return (value.date() if value.time() in (time.min, time.max) else value).isoformat()
    return shortest(value) if isinstance(value, float) else str(value)
