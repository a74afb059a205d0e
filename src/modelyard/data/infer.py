"""Type inference: what the values of a column mean, from how they are written and how often they repeat."""

from __future__ import annotations

import re

import polars as pl

from modelyard.brief.brief import ColumnKind
from modelyard.data.column import Physical
from modelyard.data.dates import BASIC, PATTERN, UNCLEAR, has_clock, parse_dates
from modelyard.data.finding import Finding

_MOSTLY = 0.95
_SAMPLE = 1000
_ID_SHARE = 0.95
_ID_ROWS = 50
_REFERRED, _REPEATS = 20, 5
PERSONS = "patient person customer client user member subject household student employee account".split()
"""Whose ids are not learnt from: rows to come are of others."""
_TEXT_WORDS = 20.0
_FEW_WORDS = 2.5
_ID_LAST_WORD = frozenset("id ids uuid guid nr no number key serial sno".split())
_ID_WHOLE_NAME = frozenset("index idx row rowid rownames unnamed".split())
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def named_like_id(name: str) -> bool:
    """Say whether a column's name ends as names of identifiers do: user_id, customerNo, nr."""
    words = _words(name)
    return bool(words) and (words[-1] in _ID_LAST_WORD or "".join(words) in _ID_WHOLE_NAME)


def _words(name: str) -> list[str]:
    return [w for w in re.split(r"[^a-z]+", _CAMEL.sub("_", name).lower()) if w]


def natural(frame: pl.DataFrame, text: bool) -> tuple[pl.DataFrame, list[Finding]]:
    """Bring every column to one of six plain types, whatever program wrote it.

    Int64, Float64, Boolean, String, Date and Datetime("us") without a zone; NaN and "" become null.

    Parameters
    ----------
    frame : polars.DataFrame
        As loaded.
    text : bool
        Whether it comes from a text file: numbers and booleans are then read from the strings.

    Returns
    -------
    (polars.DataFrame, list of Finding)
        Columns that hold no single value a row (lists, structures, bytes) are left out with a finding.
    """
    columns: list[pl.Series] = []
    notes: list[Finding] = []
    for series in frame.iter_columns():
        plain = _from_text(series, notes) if text else _plain(series)
        if plain is None:
            notes.append(
                Finding(
                    "not_read",
                    "warn",
                    series.name,
                    f"'{series.name}' holds {series.dtype}, which is not read.",
                    "It is left out.",
                    "Turn it into numbers, text or dates to use it.",
                )
            )
        else:
            columns.append(plain)
    return pl.DataFrame(columns), notes


def _plain(series: pl.Series) -> pl.Series | None:
    kind = series.dtype
    if kind == pl.UInt64 or kind == pl.Int128:
        narrow = series.cast(pl.Int64, strict=False)
        return narrow if narrow.null_count() == series.null_count() else series.cast(pl.Float64)
    if kind.is_integer():
        return series.cast(pl.Int64)
    if kind.is_float() or kind.is_decimal():
        return series.cast(pl.Float64).fill_nan(None)
    if kind in (pl.Categorical, pl.Enum, pl.Null, pl.Time):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        return series.set(series == "", None) if bool((series == "").any()) else series
    if kind == pl.Duration:
        return series.dt.total_microseconds().cast(pl.Float64) / 1e6
    if isinstance(kind, pl.Datetime):
        zoned = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else series
        return zoned.cast(pl.Datetime("us"))
    return series if kind in (pl.Boolean, pl.Date) else None


def _from_text(series: pl.Series, notes: list[Finding]) -> pl.Series:
    present = series.len() - series.null_count()
    if not present:
        return series
    if _is_boolean(series):
        lowered = series.str.to_lowercase()
        return pl.Series(series.name, lowered == "true")
    number = series.cast(pl.Float64, strict=False)
    readable = present - (number.null_count() - series.null_count())
    if readable < present:
        if readable >= _MOSTLY * present:
            bad = (number.is_null() & series.is_not_null()).arg_max() or 0
            notes.append(
                Finding(
                    "mixed",
                    "warn",
                    series.name,
                    f"'{series.name}' is a number in {100 * readable / present:.1f} % of its rows, "
                    f"but row {bad + 1} says '{series[bad]}'.",
                    "It is read as categories.",
                    "Correct those rows, or add the column to data.drop.",
                )
            )
        elif bool(series.drop_nulls().head(_SAMPLE).str.contains(r"^[+-]?\d+,\d+$").all()):
            notes.append(
                Finding(
                    "comma",
                    "warn",
                    series.name,
                    f"'{series.name}' looks like numbers written with a decimal comma.",
                    "It is read as categories.",
                    "Write the file with decimal points.",
                )
            )
        return series
    integer = series.cast(pl.Int64, strict=False)
    if integer.null_count() == series.null_count():
        # 00501 is a code, and its zeros mean something.
        return series if bool(series.str.contains(r"^[+-]?0\d").any()) else integer
    if bool(series.str.contains(r"^\d{16,}$").all()):
        return series  # more digits than a number can hold: a code
    return number.fill_nan(None)


