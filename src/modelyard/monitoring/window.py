"""Windows of traffic: new rows counted over the reference's bins, piece by piece, and what does not fit the schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.core.errors import RowError
from modelyard.data.column import Column
from modelyard.data.dataset import Dataset, Floats
from modelyard.data.dates import parse_dates
from modelyard.data.infer import natural
from modelyard.data.limits import disallowed, is_limited
from modelyard.data.profile import ColumnProfile, Profile, add, profile
from modelyard.data.rows import convert
from modelyard.data.significance import beyond
from modelyard.data.source import Table, batches, from_memory
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.record import Chosen, Record

_PIECE = 50_000
_SHOWN = 3
_OUTSIDE_SHARE, _OUTSIDE_P = 0.01, 0.01
_DAY = 86_400.0
_TRUTHS = ["true", "false", "1", "0", "yes", "no"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something about the new rows that the schema does not allow, or has never seen.

    Attributes
    ----------
    kind : {"absent", "value", "limit", "missing", "level", "range", "series", "time"}
        The column is not there; values are not of its type; the brief does not allow them; values are missing that
        never were; levels are new; more numbers lie outside the reference's range than chance explains; the forecast
        has no such series, or not that time of it.
    column : str
        Of the schema.
    rows : int
        How many rows show it.
    examples : tuple of str
        A few of the values.
    """

    kind: str
    column: str
    rows: int
    examples: tuple[str, ...] = ()


