"""Reading: any table in, a typed Dataset with its roles out; nothing is repaired silently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from modelyard.brief.brief import Brief, ColumnKind, ForecastBrief, Task
from modelyard.core.errors import BriefError, DataError, listed
from modelyard.core.machine import free_memory
from modelyard.data.asked import check_asked
from modelyard.data.classes import constant_label, order_classes, task_of
from modelyard.data.column import Column, Role
from modelyard.data.dataset import Dataset
from modelyard.data.finding import Finding
from modelyard.data.fingerprint import fingerprint
from modelyard.data.infer import date_physical, kind_of, natural, physical_of
from modelyard.data.limits import WIDEN, check_limits, with_limits
from modelyard.data.measure import measure
from modelyard.data.notes import date_unclear, ignored_because, left_out, missing_words, not_in_table, note_kinds
from modelyard.data.printed import as_text
from modelyard.data.rows import CORRECT, convert, typed
from modelyard.data.schema import Schema
from modelyard.data.share import load_within
from modelyard.data.source import Table, batches, load, not_read

_MOST_UNLABELLED = 0.5


def read_data(source: Table = None, brief: Brief | None = None) -> Dataset:
    """Read a table and settle the type and role of every column.

    Parameters
    ----------
    source : path, or pandas, polars or pyarrow table, optional
        CSV, Parquet, Arrow or Feather; default the path the brief names.
    brief : Brief, optional
        Names the label and other roles; without one the table is read as it is, without a label.

    Returns
    -------
    Dataset
        Of a file too large for a run to hold, a share of the rows (see `modelyard.data.share`), with a note. Rows
        without a label (and, where a time column is named, without a time) are left out with a note. Columns
        the brief drops are gone, unless they are sensitive: those stay, ignored, for fairness slices.

    Raises
    ------
    BriefError
        If the brief keeps a column no model can read, or asks for a direction or a limit of what has none.
    DataError
        If the table cannot be read or used as the brief asks, or holds values it does not allow; a column of lists or
        the like that the brief names no role or type for is left out with a note.
    """
    asked = brief or Brief()
    source = asked.data.path if source is None else source
    if source is None:
        raise DataError("No table is named.", do="Add data.path to the brief, or pass a table.")
    if isinstance(source, str | Path):
        memory = asked.budget.memory
        loaded = load_within(source, free_memory() if memory is None else 1e9 * memory, asked.data.group)
    else:
        loaded = load(source)
    raw = loaded.frame
    where = str(source) if isinstance(source, str | Path) else "the table in memory"
    if not raw.width:
        raise DataError("The table has no columns.", where=where, do="Name a table with a label and features.")
    if not raw.height:
        raise DataError("The table has no rows.", where=where, do="Name a table with at least one row.")
    frame, read = natural(raw, loaded.text)
    absent = not_in_table(raw.columns, asked)
    needed = [asked.data.label, asked.data.group, asked.data.time, asked.data.weight, *asked.data.types]
    needed += asked.data.keep
    plain = set(frame.columns)
    for unread in [c for c in raw.columns if c not in plain]:
        if unread in needed or not plain:
            raise not_read(unread, raw[unread].dtype)
    name = fingerprint(frame)
    gone = [c for c in asked.data.drop if c not in asked.data.sensitive]
    frame = frame.drop(gone, strict=False)
    words = missing_words({name: held for name, held in loaded.words.items() if name not in gone})
    notes = [*words, *absent, *(n for n in (*loaded.notes, *read) if n.column not in gone)]
    return _settled(frame, asked, name, notes)


def read_batches(path: str | Path, schema: Schema, rows: int = 100_000) -> Iterator[pl.DataFrame]:
    """Read a file of any size in typed pieces, for streaming prediction; memory holds one piece.

    Parameters
    ----------
    path : path
        CSV, Parquet, Arrow or Feather.
    schema : Schema
        The types to read as; see `modelyard.data.rows.typed`.
    rows : int
        At most so many rows a piece.

    Raises
    ------
    DataError
        If the file cannot be read, a feature is absent or a value is not of its type; rows count from the file's first.
    """
    first = 1
    for piece, text in batches(path, rows):
        yield typed(piece, schema, text=text, first_row=first)
        first += piece.height


def _settled(frame: pl.DataFrame, brief: Brief, name: str, notes: list[Finding]) -> Dataset:
    data = brief.data
    roles = {c: _role(c, brief) for c in frame.columns}
    columns: list[Column] = []
    series: list[pl.Series] = []
    for plain in frame.iter_columns():
        kind, physical = _kind(plain, data.types.get(plain.name), roles[plain.name]), physical_of(plain)
        if kind == "date" and plain.dtype == pl.String:
            physical = date_physical(plain)
        column = Column(
            plain.name,
            kind,
            roles[plain.name],
            physical,
            sensitive=plain.name in data.sensitive,
            monotone=data.monotone.get(plain.name),
        )
        columns.append(with_limits(column, brief))
        series.append(plain if column.role == "label" else _converted(plain, column))
    table = pl.DataFrame(series)
    check_limits(table, columns, WIDEN)
    # Every value has been looked at before rows are left out, so that an error counts rows as the file does.
    table = _labelled(table, data.label, notes)
    if data.time is not None:
        table = _timed(table, data.time, notes)
    if data.weight is not None:
        check_weights(table[data.weight])
    task, classes = _predicted(table, columns, brief)
    for i, column in enumerate(columns):
        if column.role == "label":
            columns[i], label = _label_column(table[column.name], column, task, classes)
            table = table.with_columns(label)
    measured = measure(table, columns)
    settled = []
    for column in measured:
        asked = data.types.get(column.name)
        why = ignored_because(column, table.height, asked) if column.role == "feature" else None
        aside = replace(column, role="ignored")
        column = column if why is None else aside
        if asked is None and (why is None or why.kind == "id"):
            kept = aside if column.kind == "text" else column  # dates that are not read hold words, and no text
            unclear = date_unclear(table[column.name], kept)
            why, column = (why, column) if unclear is None else (unclear, kept)
        if why is not None:
            notes.append(why)
        settled.append(column)
    notes += note_kinds(settled)
    if not any(c.role == "feature" for c in settled) and data.label is not None and task != "forecast":
        raise DataError(
            "No column is left to learn from.",
            do="Drop fewer columns, or name the types of those that are ids or texts.",
        )
    if task == "forecast":
        table = _ordered(table, brief)
    schema = Schema(tuple(settled), task, classes)
    if data.label is not None:
        _apart(schema)
        check_asked(schema, brief, notes)
    return Dataset(table, schema, name, {}, tuple(notes))


def _apart(schema: Schema) -> None:
    """Refuse a column the model would need under a name its answers have: no file could hold both."""
    taken = [c.name for c in schema.features if c.name in schema.answers]
    if taken:
        raise DataError(
            f"A column is called '{taken[0]}', as the model's answers are.",
            where=f"column '{taken[0]}'",
            allowed=f"Any name but {listed(schema.answers, 5)}.",
            do="Rename it in the table, or add it to data.drop: an earlier model's answer is seldom a fair feature.",
        )


def _converted(plain: pl.Series, column: Column) -> pl.Series:
    """Convert a column, and where a value does not fit say what in the brief would read it otherwise."""
    try:
        return convert(plain, column)
    except DataError as error:
        if error.do != CORRECT:
            raise
        other = "column under data.time" if column.role == "time" else f"type under data.types: {plain.name}"
        do = f"Correct the value, or name another {other}."
        raise DataError(error.what, where=error.where, allowed=error.allowed, do=do) from None


def _role(column: str, brief: Brief) -> Role:
    data = brief.data
    named: dict[str | None, Role] = {data.weight: "weight", data.time: "time", data.group: "group", data.label: "label"}
    if column in named:
        return named[column]
    return "ignored" if column in data.drop else "feature"


def _kind(series: pl.Series, asked: ColumnKind | None, role: Role) -> ColumnKind:
    if role == "group":
        return "id"
    if asked is not None:
        return asked
    if role == "time":
        return "date" if series.dtype == pl.String or series.dtype.is_temporal() else "number"
    if role == "weight":
        return "number"
    return kind_of(series)


def _labelled(frame: pl.DataFrame, label: str | None, notes: list[Finding]) -> pl.DataFrame:
    """Leave out rows without a label; refuse a label that is mostly missing."""
    if label is None:
        return frame
    if frame[label].dtype == pl.Float64:
        convert(frame[label], Column(label, "number", "label", "float"))  # refuses infinite values
    missing = frame[label].null_count()
    if missing > _MOST_UNLABELLED * frame.height:
        raise DataError(
            f"The label '{label}' is missing in {missing:,} of {frame.height:,} rows.",
            where=f"column '{label}'",
            allowed=f"At most {100 * _MOST_UNLABELLED:.0f} % of the rows may lack a label.",
            do="Name another label, or leave the rows without one out of the table.",
        )
    if missing:
        notes.append(left_out("label_missing", label, missing, frame.height, "no label"))
        frame = frame.filter(pl.col(label).is_not_null())
    if frame[label].n_unique() < 2:
        raise constant_label(label, frame[label][0])
    return frame


def _timed(table: pl.DataFrame, time: str, notes: list[Finding]) -> pl.DataFrame:
    missing = table[time].null_count()
    if missing == table.height:
        raise DataError(
            f"The time column '{time}' is empty.", where=f"column '{time}'", do="Name another under data.time."
        )
    if missing:
        notes.append(left_out("time_missing", time, missing, table.height, "no time"))
        table = table.filter(pl.col(time).is_not_null())
    return table


def check_weights(weight: pl.Series) -> None:
    """Refuse weights that are missing or negative.

    Raises
    ------
    DataError
        Naming the first such row.
    """
    wrong = (weight.is_null() | (weight < 0)).fill_null(True)
    if bool(wrong.any()):
        at = int(wrong.arg_max() or 0)
        raise DataError(
            f"The weight is {weight[at]} in a row.",
            where=f"column '{weight.name}', row {at + 1}",
            allowed="Every row has a weight, zero or more.",
            do="Correct it, or leave data.weight out of the brief.",
        )
    if not bool((weight > 0).any()):
        raise DataError(
            "Every weight is zero: no row counts.",
            where=f"column '{weight.name}'",
            do="Correct them, or leave data.weight out of the brief.",
        )


def _predicted(table: pl.DataFrame, columns: Sequence[Column], brief: Brief) -> tuple[Task, tuple[str, ...]]:
    name = brief.data.label
    if name is None:
        return brief.task or "regression", ()
    label = table[name]
    task = task_of(label, brief, _series_only(table, columns, brief))
    if task != "forecast" and brief.forecast != ForecastBrief():
        raise BriefError(
            f"The brief has a forecast section, and the task is {task}.",
            where=f"{brief.source}: forecast",
            allowed="A forecast needs a label of numbers and a time column, data.time.",
            do="Name both, or take the section out.",
        )
    if task not in ("binary", "multiclass"):
        return task, ()
    column = next(c for c in columns if c.role == "label")
    counted = as_text(label, column).rename("class").value_counts(name="rows")
    counts = dict(zip(counted["class"].to_list(), counted["rows"].to_list(), strict=True))
    ordered = dict(sorted(counts.items()))
    return task, order_classes(ordered, task, brief.data.positive, name)


def _series_only(table: pl.DataFrame, columns: Sequence[Column], brief: Brief) -> bool:
    """Say whether the table holds series and nothing else: every other column is the same all along a series."""
    group, time = brief.data.group, brief.data.time
    if group is None or time is None or next(c for c in columns if c.role == "time").kind != "date":
        return False
    others = [c.name for c in columns if c.role == "feature"]
    within = table.group_by(group).agg(pl.len().alias(f"{group} rows"), pl.col(time).n_unique().alias(f"{group} times"))
    rows, times = within[f"{group} rows"], within[f"{group} times"]
    if not bool((rows == times).all()) or (rows.median() or 0) < 10:  # type: ignore[operator]
        return False
    if not others:
        return True
    levels = table.group_by(group).agg(pl.col(others).n_unique()).drop(group)
    return bool((levels.select(pl.all().max()).transpose().to_series() == 1).all())


def _label_column(label: pl.Series, column: Column, task: Task, classes: tuple[str, ...]) -> tuple[Column, pl.Series]:
    if classes:
        return replace(column, kind="boolean" if column.physical == "boolean" else "category"), as_text(label, column)
    column = replace(column, kind="number")
    if label.dtype == pl.String and not bool(label.cast(pl.Float64, strict=False).is_not_null().all()):
        bad = label.filter(label.cast(pl.Float64, strict=False).is_null())[0]
        raise DataError(
            f"The label '{label.name}' holds '{bad}', and a {task} needs numbers.",
            where=f"column '{label.name}'",
            allowed="Numbers, with a point for decimals.",
            do="Correct the values, or leave the task out of the brief.",
        )
    return column, convert(label, column)


def _ordered(table: pl.DataFrame, brief: Brief) -> pl.DataFrame:
    """Sort a table of series by series and time; two values at one time are refused."""
    time, group = brief.data.time, brief.data.group
    if time is None:
        raise DataError("A forecast needs a time column.", where="data.time", do="Name it in the brief: data.time.")
    keys = [time] if group is None else [group, time]
    double = table.select(pl.struct(keys).is_duplicated()).to_series()
    if bool(double.any()):
        row = table.filter(double).select(keys).row(0)
        shown = ", ".join(f"{k} = {v}" for k, v in zip(keys, row, strict=True))
        raise DataError(
            f"A series has two values at one time: {shown}.",
            allowed="One row for each series and time.",
            do="Add them up, or name the column that tells the series apart under data.group."
            if group is None
            else "Add them up, or leave one out.",
        )
    return table.sort(keys)
