"""Alarms in, the next brief out, or none, and the reason either way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelyard.brief.brief import Brief
from modelyard.monitoring.alarm import Alarm
from modelyard.retraining.propose import consider, propose
from modelyard.retraining.triggers import COOL_DOWN_DAYS, TRIGGERS, trigger_rows

BRIEF = Brief(use_case="readmission", seed=7)
NOW = datetime(2026, 3, 12, tzinfo=UTC)


def alarm(kind: str = "drift", severity: str = "action") -> Alarm:
    return Alarm(kind, severity, "age", 0.31, 0.25, f"{kind} in age: 0.31.", "Look at the source.", kind)


def test_no_alarm_proposes_nothing():
    assert propose(BRIEF, ()) is None


@pytest.mark.parametrize("severity", ["watch", "warning"])
def test_what_asks_for_no_action_proposes_nothing(severity):
    found = consider(BRIEF, [alarm(severity=severity)])
    assert (found.brief, found.why) == (None, "None of 1 alarms asks for action.")


@pytest.mark.parametrize("kind", [t.kind for t in TRIGGERS if t.follows == "retrain"])
def test_an_alarm_that_asks_for_retraining_proposes_the_same_question(kind):
    found = consider(BRIEF, [alarm(kind), alarm(severity="watch")])
    assert found.brief == BRIEF
    assert found.why == f"{kind} in age: 0.31."
    assert len(found.alarms) == 1
    assert "approve" in found.do


@pytest.mark.parametrize("kind", ["missing", "schema", "a_kind_nobody_knows"])
def test_broken_rows_are_repaired_before_anything_learns_from_them(kind):
    found = consider(BRIEF, [alarm("drift"), alarm(kind)])
    assert found.brief is None
    assert found.why == f"The rows must be repaired first: {kind} in age: 0.31."
    assert found.do == "Look at the source."


def test_after_a_retraining_alarms_cool_down():
    for days, proposed in ((0, False), (COOL_DOWN_DAYS - 0.01, False), (COOL_DOWN_DAYS, True)):
        last = NOW - timedelta(days=days)
        assert (consider(BRIEF, [alarm()], last=last, now=NOW).brief is not None) is proposed
    assert "cooling down until 2026-03-18" in consider(BRIEF, [alarm()], last=NOW - timedelta(days=1), now=NOW).why


def test_the_table_names_every_trigger():
    rows = trigger_rows()
    assert len(rows) == len(TRIGGERS) + 1
    assert all(all(row) for row in rows)