class Window:
    """New rows, counted: its state is a few counts a column, whatever the number of rows.

    Parameters
    ----------
    bundle : Bundle
        Whose schema the rows must fit, and what predicts them.
    reference : Profile
        Whose bins and levels are counted into.
    """

    def __init__(self, bundle: Bundle, reference: Profile) -> None:
        self.rows = 0
        self._bundle, self._reference = bundle, reference
        self._features = {c.name: c for c in bundle.schema.features}
        self._held: dict[str, ColumnProfile] = {}
        self._misfits: dict[tuple[str, str], list[Any]] = {}
        self._outside: dict[str, tuple[int, int]] = {}

    def add(
        self,
        piece: pl.DataFrame,
        text: bool = False,
        answered: bool = False,
        withheld: Sequence[str] = (),
        answers: Floats | None = None,
    ) -> None:
        """Count a piece of a table.

        Parameters
        ----------
        piece : polars.DataFrame
            The rows.
        text : bool
            Whether every value is a string still, as read from a CSV.
        answered : bool
            Whether a server answered them: what a forecast does not hold is not looked for, as one packed earlier held
            other times.
        withheld : sequence of str
            Columns that the rows had and this piece may not show.
        answers : array, optional
            What the rows were answered; default: what the model says of them.
        """
        height = piece.height
        self.rows += height
        if not text:
            piece = natural(piece.select([c for c in piece.columns if c in self._features]), text=False)[0]
        present = [name for name in self._features if name in piece.columns]
        for name in self._features:
            if name not in present:
                self._note("absent", name, 0 if name in withheld else height)
        fits = {name: self._fits(piece[name], self._features[name]) for name in present}
        frame = pl.DataFrame([self._typed(piece[name], self._features[name], fits[name]) for name in present])
        for column in self._profile(frame).columns:
            # A value that does not fit was noted, and is not missing as well.
            self._hold(replace(column, missing=column.missing - int((~fits[column.name]).sum())))
        if not answered and isinstance(self._bundle.runtime, ArraysRuntime):
            self._ahead(frame, fits, self._bundle.runtime)
        # Nor is a row the server would refuse predicted.
        answers = self._answers(frame, fits) if answers is None else answers
        for column in self._profile(pl.DataFrame(), answers).columns:
            self._hold(column)

    def _profile(self, frame: pl.DataFrame, answers: Floats | None = None) -> Profile:
        return profile(Dataset(frame, self._bundle.schema, ""), answers, like=self._reference)

    def _hold(self, column: ColumnProfile) -> None:
        held, new = self._held.get(column.name), Profile(0, (column,))
        self._held[column.name] = (new if held is None else add(Profile(0, (held,)), new)).columns[0]

    def profile(self) -> Profile:
        """Return the counts as a profile over the reference's bins, of the columns that were seen."""
        return Profile(self.rows, tuple(self._held[c.name] for c in self._reference.columns if c.name in self._held))

    def misfits(self) -> tuple[Misfit, ...]:
        """Return what does not fit the schema, most rows first."""
        found = [Misfit(kind, name, rows, tuple(shown)) for (kind, name), (rows, shown) in self._misfits.items()]
        found += [m for name, outside in self._outside.items() if (m := self._range(name, outside)) is not None]
        return tuple(sorted(found, key=lambda m: (-m.rows, m.kind, m.column)))

    def _fits(self, series: pl.Series, column: Column) -> pl.Series:
        """Say which values a server takes, missing ones among them, and note the others."""
        of_type = series.is_null() | _of_type(series, column)
        fits = of_type & ~disallowed(series, column) if is_limited(column) else of_type
        for kind, wrong in () if fits.all() else (("value", ~of_type), ("limit", of_type & ~fits)):
            bad = series.filter(wrong)
            self._note(kind, column.name, bad.len(), bad.unique(maintain_order=True).head(_SHOWN).to_list())
        return fits

    def _typed(self, series: pl.Series, column: Column, fits: pl.Series) -> pl.Series:
        """Return a column in its type, null where a value does not fit."""
        if not fits.all():
            series = pl.select(pl.when(fits).then(series).alias(series.name)).to_series()
        if series.null_count() == series.len():
            series = series.clear(series.len()).cast(pl.String)  # without values it is of any type
        typed = convert(series, column)
        if column.kind == "number":
            self._beyond(column.name, typed.drop_nulls())
        if column.missing == 0.0:
            self._note("missing", column.name, typed.null_count() - int((~fits).sum()))
        # Of a forecast, a series it does not have is noted with the times it does not have.
        if column.kind == "category" and column.role == "feature" and len(column.levels) >= column.distinct:
            new = typed.filter(typed.is_not_null() & ~typed.is_in(list(column.levels)))
            self._note("level", column.name, new.len(), new.unique(maintain_order=True).head(_SHOWN).to_list())
        return typed

    def _ahead(self, frame: pl.DataFrame, fits: Mapping[str, pl.Series], runtime: ArraysRuntime) -> None:
        """Count the rows that ask for what the forecast does not hold, each once."""
        if len(fits) < len(self._features):
            return
        series = next((c.name for c in self._features.values() if c.role == "group"), None)
        time = next(c.name for c in self._features.values() if c.role == "time")
        asked, known = (_spots(f, series, time) for f in (frame.drop_nulls(), runtime.known()))
        other = asked.join(known, on="series", how="anti")
        never = asked.join(known, on="series", how="semi").join(known, on=["series", "time"], how="anti")
        for kind, name, rows in (("series", series or time, other), ("time", time, never)):
            shown = rows["name" if kind == "series" else "shown"].unique(maintain_order=True).head(_SHOWN)
            self._note(kind, name, rows.height, shown.to_list())

    def _beyond(self, name: str, values: pl.Series) -> None:
        """Count values on either side of the reference's range: bins end at it, so they cannot tell."""
        held = next((c for c in self._reference.columns if c.name == name), None)
        if held is not None and held.low is not None and held.high is not None:
            below, above = self._outside.get(name, (0, 0))
            self._outside[name] = below + int((values < held.low).sum()), above + int((values > held.high).sum())

    def _range(self, name: str, outside: tuple[int, int]) -> Misfit | None:
        reference = self._reference.column(name)
        now, then = sum(self._held[name].counts), sum(reference.counts)
        chance = 2 * len(self._outside) * min(beyond(count, now, then) for count in outside)
        if sum(outside) <= _OUTSIDE_SHARE * now or chance > _OUTSIDE_P:
            return None
        window = self._held[name]
        extremes = [(window.low, outside[0]), (window.high, outside[1])]
        return Misfit("range", name, sum(outside), tuple(f"{v:g}" for v, count in extremes if v is not None and count))

    def _note(self, kind: str, column: str, rows: int, values: Sequence[Any] = ()) -> None:
        if not rows:
            return
        entry = self._misfits.setdefault((kind, column), [0, []])
        entry[0] += rows
        shown = [str(v) for v in values if str(v) not in entry[1]]
        entry[1] = [*entry[1], *shown][:_SHOWN]

    def _answers(self, frame: pl.DataFrame, fits: Mapping[str, pl.Series]) -> Floats | None:
        """Return what the model says of the rows that fit, as a profile counts it; None where it says nothing."""
        if len(fits) < len(self._features) or self._bundle.schema.task == "forecast":
            return None
        whole = frame.filter(np.logical_and.reduce([mask.to_numpy() for mask in fits.values()]))
        if not whole.height:
            return None
        answers = np.asarray(self._bundle.runtime.frame(whole), dtype=np.float64)
        return answers if answers.shape[1] > 2 else answers[:, -1]


def _spots(frame: pl.DataFrame, series: str | None, time: str) -> pl.DataFrame:
    """Return series and times as they can be matched: names, and whole millionths of a unit or of a second."""
    name = pl.lit("") if series is None else pl.col(series).cast(pl.String)
    at = pl.col(time)
    whole = at.dt.epoch("us") if frame.schema[time].is_temporal() else (at * 1e6).round().cast(pl.Int64)
    return frame.select(series=name, name=name, time=whole, shown=at.cast(pl.String))


