"""Encoding: typed rows to the two matrices every graph eats, the same in training and behind the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.schema import Schema

Part = Literal["value", "days", "year", "month", "day", "weekday", "hour"]
MISSING = ""
"""How a missing category is written in the matrix of strings; no level is ever empty."""


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
    """The layout of the two matrices.

    Attributes
    ----------
    numbers : tuple of NumberInput
        Columns of the float32 matrix; missing is NaN.
    strings : tuple of str
        Category columns of the string matrix; missing is `MISSING`.
    """

    numbers: tuple[NumberInput, ...]
    strings: tuple[str, ...]

    @classmethod
    def of(cls, schema: Schema) -> Encoding:
        """Lay out the features of a schema: texts and ids stay out, a time column gives only its parts."""
        raise NotImplementedError

    def frame(self, frame: pl.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        """Encode a typed frame: float32 ``[n, len(numbers)]`` and object ``[n, len(strings)]`` of str."""
        raise NotImplementedError

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        """Encode checked rows (see ``check_row``), without a frame: the fast path of one request."""
        raise NotImplementedError
