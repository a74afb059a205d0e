"""watch: what changed in the world of a served model, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.core.canonical import from_json
from modelyard.core.errors import BundleError
from modelyard.data.drift import ACTION, FLOOR, WARNING, ColumnDrift, Shift, drift
from modelyard.data.profile import PREDICTION, Profile
from modelyard.data.source import Table
from modelyard.monitoring.alarm import Alarm, Severity
from modelyard.monitoring.window import Misfit, windows
from modelyard.registry.release import Release
from modelyard.serving.predictions.predictions import Predictions

_LIMITS = {"action": ACTION, "warning": WARNING, "watch": FLOOR}
_MANY = 0.01
"""Share of rows that do not fit from which somebody should act today."""
_URGENCY: tuple[Severity, ...] = ("action", "warning", "watch")
_TESTS = {"ks": "Kolmogorov-Smirnov", "chi2": "chi-squared"}


@dataclass(frozen=True, slots=True)
class Drift:
    """New rows against the rows the model learnt from.

    Attributes
    ----------
    rows, reference : int
        How many of each.
    before : int
        Rows of the window before; 0 where there is none.
    columns : tuple of ColumnDrift
        In the reference's order; the prediction is last and named "prediction".
    misfits : tuple of Misfit
        What does not fit the schema.
    """

    rows: int
    reference: int
    before: int
    columns: tuple[ColumnDrift, ...]
    misfits: tuple[Misfit, ...]


def watch(
    release_or_bundle: Release | Bundle | str | Path,
    traffic: Table | Predictions,
    *,
    previous: Table | None = None,
    days: float = 7.0,
) -> tuple[Alarm, ...]:
    """Look at new rows and raise alarms.

    Parameters
    ----------
    release_or_bundle : Release, Bundle or path
        What is served.
    traffic : path, table or Predictions
        New rows as a file or table, with or without labels; or a prediction log or its folder, of which the last `days`
        are looked at, and the `days` before them as the window before.
    previous : path or table, optional
        The window before: a small drift that both show is watched.
    days : float
        Length of a prediction log's window.

    Returns
    -------
    tuple of Alarm
        Most urgent first; empty when nothing changed. Where no column could be compared, an alarm says so.

    Raises
    ------
    BundleError
        If the bundle is damaged or has no reference.
    DataError, WorkspaceError
        If the traffic cannot be read at all; rows that do not fit the schema are an alarm and no error.
    """
    return alarms(compare(release_or_bundle, traffic, previous=previous, days=days))


def compare(
    release_or_bundle: Release | Bundle | str | Path,
    rows: Table | Predictions,
    *,
    previous: Table | None = None,
    days: float = 7.0,
) -> Drift:
    """Compare new rows with the reference, column by column.

    Parameters
    ----------
    release_or_bundle, rows, previous, days
        See `watch`.

    Raises
    ------
    BundleError, DataError, WorkspaceError
        See `watch`.
    """
    bundle = _bundle(release_or_bundle)
    reference = reference_profile(bundle)
    present, before = windows(bundle, reference, rows, days)
    if previous is not None:
        before = windows(bundle, reference, previous, days)[0]
    earlier = before.profile() if before is not None and before.rows else None
    columns = drift(reference, present.profile(), earlier) if present.rows else ()
    return Drift(present.rows, reference.rows, 0 if earlier is None else earlier.rows, columns, present.misfits())


def alarms(found: Drift) -> tuple[Alarm, ...]:
    """Return the alarms of a comparison, most urgent first."""
    if not found.rows:
        return (
            Alarm(
                "no_traffic", "warning", None, 0.0, 1.0,
                "There are no rows to look at.", "Check that callers reach the server and that it writes its log.",
                "no_traffic",
            ),
        )  # fmt: skip
    compared = [] if found.columns else [_nothing_compared(found)]
    raised = [
        *compared,
        *(_schema(misfit, found.rows) for misfit in found.misfits),
        *(alarm for column in found.columns for alarm in _column(column)),
    ]
    return tuple(sorted(raised, key=lambda a: (_URGENCY.index(a.severity), -a.figure / a.limit)))


def reference_profile(bundle: Bundle) -> Profile:
    """Return what the rows looked like in development, of whatever new rows can be compared with.

    Time columns are left out, as they only ever grow, and the predictions of a forecast, which are made for every row
    before it comes.

    Raises
    ------
    BundleError
        If the bundle has none.
    """
    path = bundle.path / "profile.json"
    try:
        profile = from_json(path.read_bytes(), Profile)
    except (OSError, msgspec.MsgspecError) as error:
        raise BundleError("The bundle's reference profile cannot be read.", where=f"{path}: {error}") from error
    # New rows are later than old ones: that a time column moved on says nothing.
    left = {c.name for c in bundle.schema.columns if c.role == "time"}
    if bundle.schema.task == "forecast":
        left.add(PREDICTION)
    return Profile(profile.rows, tuple(c for c in profile.columns if c.name not in left))


def p_text(value: float) -> str:
    """Return a p-value as a reader wants it: exact digits mean nothing where it is tiny."""
    return "< 1e-15" if value < 1e-15 else f"= {value:.2g}"


def _bundle(source: Release | Bundle | str | Path) -> Bundle:
    if isinstance(source, Bundle):
        return source
    return load_bundle(source.bundle if isinstance(source, Release) else source)


def _nothing_compared(found: Drift) -> Alarm:
    return Alarm(
        "not_compared", "watch", None, 0.0, 1.0,
        f"Nothing could be compared: {found.rows:,} rows hold no column that the reference has.",
        "Compare what came true with the forecast, or bring the columns; whether anything changed is not known.",
        "not_compared",
    )  # fmt: skip


def _column(column: ColumnDrift) -> Iterator[Alarm]:
    if column.verdict != "stable":
        yield _drift(column, column.values, column.verdict)
    if column.missing_verdict != "stable":
        yield _missing(column, column.missing, column.missing_verdict)


def _drift(column: ColumnDrift, found: Shift, verdict: Severity) -> Alarm:
    evidence = f"PSI* {found.corrected:.3f} (raw {found.psi:.3f}), {_TESTS[found.test]} p {p_text(found.p_value)}"
    predicted = column.name == PREDICTION
    what = "The predictions drifted" if predicted else f"'{column.name}' drifted"
    do = {
        "action": "Look for the cause today; retrain or roll back if predictions suffer.",
        "warning": "Look for the cause this week.",
        "watch": "Small, but there in two windows: see whether it grows.",
    }[verdict]
    kind = "prediction_drift" if predicted else "drift"
    return Alarm(
        kind, verdict, None if predicted else column.name, found.corrected, _LIMITS[verdict],
        f"{what}: {evidence}.", do, kind,
    )  # fmt: skip


def _missing(column: ColumnDrift, found: Shift, verdict: Severity) -> Alarm:
    return Alarm(
        "missing", verdict, column.name, found.corrected, _LIMITS[verdict],
        f"'{column.name}' is missing in {column.missing_now:.1%} of rows, {column.missing_then:.1%} in the reference "
        f"(PSI* {found.corrected:.3f}, p {p_text(found.p_value)}).",
        "Ask whoever fills the column what changed.",
        "missing",
    )  # fmt: skip


def _schema(misfit: Misfit, rows: int) -> Alarm:
    share = misfit.rows / rows
    shown = ", ".join(repr(v) for v in misfit.examples)
    name = misfit.column
    few: Severity = "action" if share > _MANY else "warning"
    count = f"{misfit.rows:,} of {rows:,} rows"
    told: dict[str, tuple[str, str, Severity]] = {
        "absent": (f"'{name}' is absent.", "Bring the column back: without it the model answers nothing.", "action"),
        "value": (
            f"'{name}' holds values of another type in {count}: {shown}.",
            "Correct them where they arise: the server refuses such rows.", few,
        ),
        "limit": (
            f"'{name}' holds values that the brief does not allow in {count}: {shown}.",
            "Correct them where they arise, or widen the limit: the server refuses such rows.", few,
        ),
        "missing": (
            f"'{name}' is missing in {count}; it never was where the model learnt.",
            "Fill it, or train again with such rows: the server refuses them.", few,
        ),
        "series": (
            f"There is no forecast for {count}, whose '{name}' it does not know: {shown}.",
            "Train again with these series: the server refuses such rows.", few,
        ),
        "time": (
            f"There is no forecast for {count}, whose '{name}' lies outside the times it was made for: {shown}.",
            "Ask for times ahead of the last training; where they are past, train again.", few,
        ),
        "level": (
            f"'{name}' holds levels never seen before in {count}: {shown}.",
            "Train again once they are common: until then the model treats them all alike.", "watch",
        ),
        "range": (
            f"'{name}' lies outside the range it ever had in {count}, as far as {' and '.join(misfit.examples)}.",
            "Ask whether its unit changed; trees treat such rows like the nearest they know.", "warning",
        ),
    }  # fmt: skip
    what, do, severity = told[misfit.kind]
    kind = {"level": "new_level", "range": "range"}.get(misfit.kind, "schema")
    return Alarm(kind, severity, name, share, 0.01 if kind == "range" else 1 / rows, what, do, kind)
