"""Alarm: something that changed in the world of a served model, how sure that is, and the page that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["action", "warning", "watch"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that changed.

    Attributes
    ----------
    kind : str
        drift, missing, schema, prediction_drift, performance, ...
    severity : {"action", "warning", "watch"}
        How urgent.
    column : str or None
        The column it speaks of.
    figure, limit : float
        What was measured, and the limit it passed.
    what, do : str
        One sentence each.
    runbook : str
        Name of the runbook page's section.
    """

    kind: str
    severity: Severity
    column: str | None
    figure: float
    limit: float
    what: str
    do: str
    runbook: str
