"""Triggers: what asks for the next brief, from which threshold on, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

COOL_DOWN_DAYS = 7.0
"""Days after a retraining in which alarms propose nothing: the new model has not met the world yet."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One kind of alarm and what it asks for.

    Attributes
    ----------
    kind : str
        As in `modelyard.monitoring.alarm.Alarm`; or "schedule", "brief".
    threshold : str
        From which figure on.
    follows : {"retrain", "repair"}
        ``repair``: the rows are at fault, and a model retrained on them would learn the fault.
    what : str
        What follows, in a sentence.
    """

    kind: str
    threshold: str
    follows: Literal["retrain", "repair"]
    what: str


TRIGGERS = (
    Trigger(
        "performance",
        "severity action: the metric on delayed labels has fallen below the target (no alarm of ours says so yet: "
        "`modelyard evaluate` on labelled rows does)",
        "retrain",
        "The next brief is proposed.",
    ),
    Trigger(
        "drift",
        "severity action: adjusted PSI over 0.25 in a column, significant at a false discovery rate of 0.01",
        "retrain",
        "The next brief is proposed.",
    ),
    Trigger(
        "prediction_drift",
        "severity action: adjusted PSI of the predictions over 0.25, significant at the same rate",
        "retrain",
        "The next brief is proposed.",
    ),
    Trigger(
        "missing",
        "severity action: a column is missing far more often than in development",
        "repair",
        "The source of the column is repaired first; nothing is retrained on broken rows.",
    ),
    Trigger(
        "schema",
        "any: a column is gone, of another type, or empty where it never was",
        "repair",
        "The source is repaired, or the brief is changed by a person.",
    ),
    Trigger("schedule", "weekly, from the workflow", "retrain", "The same brief on the rows there are then."),
    Trigger("brief", "any change of the brief in the repository", "retrain", "The workflow develops it."),
)


def trigger_rows() -> tuple[tuple[str, str, str], ...]:
    """Return the triggers as (what, threshold, what follows), as a document shows them."""
    rest = f"After a retraining, alarms propose nothing for {COOL_DOWN_DAYS:g} days."
    return (
        *((one.kind.replace("_", " "), one.threshold, one.what) for one in TRIGGERS),
        ("cool-down", f"{COOL_DOWN_DAYS:g} days", rest),
    )