def _of_type(series: pl.Series, column: Column) -> pl.Series:
    """Say which values are of a column's type, as `convert` sees it, which names only the first that is not."""
    if column.kind == "number" and not series.dtype.is_temporal():
        return series.cast(pl.Float64, strict=False).is_finite().fill_null(False)
    if column.kind == "date":
        if series.dtype.is_temporal():
            return series.is_not_null()
        return parse_dates(series).is_not_null() if series.dtype == pl.String else _nowhere(series)
    if column.kind == "boolean":
        if series.dtype == pl.Boolean or series.dtype.is_numeric():
            return series.cast(pl.Float64).is_in([0.0, 1.0]).fill_null(False)
        return series.cast(pl.String).str.to_lowercase().is_in(_TRUTHS).fill_null(False)
    return _nowhere(series) if column.kind == "number" else series.is_not_null()


def _nowhere(series: pl.Series) -> pl.Series:
    return pl.Series(series.name, np.zeros(series.len(), dtype=np.bool_))


def windows(
    bundle: Bundle, reference: Profile, traffic: Table | Predictions, days: float
) -> tuple[Window, Window | None]:
    """Count traffic: the present window, and the one before it where a prediction log reaches back so far.

    Parameters
    ----------
    bundle : Bundle
        What is watched.
    reference : Profile
        Its reference.
    traffic : path, table or Predictions
        A file or table of rows (one window), or a prediction log, or its folder.
    days : float
        Length of a window of a prediction log, counted back from its newest record.

    Raises
    ------
    DataError, WorkspaceError
        If it cannot be read at all.
    """
    if isinstance(traffic, Predictions):
        return _from_log(bundle, reference, traffic, days)
    if isinstance(traffic, str | Path) and Path(traffic).is_dir():
        return _from_log(bundle, reference, Predictions(Path(traffic)), days)
    window = Window(bundle, reference)
    if isinstance(traffic, str | Path):
        for piece, text in batches(traffic, _PIECE):
            window.add(piece, text)
    else:
        for piece in from_memory(traffic).iter_slices(_PIECE):
            window.add(piece)
    return window, None


def _from_log(bundle: Bundle, reference: Profile, log: Predictions, days: float) -> tuple[Window, Window | None]:
    name = bundle.manifest.name
    newest = log.newest(name) or 0.0
    start = newest - days * _DAY
    present, before = Window(bundle, reference), Window(bundle, reference)
    for window, low, high in ((present, start, newest), (before, start - days * _DAY, start)):
        within = (r for r in log.records(Chosen(name, since=low)) if low < r.at <= high)
        for columns, records in groupby(within, key=lambda r: r.withheld):
            for frame, answers in _frames(bundle, records):
                if columns:
                    window.add(frame.drop(columns, strict=False), answered=True, withheld=columns, answers=answers)
                else:
                    window.add(frame, answered=True)
    return present, before if before.rows else None


def _frames(bundle: Bundle, records: Iterator[Record]) -> Iterator[tuple[pl.DataFrame, Floats | None]]:
    """Return logged rows as tables, and what they were answered as a profile counts it."""
    rows = (pair for record in records for pair in zip(record.rows, record.answers or repeat({}), strict=False))
    while piece := list(islice(rows, _PIECE)):
        yield _frame(bundle, [row for row, _ in piece]), _answered(bundle, [answer for _, answer in piece])


def _answered(bundle: Bundle, answers: Sequence[Mapping[str, Any]]) -> Floats | None:
    """Return what the model answered; what stood in for it says nothing of the model."""
    mine = [answer for answer in answers if answer.get("served_by") == "model"]
    names = bundle.schema.classes
    if not mine or bundle.schema.task == "forecast":
        return None
    if not names:
        return np.array([answer["prediction"] for answer in mine], dtype=np.float64)
    shown = names if len(names) > 2 else names[-1:]
    found = np.array([[answer["probabilities"].get(n, np.nan) for n in shown] for answer in mine], dtype=np.float64)
    found = found[np.isfinite(found).all(axis=1)]  # another bundle of this name may have had other classes
    return None if not len(found) else found if len(names) > 2 else found[:, -1]


def _frame(bundle: Bundle, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return logged rows as a table; what another bundle's schema let pass may not fit this one's."""
    try:
        checked = [bundle.schema.check_row(row, unknown="ignore") for row in rows]
    except RowError:
        return from_memory(_as_text(bundle, rows))
    return pl.DataFrame(checked, infer_schema_length=None)


def _as_text(bundle: Bundle, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    names = [c.name for c in bundle.schema.features if any(c.name in row for row in rows)]
    return pl.DataFrame(
        {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in names},
        schema=dict.fromkeys(names, pl.String),
    )
