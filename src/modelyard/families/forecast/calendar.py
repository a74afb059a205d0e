"""Calendar: how far apart the observations of a series stand, and the moments that come after the last one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

DAY = 86_400_000_000
"""Microseconds in a day."""
_FEW = 10  # observations below which "no weekends" may be chance


@dataclass(frozen=True, slots=True)
class Frequency:
    """The rhythm of a series.

    Attributes
    ----------
    kind : {"step", "months", "weekdays", "irregular"}
        A fixed distance; whole months (quarters, years); Monday to Friday; or none that holds.
    size : int
        Microseconds (a numeric time counts millionths of its unit), months, or days.
    day : int
        Day of the month of a monthly rhythm, 1 to 31; 0 for the month's last day.
    """

    kind: Literal["step", "months", "weekdays", "irregular"]
    size: int
    day: int = 0

    def steps(self, origin: int, times: Ints) -> Ints:
        """Return how many steps each moment is after the origin; by rank where the rhythm is irregular."""
        if self.kind == "months":
            return np.asarray((_month(times) - _month(np.array([origin]))) // self.size, dtype=np.int64)
        if self.kind == "weekdays":
            start = np.datetime64(origin, "us").astype("datetime64[D]")
            return np.busday_count(start, times.astype("datetime64[us]").astype("datetime64[D]")).astype(np.int64)
        if self.kind == "irregular":
            return np.searchsorted(np.unique(times), times).astype(np.int64)
        return np.rint((times - origin) / self.size).astype(np.int64)

    def future(self, last: int, horizon: int) -> Ints:
        """Return the `horizon` moments after the last one, int64 of shape [horizon]."""
        ahead = np.arange(1, horizon + 1, dtype=np.int64)
        if self.kind == "months":
            months = (_month(np.array([last])) + ahead * self.size).astype("datetime64[M]")
            length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
            day = length if self.day == 0 else np.minimum(self.day, length)
            start = months.astype("datetime64[us]").astype(np.int64)
            return np.asarray(start + (day - 1) * DAY + last % DAY, dtype=np.int64)
        if self.kind == "weekdays":
            day_of_last = np.datetime64(last, "us").astype("datetime64[D]")
            days = np.busday_offset(day_of_last, ahead, roll="backward")
            return days.astype("datetime64[us]").astype(np.int64) + last % DAY
        return last + ahead * self.size


def frequency(times: Ints, dates: bool) -> Frequency | None:
    """Infer the rhythm of a series from its moments.

    Parameters
    ----------
    times : int64 array of shape [n]
        Increasing and distinct; microseconds since 1970 (UTC), or millionths of a numeric time's unit.
    dates : bool
        Whether they are moments of a calendar.

    Returns
    -------
    Frequency or None
        None for fewer than two moments. A rhythm of which more than half the moments are missing is "irregular".
    """
    if len(times) < 2:
        return None
    gaps = np.diff(times)
    found = (_monthly(times) or _weekdays(times, gaps)) if dates else None
    if found is None:
        sizes, counts = np.unique(gaps, return_counts=True)
        found = Frequency("step", int(sizes[np.argmax(counts)]))
        # A clock that wanders (an hour missing in spring, a late reading) still has its step.
        off = np.abs(gaps / found.size - np.rint(gaps / found.size)) > 0.05
        if np.mean(off | (gaps < found.size)) > 0.1:
            return Frequency("irregular", int(np.median(gaps)))
    steps = found.steps(int(times[0]), times)
    if (np.diff(steps) < 1).any() or steps[-1] + 1 > 2 * len(times):
        return Frequency("irregular", int(np.median(gaps)))
    return found


def _month(times: Ints) -> Ints:
    return times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)


def _monthly(times: Ints) -> Frequency | None:
    """Return a rhythm of whole months: one day of the month (or its last), one time of day."""
    if len(np.unique(times % DAY)) > 1:
        return None
    days = times.astype("datetime64[us]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    gaps = np.diff(months.astype(np.int64))
    if (gaps < 1).any():
        return None
    number = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    size = int(np.gcd.reduce(gaps))
    if (number == length).all():
        return Frequency("months", size)
    day = int(number.max())
    return Frequency("months", size, day) if (number == np.minimum(day, length)).all() else None


def _weekdays(times: Ints, gaps: Ints) -> Frequency | None:
    """Return Monday to Friday: daily, one time of day, and never a weekend although there was room for one."""
    if len(times) < _FEW or len(np.unique(times % DAY)) > 1 or np.median(gaps) != DAY:
        return None
    days = times.astype("datetime64[us]").astype("datetime64[D]")
    return Frequency("weekdays", 1) if np.is_busday(days).all() else None
