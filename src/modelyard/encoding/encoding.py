"""Encoding: typed rows to the matrices every graph eats, the same in training and behind the server."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.schema import Schema

Part = Literal["value", "days", "year", "month", "day", "weekday", "hour", "since"]
MISSING = ""
"""How a missing category is written in the matrix of strings; no level is ever empty."""

NO_MOMENT = int(np.iinfo(np.int64).min)
"""How a missing date is written in the matrix of moments: as numpy and pandas write NaT."""

MOST_CHARACTERS = 5_000
"""Characters of a text that are read: the longest of a batch says how much memory all its texts take."""

MOST_SPANNED = 6
"""Dates of which every two make a span; of more, each is counted from one of them alone."""

_DATE_PARTS: tuple[Part, ...] = ("days", "year", "month", "day", "weekday", "hour")
_TIME_PARTS: tuple[Part, ...] = ("days", "month", "day", "weekday", "hour")
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400e6
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class NumberInput:
    """One column of the matrix of numbers: a column of the table and what is taken of it.

    ``value`` is the number itself (a boolean gives 0 or 1); ``days`` (since 1970, with fraction), ``year``,
    ``month`` (1-12), ``day`` (1-31), ``weekday`` (1-7, Monday first) and ``hour`` are parts of a date; ``since`` is the
    days, with fraction, from the date in the column `other` to it.
    """

    column: str
    part: Part = "value"
    other: str = ""

    @property
    def name(self) -> str:
        """The column's name, with the part when it is one."""
        return ".".join(word for word in (self.column, self.part if self.part != "value" else "", self.other) if word)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it is made of."""
        return (self.column, self.other) if self.other else (self.column,)


@dataclass(frozen=True)
class Encoding:
    """The layout of the matrices models are trained on, and of the inputs of their graph.

    Attributes
    ----------
    numbers : tuple of NumberInput
        Columns of the float32 matrix; missing is NaN.
    strings : tuple of str
        Category columns of the string matrix; missing is `MISSING`.
    elapsed : tuple of int
        Places among `numbers` of the moment itself, as the time column has it: every row to come lies beyond those
        that were learnt from.
    texts : tuple of str
        Columns of the matrix of texts, of which the first `MOST_CHARACTERS` are read; missing is `MISSING`. They are
        text columns, and categories of many levels that are made of words other levels share: "oil on canvas".
    dates : tuple of str
        Date columns of the graph's matrix of moments, from which it works out their parts among `numbers` itself.
        Empty where the graph is given the parts.
    """

    numbers: tuple[NumberInput, ...]
    strings: tuple[str, ...]
    elapsed: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: Schema, *, moments: bool = False) -> Encoding:
        """Lay out the features of a schema by name: ids stay out.

        The order of a table's columns says nothing, and the models must not depend on it.

        Parameters
        ----------
        schema : Schema
            The columns.
        moments : bool
            Whether the graph takes moments, and works out the parts of dates itself.
        """
        numbers: list[NumberInput] = []
        strings: list[str] = []
        texts: list[str] = []
        for column in sorted(schema.features, key=lambda c: c.name):
            if column.kind == "category":
                strings.append(column.name)
                if column.phrases:
                    texts.append(column.name)
            elif column.kind == "text":
                texts.append(column.name)
            elif column.kind in ("number", "boolean"):
                numbers.append(NumberInput(column.name))
            elif column.kind == "date":
                parts = _TIME_PARTS if column.role == "time" else _DATE_PARTS
                clock = column.physical == "datetime"
                numbers += [NumberInput(column.name, part) for part in parts if clock or part != "hour"]
        times = {column.name for column in schema.features if column.role == "time"}
        numbers += _spans([c.name for c in schema.features if c.kind == "date"], times)
        elapsed = (i for i, n in enumerate(numbers) if n.column in times and n.part in ("value", "days"))
        dates = dict.fromkeys(n.column for n in numbers if n.part not in ("value", "since")) if moments else ()
        return cls(tuple(numbers), tuple(strings), tuple(elapsed), tuple(texts), tuple(dates))

    @property
    def phrases(self) -> tuple[str, ...]:
        """Those of `strings` that are among `texts` too."""
        return tuple(name for name in self.texts if name in self.strings)

    @cached_property
    def given(self) -> tuple[NumberInput, ...]:
        """Those of `numbers` the graph is given: all, or where it takes moments those that are no part of a date."""
        return tuple(n for n in self.numbers if n.part == "value") if self.dates else self.numbers

    @cached_property
    def _whole(self) -> tuple[str, ...] | None:
        """The columns of `given`, None where some are parts of dates: what one request need not look up again."""
        return None if any(n.part != "value" for n in self.given) else tuple(n.column for n in self.given)

    def frame(self, frame: pl.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        """Encode a typed frame.

        Parameters
        ----------
        frame : polars.DataFrame
            With every feature, typed as its schema says.

        Returns
        -------
        (float32 array, object array)
            ``[n, len(numbers)]`` with NaN for missing, and ``[n, len(strings)]`` of str with `MISSING` for missing.
        """
        return _numbers_of_frame(frame, self.numbers), self._strings_of_frame(frame)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        """Encode checked rows (see ``Schema.check_row``), without a frame: the fast path of one request.

        Parameters
        ----------
        rows : sequence of mapping
            Typed values by column; None, or no entry, is missing.

        Returns
        -------
        (float32 array, object array)
            As `frame` returns them, to the last bit.
        """
        return _numbers_of_rows(rows, self.numbers), self._strings_of_rows(rows)

    def inputs_of_frame(self, frame: pl.DataFrame) -> dict[str, NDArray[Any]]:
        """Lay a typed frame out as the inputs of a graph.

        Returns
        -------
        dict of str to array
            Those of these that have a column: ``numbers`` (float32 ``[n, len(given)]``), ``moments`` (int64
            ``[n, len(dates)]``, microseconds since 1970 with `NO_MOMENT` for missing), ``strings`` and ``texts``
            (object ``[n, q]`` and ``[n, t]`` of str).
        """
        inputs: dict[str, NDArray[Any]] = {}
        if given := self.given:
            inputs["numbers"] = _numbers_of_frame(frame, given)
        if self.dates:
            moments = [frame[name].dt.epoch("us").fill_null(NO_MOMENT).to_numpy() for name in self.dates]
            inputs["moments"] = np.stack(moments, axis=1)
        if self.strings:
            inputs["strings"] = self._strings_of_frame(frame)
        if self.texts:
            inputs["texts"] = self.texts_of_frame(frame)
        return inputs

    def inputs_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
        """Lay checked rows out as the inputs of a graph, to the last bit as `inputs_of_frame` does."""
        inputs: dict[str, NDArray[Any]] = {}
        if names := self._whole:
            inputs["numbers"] = _matrix([[row.get(name) for name in names] for row in rows], len(names))
        elif self.given:
            inputs["numbers"] = _numbers_of_rows(rows, self.given)
        if names := self.dates:
            moments = [[moment(row.get(name)) for name in names] for row in rows]
            inputs["moments"] = np.array(moments, dtype=np.int64).reshape(len(rows), len(names))
        if self.strings:
            inputs["strings"] = self._strings_of_rows(rows)
        if self.texts:
            inputs["texts"] = self.texts_of_rows(rows)
        return inputs

    def texts_of_frame(self, frame: pl.DataFrame) -> NDArray[np.object_]:
        """Return the texts of a typed frame, [n, len(texts)] of str."""
        texts = np.empty((frame.height, len(self.texts)), dtype=np.object_)
        for i, name in enumerate(self.texts):
            texts[:, i] = frame[name].fill_null(MISSING).str.slice(0, MOST_CHARACTERS).to_numpy()
        return texts

    def texts_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.object_]:
        """Return the texts of checked rows, as `texts_of_frame` does."""
        texts = np.empty((len(rows), len(self.texts)), dtype=np.object_)
        for i, row in enumerate(rows):
            texts[i] = [(row.get(name) or MISSING)[:MOST_CHARACTERS] for name in self.texts]
        return texts

    def _strings_of_frame(self, frame: pl.DataFrame) -> NDArray[np.object_]:
        held = {series.name: series for series in frame.iter_columns()}
        strings = np.empty((frame.height, len(self.strings)), dtype=np.object_)
        for i, name in enumerate(self.strings):
            strings[:, i] = held[name].fill_null(MISSING).to_numpy()
        return strings

    def _strings_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.object_]:
        strings = np.empty((len(rows), len(self.strings)), dtype=np.object_)
        for i, row in enumerate(rows):
            strings[i] = [row.get(name) or MISSING for name in self.strings]
        return strings


def _spans(dates: Sequence[str], times: Collection[str]) -> list[NumberInput]:
    """Return the spans between the dates of a row: how long before or after another says what no date says alone.

    They stay what they were as time goes on, where the dates themselves move away from all that was learnt from.
    """
    ordered = sorted(dates, key=lambda name: (name not in times, name))
    pairs = [(later, one) for i, one in enumerate(ordered) for later in ordered[i + 1 :]]
    if len(ordered) > MOST_SPANNED:
        pairs = [pair for pair in pairs if pair[1] == ordered[0]]
    return [NumberInput(later, "since", one) for later, one in pairs]


def _numbers_of_frame(frame: pl.DataFrame, wanted: Sequence[NumberInput]) -> NDArray[np.float32]:
    held = {series.name: series for series in frame.iter_columns()}
    numbers = np.empty((frame.height, len(wanted)), dtype=np.float64)
    for i, number in enumerate(wanted):
        series = held[number.column]
        if number.part == "since":
            series = (_micros(series) - _micros(held[number.other])) / _DAY
        elif number.part != "value":
            series = _part(series, number.part)
        numbers[:, i] = series.cast(pl.Float64).to_numpy()
    return _float32(numbers)


def _numbers_of_rows(rows: Sequence[Mapping[str, Any]], wanted: Sequence[NumberInput]) -> NDArray[np.float32]:
    return _matrix([[_cell(row, w) for w in wanted] for row in rows], len(wanted))


def _cell(row: Mapping[str, Any], wanted: NumberInput) -> Any:
    value = row.get(wanted.column)
    if wanted.part == "value":
        return value
    if wanted.part != "since":
        return _part_of(value, wanted.part)
    other = row.get(wanted.other)
    # As floats, since that is what numpy, polars and the graph subtract.
    return None if value is None or other is None else (float(moment(value)) - float(moment(other))) / _DAY


def _matrix(cells: list[list[Any]], width: int) -> NDArray[np.float32]:
    # numpy reads None as NaN, and true and false as 1 and 0.
    return _float32(np.array(cells, dtype=np.float64).reshape(len(cells), width))


def _float32(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32; what is too large for it becomes its largest number, never infinite."""
    # Not np.clip, which takes twice as long for one row.
    return np.minimum(np.maximum(numbers, -_LARGEST), _LARGEST).astype(np.float32)


def _part(moments: pl.Series, part: Part) -> pl.Series:
    if part == "days":
        return _micros(moments) / _DAY
    return {
        "year": moments.dt.year,
        "month": moments.dt.month,
        "day": moments.dt.day,
        "weekday": moments.dt.weekday,
        "hour": moments.dt.hour,
    }[part]()


def _micros(moments: pl.Series) -> pl.Series:
    return moments.dt.epoch("us").cast(pl.Float64)


def moment(value: datetime | None) -> int:
    """Return microseconds since 1970 of a naive UTC datetime, `NO_MOMENT` where it is missing."""
    return NO_MOMENT if value is None else (value - _EPOCH) // _MICROSECOND


def _part_of(value: datetime | None, part: Part) -> float | None:
    if value is None:
        return None
    if part == "days":
        return moment(value) / _DAY
    return float(value.isoweekday() if part == "weekday" else getattr(value, part))