def _is_boolean(series: pl.Series) -> bool:
    head = series.drop_nulls().head(_SAMPLE).str.to_lowercase()
    if not bool(head.is_in(["true", "false"]).all()):
        return False
    return bool(series.drop_nulls().str.to_lowercase().is_in(["true", "false"]).all())


def physical_of(series: pl.Series) -> Physical:
    """Return how the values of a plain column (see `natural`) are written."""
    if series.dtype == pl.Int64:
        return "integer"
    if series.dtype == pl.Float64:
        return "float"
    if series.dtype == pl.Boolean:
        return "boolean"
    if series.dtype == pl.Date:
        return "date"
    if isinstance(series.dtype, pl.Datetime):
        return "datetime"
    return "string"


def is_date(series: pl.Series) -> bool:
    """Say whether every value of a string column is an ISO 8601 date."""
    head = series.drop_nulls().head(_SAMPLE)
    if not head.len() or not bool(head.str.contains(f"{PATTERN}|{BASIC}").all()):
        return False
    return parse_dates(series).null_count() == series.null_count()


def unclear_date(series: pl.Series) -> str | None:
    """Return the first value of a string column that is no ISO 8601 date where most look like dates, else None."""
    head = series.drop_nulls().head(_SAMPLE)
    looks = head.str.contains(f"{PATTERN}|{BASIC}|{UNCLEAR}").mean()
    if not isinstance(looks, float) or looks < _MOSTLY:
        return None
    unread = series.filter(parse_dates(series).is_null() & series.is_not_null())
    return str(unread[0]) if unread.len() else None


def date_physical(series: pl.Series) -> Physical:
    """Return "date" or "datetime", as the strings of dates bring a time of day or not."""
    return "datetime" if has_clock(series) else "date"


def kind_of(series: pl.Series) -> ColumnKind:
    """Infer what the values of a plain column mean.

    Integers stay numbers however few their levels are: the brief may say otherwise. An id is a column whose values
    hardly ever repeat and which is named or numbered like one; a measurement is never taken for one. Integers called
    ids that do repeat name shops, places, things: their order says nothing, and each of them has rows to learn from.
    Those of persons stay numbers: whose rows come next is nobody seen.
    """
    values = series.drop_nulls()
    n = values.len()
    if series.dtype == pl.Boolean:
        return "boolean"
    if series.dtype.is_temporal():
        return "date"
    if series.dtype.is_numeric():
        if n >= _ID_ROWS and _numbered(series, values):
            return "id"
        return "category" if series.dtype == pl.Int64 and _refers(series.name, values) else "number"
    if n and is_date(series):
        return "date"
    if not n:
        return "category"
    distinct = values.n_unique()
    words = float(values.str.count_matches(r"\S+").mean() or 0.0)  # type: ignore[arg-type]
    if words >= _TEXT_WORDS or (n >= _ID_ROWS and words >= _FEW_WORDS and distinct > 0.5 * n):
        return "text"
    return "id" if n >= _ID_ROWS and distinct > _ID_SHARE * n else "category"


def _refers(name: str, values: pl.Series) -> bool:
    if _words(name)[-1:] not in (["id"], ["ids"]) or any(word in name.lower() for word in PERSONS):
        return False
    distinct = values.n_unique()
    return distinct > _REFERRED and values.len() >= _REPEATS * distinct


def _numbered(series: pl.Series, values: pl.Series) -> bool:
    if series.dtype == pl.Float64 and not bool((values == values.round()).all()):
        return False
    if named_like_id(series.name):
        return values.n_unique() > _ID_SHARE * values.len()
    # Row numbers: 0, 1, 2 ... or 1, 2, 3 ... in the order of the file.
    first = values[0]
    return (
        series.dtype == pl.Int64
        and not series.null_count()
        and first in (0, 1)
        and bool((values.diff().drop_nulls() == 1).all())
    )
