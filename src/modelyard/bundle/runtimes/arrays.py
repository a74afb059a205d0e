"""Answers looked up by series and time: what a forecast needs, which has one answer for each."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.bundle.runtimes.runtime import Answers, Row
from modelyard.core.errors import BundleError, Problem, RowError
from modelyard.data.schema import Schema

FILE = "forecast.npz"
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_MILLION = 1_000_000
_SHOWN = 20
"""Problems listed in one error: a file of the wrong year would give millions."""


class ArraysRuntime:
    """A forecast: for every series the times ahead, the expected value and its intervals.

    Parameters
    ----------
    content : bytes
        ``forecast.npz``: ``series`` (unicode ``[S]``), ``times`` (int64 ``[S, H]``, microseconds since 1970; millionths
        of the unit where the time column is a number), ``mean`` (float64 ``[S, H]``), and for each coverage in per
        cent ``low_<coverage>`` and ``high_<coverage>``.
    schema : Schema
        Names the column of the series (absent when there is one series only) and that of the time.

    Raises
    ------
    BundleError
        If the arrays cannot be read, are missing, or do not fit each other.
    """

    def __init__(self, content: bytes, schema: Schema) -> None:
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise _unfit(f"It cannot be read: {error}") from error
        self._series_column = next((c.name for c in schema.columns if c.role == "group"), None)
        self._time_column = next((c.name for c in schema.columns if c.role == "time"), "")
        self._dated = any(c.role == "time" and c.kind == "date" for c in schema.columns)
        self._check(arrays)
        self._arrays = arrays
        self._rank = {str(name): i for i, name in enumerate(arrays["series"])}
        times = arrays["times"]
        self._place = {(i, int(t)): j for i, row in enumerate(times) for j, t in enumerate(row)}

    @property
    def coverages(self) -> tuple[int, ...]:
        """Coverages of the intervals it holds, in per cent, increasing."""
        return tuple(sorted(int(name[4:]) for name in self._arrays if name.startswith("low_")))

    @property
    def series(self) -> tuple[str, ...]:
        """The series it forecasts, in their order."""
        return tuple(self._rank)

    @property
    def horizon(self) -> int:
        """Steps ahead it forecasts of each series."""
        return int(self._arrays["times"].shape[1])

    def ahead(self, series: str, steps: int) -> list[dict[str, Any]]:
        """Return the rows that ask for the first steps of a series, as JSON values."""
        times = self._arrays["times"][self._rank[series], :steps].tolist()
        stamps = [self._shown(t) if self._dated else t / _MILLION for t in times]
        name = {} if self._series_column is None else {self._series_column: series}
        return [{**name, self._time_column: stamp} for stamp in stamps]

    def rows(self, rows: Sequence[Row]) -> Answers:
        """Answer checked rows.

        Raises
        ------
        RowError
            For a series or a time that was not forecast.
        """
        return self._pick(self._arrays["mean"], self._places_of_rows(rows))[:, None]

    def frame(self, frame: pl.DataFrame) -> Answers:
        """Answer a typed frame.

        Raises
        ------
        RowError
            For a series or a time that was not forecast.
        """
        return self._pick(self._arrays["mean"], self._places_of_frame(frame))[:, None]

    def interval(self, frame: pl.DataFrame, coverage: int) -> Answers:
        """Return the bounds ``[n, 2]`` that hold `coverage` per cent of what comes true, for a typed frame."""
        return self._bounds(self._places_of_frame(frame), coverage)

    def interval_of_rows(self, rows: Sequence[Row], coverage: int) -> Answers:
        """Return the bounds ``[n, 2]`` that hold `coverage` per cent of what comes true, for checked rows."""
        return self._bounds(self._places_of_rows(rows), coverage)

    def known(self) -> pl.DataFrame:
        """Return every series and time it can answer, as a typed frame."""
        times = self._arrays["times"]
        stamps = pl.Series(self._time_column, times.ravel())
        columns = [stamps.cast(pl.Datetime("us")) if self._dated else stamps.cast(pl.Float64) / _MILLION]
        if self._series_column is not None:
            names = np.repeat(self._arrays["series"].astype(object), times.shape[1])
            columns.insert(0, pl.Series(self._series_column, names, dtype=pl.String))
        return pl.DataFrame(columns)

    def _bounds(self, places: NDArray[np.int64], coverage: int) -> NDArray[np.float64]:
        return np.stack([self._pick(self._arrays[f"{side}_{coverage}"], places) for side in ("low", "high")], axis=1)

    def _pick(self, values: NDArray[Any], places: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(values[places[:, 0], places[:, 1]], dtype=np.float64)

    def _places_of_rows(self, rows: Sequence[Row]) -> NDArray[np.int64]:
        series, time = self._series_column, self._time_column
        return self._places([str(row[series]) for row in rows] if series else None, [row[time] for row in rows])

    def _places_of_frame(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        names = frame[self._series_column].cast(pl.String).to_list() if self._series_column else None
        return self._places(names, frame[self._time_column].to_list())

    def _places(self, names: Sequence[str] | None, times: Sequence[Any]) -> NDArray[np.int64]:
        problems: list[Problem] = []
        places = np.zeros((len(times), 2), dtype=np.int64)
        for row, time in enumerate(times):
            if len(problems) == _SHOWN:
                break
            i = 0 if names is None else self._rank.get(names[row], -1)
            if i < 0:
                problems.append(self._unknown_series(row, names[row] if names else ""))
                continue
            j = self._place.get((i, _whole(time)), -1)
            if j < 0:
                problems.append(self._unknown_time(row, i, time))
                continue
            places[row] = i, j
        if problems:
            raise RowError(problems)
        return places

    def _unknown_series(self, row: int, name: str) -> Problem:
        known = [str(s) for s in self._arrays["series"][:5]]
        more = f" and {len(self._rank) - 5} more" if len(self._rank) > 5 else ""
        return Problem(
            f"/{row}/{self._series_column}", f"No series is called '{name}'.", f"Series: {', '.join(known)}{more}."
        )

    def _unknown_time(self, row: int, i: int, time: Any) -> Problem:
        times, asked = self._arrays["times"][i], _whole(time)
        first, last, nearest = (int(t) for t in (times[0], times[-1], times[np.abs(times - asked).argmin()]))
        return Problem(
            f"/{row}/{self._time_column}",
            f"There is no forecast for {self._shown(asked)}.",
            f"{len(times)} times, {self._shown(first)} to {self._shown(last)}; the nearest is {self._shown(nearest)}.",
        )

    def _shown(self, time: int) -> str:
        return (_EPOCH + time * _MICROSECOND).isoformat() if self._dated else f"{time / _MILLION:g}"

    def _check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        absent = {"series", "times", "mean"} - arrays.keys()
        if absent:
            raise _unfit(f"It lacks {', '.join(sorted(absent))}.")
        shape = arrays["mean"].shape
        grids = [n for n in arrays if n in {"times", "mean"} or n.startswith(("low_", "high_"))]
        odd = [n for n in grids if arrays[n].shape != shape or len(shape) != 2]
        lone = [n for n in grids if n.startswith("low_") and f"high_{n[4:]}" not in arrays]
        if odd or lone or arrays["series"].shape != shape[:1] or arrays["times"].dtype.kind != "i":
            raise _unfit(f"Its arrays do not fit each other: {', '.join(odd or lone or ['series', 'times'])}.")


def _whole(time: Any) -> int:
    return (time - _EPOCH) // _MICROSECOND if isinstance(time, datetime) else round(time * _MILLION)


def _unfit(why: str) -> BundleError:
    return BundleError(f"The bundle's file '{FILE}' is damaged.", where=why, do="Pack the model again.")
