"""Horizon: a forecast asked for by series and number of steps, and not by every series and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.core.errors import Problem
from modelyard.serving.problem import HttpProblem, bad_fields

_MOST_STEPS = 20_000
"""Steps of one answer, over all its series: a short body may ask for very many."""
_SHAPE = '{"series": name or [name, ...], "horizon": steps}'


def asks_ahead(sent: Mapping[str, Any], bundle: Bundle) -> bool:
    """Say whether a body asks by horizon: a row has no such field, unless a column is called so."""
    return "horizon" in sent and isinstance(bundle.runtime, ArraysRuntime) and not _is_column("horizon", bundle)


def rows_ahead(sent: Mapping[str, Any], bundle: Bundle) -> list[dict[str, Any]]:
    """Return a row for each step ahead of each series.

    Parameters
    ----------
    sent : mapping
        ``{"series": "north", "horizon": 7}``, a list of series, or no ``series`` where the bundle has one only.
    bundle : Bundle
        Of a forecast.

    Returns
    -------
    list of dict
        The steps of the first series, then those of the next.

    Raises
    ------
    HttpProblem
        400 if the body holds anything else.
        422 for a series it does not have and more steps than were forecast.
    """
    runtime = bundle.runtime
    if not isinstance(runtime, ArraysRuntime) or not sent.keys() <= {"series", "horizon"}:
        raise HttpProblem(400, f"A forecast is asked for as {_SHAPE}, and with nothing else.")
    most, steps = runtime.horizon, sent["horizon"]
    problems = []
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= most:
        problems.append(Problem("/horizon", f"'horizon' is {steps!r:.60}", f"A whole number, 1 to {most}."))
    many = isinstance(sent.get("series"), list)
    if "series" in sent:
        named = sent["series"] if many else [sent["series"]]
    else:
        named = runtime.series if len(runtime.series) == 1 else []
    if not named:
        raise HttpProblem(400, f"Name one or more series: {_SHAPE}. There are {len(runtime.series):,}.")
    if len(named) * most > _MOST_STEPS:
        raise HttpProblem(413, f"That may be more than {_MOST_STEPS:,} steps; ask for fewer series.")
    known = set(runtime.series)
    for i, name in enumerate(named):
        if not isinstance(name, str) or name not in known:
            allowed = f"One of {len(known):,} series, such as '{runtime.series[0]}'."
            problems.append(
                Problem(f"/series/{i}" if many else "/series", f"No series is called {name!r:.60}", allowed)
            )
    if problems:
        raise bad_fields(problems)
    return [row for name in named for row in runtime.ahead(name, steps)]


def forecasts(
    rows: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]], steps: int, bundle: Bundle
) -> list[dict[str, Any]]:
    """Return the answers to `rows_ahead`, by series: each step with its time, under the time column's name."""
    group = next((c.name for c in bundle.schema.columns if c.role == "group"), None)
    time = next(c.name for c in bundle.schema.columns if c.role == "time")
    told = [{time: row[time], **answer} for row, answer in zip(rows, answers, strict=True)]
    return [
        {**({} if group is None else {"series": rows[first][group]}), "steps": told[first : first + steps]}
        for first in range(0, len(rows), steps)
    ]


def _is_column(name: str, bundle: Bundle) -> bool:
    return any(column.name == name for column in bundle.schema.columns)
