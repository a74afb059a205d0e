"""Deliverable 6: what of this model is watched, against what, what fires when, and what to do then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import listed
from modelyard.core.markup import (
    Block,
    Code,
    Details,
    Document,
    Heading,
    Listing,
    Note,
    Table,
    Text,
    literal,
)
from modelyard.data.drift import ACTION, FALSE_DISCOVERIES, FLOOR, WARNING
from modelyard.data.profile import PREDICTION, ColumnProfile, Profile
from modelyard.monitoring.budgets import DEFAULT_LIMIT
from modelyard.monitoring.expectation import Expectation, expect
from modelyard.monitoring.pictures import level_name, picture
from modelyard.monitoring.rules import alert_rules
from modelyard.monitoring.watch import reference_profile

_WINDOWS = (200, 2_000)
_DAYS = 7
_MOST_ROWS = 1_000_000
_PICTURES, _MOST_PICTURES = 12, 100
"""Pictures shown at once, and drawn at all: a page of thousands opens on no phone, and its table holds every column."""


def monitoring_document(bundle: Bundle, *, rules: str, runbooks: Mapping[str, Document]) -> Document:
    """Build the monitoring document.

    Parameters
    ----------
    bundle : Bundle
        What is watched.
    rules : str
        Text of the Prometheus rules.
    runbooks : mapping of str to Document
        A page for each kind of alarm.
    """
    reference = reference_profile(bundle)
    simulated = [expect(reference, rows) for rows in _sizes(bundle)] if reference.columns else []
    blocks: list[Block] = [
        *_watching(bundle, reference),
        *_reference(reference),
        *_decision(),
        *_silence(simulated),
        *_alerts(bundle, rules),
        *_runbooks(runbooks),
        *_not_yet(),
    ]
    return Document(f"Monitoring of {literal(bundle.manifest.name)}", _answer(bundle, reference, simulated), blocks)


def _sizes(bundle: Bundle) -> list[int]:
    load = bundle.manifest.brief.requests_per_day
    week = [] if load is None else [min(_MOST_ROWS, max(1, round(_DAYS * load)))]
    return sorted({*_WINDOWS, *week})


def _answer(bundle: Bundle, reference: Profile, simulated: list[Expectation]) -> list[Block]:
    asked = bundle.manifest.brief.latency
    limit = f"{DEFAULT_LIMIT}, as the brief names no limit" if asked is None else str(asked)
    windows, false = sum(e.windows for e in simulated), sum(e.alarms for e in simulated)
    columns = sum(c.name != PREDICTION for c in reference.columns)
    predictions = " and the predictions" if columns < len(reference.columns) else ""
    against = f" against {reference.rows:,} development rows" if reference.columns else ""
    quiet = (
        f" In {windows:,} simulated windows without drift the rule for drift raised {false} false "
        f"alarm{'' if false == 1 else 's'}."
        if simulated
        else ""
    )
    return [
        Note(
            "info",
            f"Watched: {columns or 'no'} column{'' if columns == 1 else 's'}{predictions}{against}, the rows' form, "
            f"and the server's errors, speed ({limit}) and log.{_unwatched(bundle)}{quiet}",
        ),
        Code(f"modelyard watch {bundle.manifest.name} yard/predictions -o monitoring/", "sh"),
    ]


def _unwatched(bundle: Bundle) -> str:
    if bundle.schema.task != "forecast":
        return ""
    return (
        " Not watched: the predictions, which are made beforehand, and what came true; measure that with "
        "`modelyard evaluate`."
    )


def _watching(bundle: Bundle, reference: Profile) -> list[Block]:
    name = bundle.manifest.name
    return [
        Heading("How to watch"),
        Text(
            "`modelyard watch` reads a server's prediction log (the last seven days against the reference, and the "
            "seven before them as the window before) or any file of rows, with or without labels. It exits with 2 "
            "where an alarm calls for action, so that a scheduler can tell. The counts it keeps are a few for each "
            "column, whatever the number of rows."
        ),
        Code(
            f"modelyard watch {name} yard/predictions -o monitoring/\n"
            f"modelyard watch {name} this-week.parquet --previous last-week.parquet",
            "sh",
        ),
        Table(
            ("What", "How", "Raises"),
            [
                *_compared(bundle, reference),
                ("errors, speed, refusals, fallback, log, silence", "Prometheus, see below", "alerts"),
            ],
        ),
    ]


def _compared(bundle: Bundle, reference: Profile) -> list[tuple[str, str, str]]:
    """Return what of the rows is watched, how, and what that raises."""
    form = ("columns gone, values of another type, gaps where there never were any", "the bundle's schema", "schema")
    if bundle.schema.task == "forecast":
        mix = [(f"rows of each {literal(c.name)}", "PSI* and chi-squared", "drift") for c in reference.columns]
        return [*mix, form, ("series and times it was not made for", "the forecast itself", "schema")]
    return [
        ("each column's values", "PSI* and Kolmogorov-Smirnov or chi-squared", "drift"),
        ("each column's missing share", "PSI* and chi-squared", "missing"),
        ("the predictions", "the bundle scores the new rows; as a column", "prediction_drift"),
        form,
        ("numbers beyond the range, levels never seen", "the reference; the schema", "range, new_level"),
    ]


def _reference(reference: Profile) -> list[Block]:
    rows = [
        (literal(c.name), c.kind, f"{_share(c):.1%}", "" if c.mean is None else _value(c, c.mean, 4), _range(c))
        for c in reference.columns
    ]
    # The prediction first: it is what the rest is watched for.
    ordered = sorted(reference.columns, key=lambda c: c.name != PREDICTION)
    drawn = ((c.name, picture({"reference": c})) for c in ordered)
    shown = list(islice(((name, block) for name, block in drawn if block is not None), _MOST_PICTURES))
    pictures = [block for name, figure in shown[:_PICTURES] for block in (Heading(literal(name), 3), figure)]
    rest = [block for name, figure in shown[_PICTURES:] for block in (Heading(literal(name), 3), figure)]
    return [
        Heading("The reference"),
        Text(
            f"Counts of {reference.rows:,} development rows, those that were scored by models that had not seen them, "
            "shipped in the bundle as `profile.json`; no row is kept."
        ),
        Details(
            f"{len(rows)} columns", [Table(("column", "kind", "missing", "mean", "from, to or levels"), rows, "llrrl")]
        ),
        *pictures,
        *([Details(f"{len(rest) // 2} more columns", rest)] if rest else []),
    ]


def _share(column: ColumnProfile) -> float:
    return column.missing / max(1, column.missing + sum(column.counts))


def _range(column: ColumnProfile) -> str:
    if column.low is not None and column.high is not None:
        return f"{_value(column, column.low)} to {_value(column, column.high)}"
    return literal(listed([level_name(column, level) for level in column.levels], 5))


def _value(column: ColumnProfile, value: float, digits: int = 6) -> str:
    """Return a number, or the day of a date, which is counted in seconds."""
    if column.kind == "date":
        return f"{datetime(1970, 1, 1) + timedelta(seconds=value):%Y-%m-%d}"
    return f"{value:.{digits}g}"


def _decision() -> list[Block]:
    return [
        Heading("What fires when"),
        Text(
            "A difference counts when it is large enough to matter and more than chance: either alone cries wolf. "
            "PSI* is PSI less what chance adds; significant means found among all columns with a false discovery "
            f"rate of {FALSE_DISCOVERIES:g}."
        ),
        Table(
            ("severity", "when"),
            [
                ("action", f"significant and PSI* over {ACTION:g}; or over 1 % of rows do not fit the schema"),
                (
                    "warning",
                    f"significant and PSI* over {WARNING:g}; or over 1 % of rows beyond the range and more than chance",
                ),
                ("watch", f"significant and PSI* over {FLOOR:g} in two windows in a row; or levels never seen"),
            ],
        ),
    ]


def _silence(simulated: list[Expectation]) -> list[Block]:
    if not simulated:
        return []
    rows = [(f"{e.rows:,}", f"{e.windows}", f"{e.alarms}", f"{e.by_psi:,}", f"{e.by_test:,}") for e in simulated]
    return [
        Heading("How quiet it is"),
        Text(
            "Simulated for this document: windows drawn from this model's own reference, without any drift, so that "
            "every alarm is a false one. Beside it, what the usual rules would have raised on the same windows."
        ),
        Table(("rows a window", "windows", "false alarms", "by PSI > 0.1 alone", "by p < 0.01 alone"), rows, "rrrrr"),
        Text(
            "A season the development rows do not cover is not noise and does raise alarms: train on a whole year, "
            "or expect them and note them. Columns that move together raise theirs together, so count causes, not "
            "alarms."
        ),
    ]


def _alerts(bundle: Bundle, rules: str) -> list[Block]:
    rows = [(r.alert, r.limit, r.hold, r.severity, f"[{r.kind}](runbooks/{r.kind}.md)") for r in alert_rules(bundle)]
    return [
        Heading("Alerts of the server"),
        Table(("alert", "fires at", "after", "severity", "runbook"), rows),
        Details("The Prometheus rules", [Code(rules, "yaml")]),
    ]


def _runbooks(runbooks: Mapping[str, Document]) -> list[Block]:
    return [
        Heading("Runbooks"),
        Text("A page for each kind of alarm: what it means, what to look at first, what to do, when to roll back."),
        *(Details(f"{kind}: {page.title}", [*page.answer, *page.blocks]) for kind, page in runbooks.items()),
    ]


def _not_yet() -> list[Block]:
    return [
        Heading("What is not here yet"),
        Listing(
            (
                "An alarm on true labels that come later: `modelyard labels` brings them in, and `modelyard log export "
                "--labelled` with `modelyard evaluate` says what the model is worth on them.",
                "A floor measured on the reference's own weeks: what is watched starts at the same PSI* for every "
                "model.",
                "Drift as a metric: it is judged by `modelyard watch`, on a schedule, not by the server.",
                "Sending alarms anywhere: Prometheus does for the server's, the exit code for the rest.",
            )
        ),
    ]
