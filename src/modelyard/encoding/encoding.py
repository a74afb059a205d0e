"""Encoding: typed rows to the matrices every graph eats, the same in training and behind the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.schema import Schema

Part = Literal["value", "days", "year", "month", "day", "weekday", "hour"]
MISSING = ""
"""How a missing category is written in the matrix of strings; no level is ever empty."""

MOST_CHARACTERS = 5_000
"""Characters of a text that are read: the longest of a batch says how much memory all its texts take."""

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
    ``month`` (1-12), ``day`` (1-31), ``weekday`` (1-7, Monday first) and ``hour`` are parts of a date.
    """

    column: str
    part: Part = "value"

    @property
    def name(self) -> str:
        """The column's name, with the part when it is one."""
        return self.column if self.part == "value" else f"{self.column}.{self.part}"


@dataclass(frozen=True, slots=True)
class Encoding:
    """The layout of the two matrices, and of a third where the table has texts.

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
        Text columns of the matrix of texts, of which the first `MOST_CHARACTERS` are read; missing is `MISSING`.
    """

    numbers: tuple[NumberInput, ...]
    strings: tuple[str, ...]
    elapsed: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: Schema) -> Encoding:
        """Lay out the features of a schema by name: ids stay out.

        The order of a table's columns says nothing, and the models must not depend on it.
        """
        numbers: list[NumberInput] = []
        strings: list[str] = []
        texts: list[str] = []
        for column in sorted(schema.features, key=lambda c: c.name):
            if column.kind == "category":
                strings.append(column.name)
            elif column.kind == "text":
                texts.append(column.name)
            elif column.kind in ("number", "boolean"):
                numbers.append(NumberInput(column.name))
            elif column.kind == "date":
                parts = _TIME_PARTS if column.role == "time" else _DATE_PARTS
                clock = column.physical == "datetime"
                numbers += [NumberInput(column.name, part) for part in parts if clock or part != "hour"]
        times = {column.name for column in schema.features if column.role == "time"}
        elapsed = (i for i, n in enumerate(numbers) if n.column in times and n.part in ("value", "days"))
        return cls(tuple(numbers), tuple(strings), tuple(elapsed), tuple(texts))

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
        held = {series.name: series for series in frame.iter_columns()}
        numbers = np.empty((frame.height, len(self.numbers)), dtype=np.float64)
        for i, wanted in enumerate(self.numbers):
            series = held[wanted.column]
            numbers[:, i] = (
                (series if wanted.part == "value" else _part(series, wanted.part)).cast(pl.Float64).to_numpy()
            )
        strings = np.empty((frame.height, len(self.strings)), dtype=np.object_)
        for i, name in enumerate(self.strings):
            strings[:, i] = held[name].fill_null(MISSING).to_numpy()
        return _float32(numbers), strings

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
        # numpy reads None as NaN, and true and false as 1 and 0.
        numbers = np.array(
            [
                [row.get(w.column) if w.part == "value" else _part_of(row.get(w.column), w.part) for w in self.numbers]
                for row in rows
            ],
            dtype=np.float64,
        ).reshape(len(rows), len(self.numbers))
        strings = np.empty((len(rows), len(self.strings)), dtype=np.object_)
        for i, row in enumerate(rows):
            strings[i] = [row.get(name) or MISSING for name in self.strings]
        return _float32(numbers), strings

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


def _float32(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32; what is too large for it becomes its largest number, never infinite."""
    return np.clip(numbers, -_LARGEST, _LARGEST).astype(np.float32)


def _part(moments: pl.Series, part: Part) -> pl.Series:
    if part == "days":
        return moments.dt.epoch("us").cast(pl.Float64) / _DAY
    return {
        "year": moments.dt.year,
        "month": moments.dt.month,
        "day": moments.dt.day,
        "weekday": moments.dt.weekday,
        "hour": moments.dt.hour,
    }[part]()


def _part_of(value: datetime | None, part: Part) -> float | None:
    if value is None:
        return None
    if part == "days":
        return ((value - _EPOCH) // _MICROSECOND) / _DAY
    return float(value.isoweekday() if part == "weekday" else getattr(value, part))
