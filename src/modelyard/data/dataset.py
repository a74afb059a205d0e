"""Dataset: a typed table with its roles, and the parts an honest split makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.finding import Finding
from modelyard.data.schema import Schema

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A table whose values have the types its schema says.

    Numbers are Float64 (infinities are refused when read), booleans Boolean, categories, ids and texts String,
    dates Datetime("us") without a zone; a missing value is null and never NaN or "".

    Attributes
    ----------
    frame : polars.DataFrame
        ``[n_rows, n_columns]``, every column of the schema, the label too when there is one.
    schema : Schema
        Types and roles.
    fingerprint : str
        SHA-256 over all bytes of the whole table that was read; a part keeps its whole table's.
    extras : mapping of str to array of shape [n_rows]
        Per-row figures some metrics and baselines need: for a forecast ``"scale"`` (seasonal-naive error of the
        series, for MASE) and ``"naive"`` (the seasonal-naive forecast).
    notes : tuple of Finding
        What reading noticed: rows without a label left out, a type that was guessed, ...
    copies : int64 array of shape [n_rows] or None
        What copies of one row share (see `modelyard.data.alike.copies`); None where there are none, and before a split.
    """

    frame: pl.DataFrame
    schema: Schema
    fingerprint: str
    extras: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[Finding, ...] = ()
    copies: Ints | None = None

    def __len__(self) -> int:
        return self.frame.height

    def take(self, rows: Ints) -> Dataset:
        """Return the named rows, in the order given."""
        return replace(
            self,
            frame=self.frame[rows],
            extras={k: v[rows] for k, v in self.extras.items()},
            copies=None if self.copies is None else self.copies[rows],
        )

    def truth(self) -> Ints | Floats:
        """Return the label: class codes (positions in ``schema.classes``) or float64 values, of shape [n_rows].

        Raises
        ------
        ValueError
            If the table has no label, or a class the schema does not know.
        """
        label = self.schema.label
        if label is None or label.name not in self.frame.columns:
            raise ValueError("this table has no label")
        series = self.frame[label.name]
        if not self.schema.classes:
            return series.cast(pl.Float64).to_numpy().astype(np.float64)
        names = self.schema.classes
        codes = series.replace_strict(names, range(len(names)), default=None, return_dtype=pl.Int64)
        if codes.null_count():
            unknown = series.filter(codes.is_null())[0]
            raise ValueError(f"'{label.name}' holds a class the schema does not know: {unknown!r}")
        return codes.to_numpy().astype(np.int64)

    def weights(self) -> Floats | None:
        """Return sample weights of shape [n_rows], or None when the brief names no weight column."""
        name = self._named("weight")
        return None if name is None else self.frame[name].cast(pl.Float64).to_numpy().astype(np.float64)

    def groups(self) -> Ints | None:
        """Return an integer per entity, of shape [n_rows], or None when the brief names no group column."""
        name = self._named("group")
        if name is None:
            return None
        return self.frame[name].cast(pl.String).fill_null("").rank("dense").cast(pl.Int64).to_numpy() - 1

    def units(self) -> Ints | None:
        """Return an integer per entity, or where no group is named per copies of one row; None where rows stand alone.

        Rows of one unit never stand on two sides of a division.
        """
        groups = self.groups()
        return self.copies if groups is None else groups

    def times(self) -> Floats | None:
        """Return when each row was known (seconds since 1970 for dates, else the number), or None."""
        name = self._named("time")
        if name is None:
            return None
        series = self.frame[name]
        if isinstance(series.dtype, pl.Datetime):
            return series.dt.epoch("us").cast(pl.Float64).to_numpy() / 1e6
        return series.cast(pl.Float64).to_numpy().astype(np.float64)

    def _named(self, role: str) -> str | None:
        return next((c.name for c in self.schema.columns if c.role == role and c.name in self.frame.columns), None)


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Development rows that may be learnt from, and those scored by what was learnt: positions, int64.

    `window` numbers windows of time where several folds score one; None where each fold has its own.
    """

    train: Ints
    score: Ints
    window: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """How a table was divided, and why.

    Attributes
    ----------
    strategy : str
        random, stratified, group, time, group_time or rolling.
    reason : str
        Why this one, in a sentence a user reads.
    development, test : int64 arrays
        Row positions in the whole table; ``test`` may be empty.
    folds : tuple of Fold
        Positions within the development part. Forward strategies (time, group_time, rolling) leave the earliest
        rows unscored.
    gap : float
        Time left out between what is learnt from and what is scored.
    """

    strategy: Literal["random", "stratified", "group", "time", "group_time", "rolling"]
    reason: str
    development: Ints
    test: Ints
    folds: tuple[Fold, ...]
    gap: float = 0.0

    @property
    def forward(self) -> bool:
        """Whether the split goes forward in time."""
        return self.strategy in {"time", "group_time", "rolling"}


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The development part, with its folds, and the test part, which nothing in development sees."""

    development: Dataset
    test: Dataset | None
    split: Split

    def blind(self) -> Parts:
        """Return the parts without the test rows: what training is given."""
        return replace(self, test=None)
