"""init: look at a table, say what was seen, and write a brief the user only has to correct."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from modelyard.brief.brief import Brief, DataBrief
from modelyard.brief.write import brief_text
from modelyard.core.errors import BriefError
from modelyard.core.files import write_atomic
from modelyard.data.dataset import Dataset
from modelyard.data.finding import Finding
from modelyard.data.read import read_data
from modelyard.flow.prepare import prepare


def init(data: Path, label: str, out: Path | None = None, *, force: bool = False) -> list[str]:
    """Profile a table and write a commented brief beside the present folder.

    Parameters
    ----------
    data : path
        The table.
    label : str
        The column to predict.
    out : path, optional
        The brief's file; default the table's name with ``.yaml`` in the present folder.
    force : bool
        Write over a brief that is there.

    Returns
    -------
    list of str
        What to tell the user, a line each.

    Raises
    ------
    BriefError
        If the brief is there already.
    DataError
        If the table cannot be read.
    """
    target = out or Path(data.name).with_suffix(".yaml")
    if target.exists() and not force:
        raise BriefError(f"There is a brief called {target} already.", do="Name another with -o, or add --force.")
    began = time.monotonic()
    asked = Brief(use_case=data.stem, data=DataBrief(path=str(data.absolute()), label=label), source="--label")
    table = read_data(None, asked)
    series = _series(table)
    if series is not None:
        asked = replace(asked, data=replace(asked.data, group=series[0], time=series[1]))
        table = read_data(None, asked)
    seconds = time.monotonic() - began
    lines = [
        f"Read {len(table):,} rows x {table.frame.width} columns in {seconds:.1f} s "
        f"(sha256 {table.fingerprint[:4]}...).",
        f"  label      {_label(table)}",
    ]
    _, _, findings = prepare(asked, table)
    entity = next((f for f in findings if f.kind == "entity"), None)
    moment = asked.data.time or _moment(table)
    group = asked.data.group or (None if entity is None else entity.column)
    comments = {}
    if series is not None:
        lines.append(f"  forecast   {label} of every {group or 'moment'} over {moment}, one value a date")
    elif entity is not None:
        comments["data.group"] = entity.what
        lines.append(f"  entity     {entity.what}")
    if moment is not None:
        comments["data.time"] = "rows are split forward in time: what is tested comes after what is learnt"
        lines.append(f"  time       {_span(table, moment)}")
    lines += [f"  careful    {f.what}" for f in findings if f.severity != "note" and f is not entity]
    comments["data.drop"] = _doubtful(findings)
    brief = replace(
        asked,
        source="python",
        data=replace(
            asked.data,
            path=os.path.relpath(data, target.absolute().parent),
            group=group,
            time=moment,
        ),
    )
    write_atomic(target.absolute(), brief_text(brief, {k: v for k, v in comments.items() if v}))
    lines.append(f"Wrote {target} (commented; your editor completes it). Next: modelyard plan {target}")
    return lines


def _label(table: Dataset) -> str:
    column = table.schema.label
    name = "" if column is None else column.name
    if not table.schema.classes:
        truth = table.truth()
        return f"{name}, a number from {truth.min():g} to {truth.max():g}"
    truth = table.truth()
    if len(table.schema.classes) == 2:
        return f'{name}, 2 levels, {100 * truth.mean():.1f} % "{table.schema.classes[1]}"'
    return f"{name}, {len(table.schema.classes)} levels"


def _moment(table: Dataset) -> str | None:
    """Return the one date that says when a row was known; a date of birth does not."""
    dates = [c.name for c in table.schema.columns if c.kind == "date" and c.role == "feature"]
    dates = [name for name in dates if not any(word in name.lower() for word in ("birth", "dob", "born"))]
    return dates[0] if len(dates) == 1 else None


def _series(table: Dataset) -> tuple[str | None, str] | None:
    """Return the columns that name the series and the moment, where the table holds one value for each pair."""
    moment = _moment(table)
    if moment is None or table.schema.task != "regression":
        return None
    if table.frame[moment].is_unique().all():
        return (None, moment) if table.frame.width == 2 else None
    names = [c.name for c in table.schema.columns if c.physical in {"string", "integer"} and c.role != "label"]
    for name in names:
        repeats = len(table) >= 8 * table.frame[name].n_unique()
        if repeats and not table.frame.select(name, moment).is_duplicated().any():
            return name, moment
    return None


def _span(table: Dataset, name: str) -> str:
    series = table.frame[name]
    return f"{name}, {str(series.min())[:10]} to {str(series.max())[:10]}"


def _doubtful(findings: tuple[Finding, ...]) -> str:
    leaks = [str(f.column) for f in findings if f.severity == "stop"]
    if not leaks:
        return ""
    return f"may be recorded after the outcome: {', '.join(leaks)}; name each here or under keep"
