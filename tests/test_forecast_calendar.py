"""The rhythm of a series, and the moments that come after it."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.families.forecast.calendar import DAY, frequency
from modelyard.families.forecast.forecast import nearest

START = datetime(2019, 1, 31)
EVERY = {"30m": "step", "1h": "step", "1d": "step", "1w": "step", "1mo": "months", "1q": "months", "1y": "months"}


def stamps(every: str, n: int, start: datetime = START) -> np.ndarray:
    """Return n moments, that far apart, made by polars."""
    size, unit = (30, "m") if every == "30m" else (1, every[1:])
    made = pl.select(pl.lit(start).repeat_by(n).explode().dt.offset_by(pl.format("{}" + unit, pl.int_range(n) * size)))
    return made.to_series().dt.epoch("us").to_numpy().astype(np.int64)


def moments(*days: datetime) -> np.ndarray:
    return np.array([int((day - datetime(1970, 1, 1)) / timedelta(microseconds=1)) for day in days], dtype=np.int64)


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("start", [datetime(2019, 1, 1), datetime(2020, 2, 28, 6)])
def test_the_future_goes_on_as_the_past_did(every, start):
    times = stamps(every, 60, start)
    found = frequency(times[:40], dates=True)
    assert found.kind == EVERY[every]
    assert found.future(int(times[39]), 20).tolist() == times[40:].tolist()


@given(
    every=st.sampled_from(sorted(EVERY)),
    start=st.datetimes(datetime(1950, 1, 1), datetime(2060, 1, 1)).map(
        lambda d: d.replace(microsecond=0, day=min(d.day, 28))
    ),
    missing=st.sets(st.integers(1, 37), max_size=12),
)
def test_missing_rows_do_not_change_the_rhythm(every, start, missing):
    times = stamps(every, 50, start)
    kept = np.delete(times[:40], sorted(missing))
    found = frequency(kept, dates=True)
    assert found.future(int(times[39]), 10).tolist() == times[40:].tolist()
    assert found.steps(int(times[0]), kept).tolist() == sorted(set(range(40)) - missing)


def test_ends_of_months_stay_ends_of_months():
    times = moments(*(datetime(2021, m, d) for m, d in [(1, 31), (2, 28), (3, 31), (4, 30)]))
    found = frequency(times, dates=True)
    assert (found.kind, found.size, found.day) == ("months", 1, 0)
    ends = moments(datetime(2021, 5, 31), datetime(2021, 6, 30), datetime(2021, 7, 31))
    assert found.future(int(times[-1]), 3).tolist() == ends.tolist()


def test_ends_of_quarters_and_years():
    quarters = moments(*(datetime(y, m, d) for y in (2020, 2021) for m, d in [(3, 31), (6, 30), (9, 30), (12, 31)]))
    assert (
        frequency(quarters, dates=True).future(int(quarters[-1]), 1).tolist() == moments(datetime(2022, 3, 31)).tolist()
    )
    years = moments(*(datetime(y, 12, 31) for y in range(2010, 2020)))
    assert frequency(years, dates=True).future(int(years[-1]), 1).tolist() == moments(datetime(2020, 12, 31)).tolist()


def test_the_thirtieth_of_each_month_falls_on_the_last_of_february():
    times = moments(datetime(2021, 11, 30), datetime(2021, 12, 30), datetime(2022, 1, 30))
    after = moments(datetime(2022, 2, 28), datetime(2022, 3, 30))
    assert frequency(times, dates=True).future(int(times[-1]), 2).tolist() == after.tolist()


def test_leap_days_do_not_move_a_monthly_series():
    times = stamps("1mo", 12, datetime(2019, 3, 1))
    assert frequency(times, dates=True).future(int(times[-1]), 1).tolist() == moments(datetime(2020, 3, 1)).tolist()


def test_working_days_skip_weekends():
    days = pl.date_range(datetime(2024, 1, 1), datetime(2024, 2, 2), "1d", eager=True)
    times = days.filter(days.dt.weekday() <= 5).cast(pl.Datetime("us")).dt.epoch("us").to_numpy()
    found = frequency(times, dates=True)
    assert found.kind == "weekdays"
    assert found.future(int(times[-1]), 2).tolist() == moments(datetime(2024, 2, 5), datetime(2024, 2, 6)).tolist()


def test_years_written_as_numbers():
    years = (np.arange(1980, 1988) * 1_000_000).astype(np.int64)
    found = frequency(years, dates=False)
    assert (found.kind, found.future(int(years[-1]), 2).tolist()) == ("step", [1988_000_000, 1989_000_000])


def test_moments_without_a_rhythm_are_called_irregular():
    times = np.cumsum(np.random.default_rng(0).integers(1, 50, 80)).astype(np.int64) * DAY
    assert frequency(times, dates=True).kind == "irregular"


def test_a_series_that_is_mostly_missing_is_irregular():
    times = np.array([0, 1, 2, 40, 41, 90], dtype=np.int64) * DAY * 7
    assert frequency(times, dates=True).kind == "irregular"


@pytest.mark.parametrize("times", [[], [5]])
def test_one_moment_has_no_rhythm(times):
    assert frequency(np.array(times, dtype=np.int64), dates=True) is None


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(-500, 30_000))
def test_a_row_is_answered_by_the_nearest_step(gaps, asked):
    ahead = 100 + np.cumsum(np.array(gaps, dtype=np.int64))
    step = int(nearest(100, ahead, np.array([asked]))[0])
    if asked <= 100 or asked > ahead[-1] + gaps[-1] / 2:
        assert step == 0
    else:
        assert abs(ahead[step - 1] - asked) <= np.abs(ahead - asked).min() + 1
