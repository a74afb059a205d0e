"""watch: compare, raise alarms, and write the page and the runbooks a person acts by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.monitoring.alarm import Alarm
from modelyard.monitoring.page import monitoring_page
from modelyard.monitoring.runbooks import runbooks
from modelyard.monitoring.watch import alarms, compare
from modelyard.serving.predictions.predictions import Predictions


def watch_traffic(
    bundle: Bundle, traffic: Path | Predictions, previous: Path | None = None, out: Path | None = None
) -> tuple[tuple[Alarm, ...], list[Path]]:
    """Compare new rows with the reference.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    traffic : path or Predictions
        New rows: a file, or a prediction log or its folder.
    previous : path, optional
        Those of the window before.
    out : path, optional
        Where ``monitoring.html`` (and ``.md``) and the runbooks are written.

    Returns
    -------
    (tuple of Alarm, list of Path)
        The alarms, most urgent first, and the pages written.

    Raises
    ------
    DataError, WorkspaceError
        If the traffic cannot be read, or the pages cannot be written.
    """
    found = compare(bundle, traffic, previous=previous)
    raised = alarms(found)
    if out is None:
        return raised, []
    _, page = monitoring_page(bundle, found, raised).write(out, "monitoring")
    return raised, [page, *write_runbooks(bundle, out)]


def write_runbooks(bundle: Bundle, folder: Path) -> list[Path]:
    """Write a page for each kind of alarm under ``runbooks/``."""
    return [page.write(folder / "runbooks", kind)[1] for kind, page in runbooks(bundle).items()]


def alarm_lines(raised: Sequence[Alarm]) -> list[str]:
    """Return alarms as a terminal shows them."""
    lines = []
    for alarm in raised:
        lines.append(f"{alarm.severity:<8} {alarm.what}")
        lines.append(f"{'':<8} {alarm.do} (runbook: {alarm.runbook})")
    return lines or ["No alarm: the new rows look like those the model learnt from."]
