"""Dates as text: ISO 8601 and nothing else, so that 03/04 is never guessed; read alike in a column and in a row."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import polars as pl

ALLOWED = "Dates are written as ISO 8601, such as 2024-03-09, 2024-03-09T14:30:00 or 2024-03-09T14:30:00+02:00."
PATTERN = (
    r"^\s*(\d{4})[-/](\d{1,2})[-/](\d{1,2})"
    r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6})\d*)?)?)?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?\s*$"
)
_ISO = re.compile(PATTERN)
BASIC = r"^\s*(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(Z?)\s*$"
"""The same without signs between digits: 20240309T143000."""
_BASIC, _GREENWICH = re.compile(BASIC), ("Z", "UTC", "GMT")
_DAY, _MONTHS = r"(0?[1-9]|[12]\d|3[01])", "(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
UNCLEAR = (
    rf"^\s*({_DAY}[-/]{_DAY}[-/](\d{{4}}|\d\d)|{_DAY}\.{_DAY}\.\d{{4}}"
    rf"|{_DAY}[- ]{_MONTHS}[- ,]+(\d{{4}}|\d\d)|{_MONTHS} {_DAY},? \d{{4}})([T ,]+\d{{1,2}}:.*)?\s*$"
)
"""What a person takes for a date and `parse_date` does not: 03/04/2024, 3.4.2024, 3-Apr-2024, April 3, 2024."""


def parse_date(text: str) -> datetime | None:
    """Return a naive UTC datetime, or None when the text is no ISO 8601 date."""
    match = _ISO.match(_BASIC.sub(r"\1-\2-\3T\4:\5:\6\7", text))
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
            int((fraction or "0").ljust(6, "0")),
        )  # fmt: skip
        return moment - timedelta(minutes=_minutes(zone))
    except (ValueError, OverflowError):
        return None


def naive(moment: datetime) -> datetime:
    """Return the moment in UTC, without its zone."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _minutes(zone: str | None) -> int:
    if not zone or zone in _GREENWICH:
        return 0
    digits = zone[1:].replace(":", "")
    return (-1 if zone[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:]))


def parse_dates(texts: pl.Series) -> pl.Series:
    """Return Datetime("us") without a zone, null where the text is no ISO 8601 date."""
    part = pl.col("t").struct.field
    clock = pl.concat_str(
        part("1"), pl.lit("-"), part("2").str.zfill(2), pl.lit("-"), part("3").str.zfill(2), pl.lit(" "),
        part("4").fill_null("0").str.zfill(2), pl.lit(":"), part("5").fill_null("00"), pl.lit(":"),
        part("6").fill_null("00"), pl.lit("."), part("7").fill_null("0").str.pad_end(6, "0"),
    )  # fmt: skip
    zone = part("8").str.replace_all(":", "")
    offset = (
        pl.when(zone.is_null() | zone.is_in(_GREENWICH))
        .then(0)
        .otherwise(
            zone.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + zone.str.slice(3, 2).cast(pl.Int64, strict=False)
        )
    )
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    written = texts.str.replace(BASIC, "${1}-${2}-${3}T${4}:${5}:${6}${7}")
    frame = pl.DataFrame({"t": written.str.extract_groups(PATTERN)})
    moment = clock.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    return frame.select((moment - pl.duration(minutes=offset * sign)).alias(texts.name)).to_series()


def has_clock(texts: pl.Series) -> bool:
    """Say whether any of the dates brings a time of day."""
    return bool(texts.str.contains(r":|\dT\d").any())
