"""Prometheus rules, written from this model's names and limits and from the metrics its server exposes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from modelyard.bundle.bundle import Bundle
from modelyard.monitoring.budgets import AVAILABILITY, DEFAULT_LIMIT, FAST, FEWEST, SLOW, Budget, budgets
from modelyard.serving.metrics import (
    ANSWERS_ROWS,
    GUARD_FAILURES,
    LOG_FAILURES,
    LOG_LOADED,
    PREDICTIONS,
    REQUESTS,
    SOURCE_FAILURES,
)

REFUSED_RATE, FALLBACK_RATE = 0.05, 0.001
WAITING_MINUTES = 10
"""How long written predictions may wait for their store: it is loaded every second, and tried again every minute."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert: the runbook it leads to, its expression, how long it must hold, and what it says."""

    kind: str
    alert: str
    expression: str
    hold: str
    severity: str
    summary: str
    limit: str


def rules_text(bundle: Bundle) -> str:
    """Return a Prometheus rule file for a bundle.

    Parameters
    ----------
    bundle : Bundle
        Its name and the brief's latency limit go into the rules.
    """
    name = bundle.manifest.name
    # One group, whose rules are evaluated in order: an alert reads the shares that were recorded just before it.
    shares = [rule for budget in budgets(bundle) for rule in budget.rules()]
    group = {"name": f"modelyard-{name}", "rules": [*shares, *(_plain(rule, name) for rule in alert_rules(bundle))]}
    return yaml.safe_dump({"groups": [group]}, sort_keys=False, width=120)


def alert_rules(bundle: Bundle) -> tuple[Rule, ...]:
    """Return the alerts of a bundle.

    Failed and slow requests are judged by how fast they use up a month's budget. Other shares are judged over 15
    minutes and again over 5, so that neither a single minute nor an hour long past fires, and never on fewer than
    `FEWEST` bad answers.
    """
    name = bundle.manifest.name
    limit = bundle.manifest.brief.latency or DEFAULT_LIMIT
    model = f'model="{name}"'
    asked = f"{model},{ANSWERS_ROWS}"
    everything = f"{REQUESTS}_count{{{asked}}}"
    failed, slow = budgets(bundle)
    return (
        *_burning("errors", ("ModelErrors", "ErrorBudgetBurns"), failed, f"{AVAILABILITY:.1%} without a 5xx", name),
        *_burning("latency", ("ModelSlow", "LatencyBudgetBurns"), slow, f"the limit {limit}", name),
        Rule(
            "refused",
            "ModelRefusesRows",
            _share(f'{REQUESTS}_count{{{asked},http_response_status_code="422"}}', everything, REFUSED_RATE),
            "10m",
            "ticket",
            f"{name}: more than {REFUSED_RATE:.0%} of requests do not fit the schema",
            f"422 on more than {REFUSED_RATE:.0%} of requests",
        ),
        Rule(
            "fallback",
            "ModelDoesNotAnswer",
            _share(f'{SOURCE_FAILURES}{{{model},source="model"}}', everything, FALLBACK_RATE),
            "5m",
            "page",
            f"{name}: the model fails, and something else answers or nothing",
            f"the model fails on more than {FALLBACK_RATE:.1%} of requests",
        ),
        Rule(
            "prediction_log",
            "PredictionLogDropped",
            f"sum(increase({LOG_FAILURES}{{{model}}}[10m])) > 0",
            "0m",
            "ticket",
            f"{name}: predictions are not written down",
            "any record dropped within 10 minutes",
        ),
        Rule(
            "log_not_loaded",
            "PredictionLogNotLoaded",
            f"time() - min({LOG_LOADED}{{{model}}}) > {60 * WAITING_MINUTES}",
            "5m",
            "ticket",
            f"{name}: what is written to the prediction log does not reach its store",
            f"nothing loaded into the store for {WAITING_MINUTES} minutes",
        ),
        Rule(
            "guard",
            "GuardFails",
            # A limit that could not be counted once is no news: what is gone for a quarter of an hour is.
            f"sum(increase({GUARD_FAILURES}{{{model}}}[5m])) > 0",
            "15m",
            "ticket",
            f"{name}: keys, issuer or limits cannot be reached",
            "something the guard needs is gone for 15 minutes",
        ),
        Rule(
            "no_traffic",
            "ModelNotAsked",
            f"sum(increase({PREDICTIONS}{{{model}}}[1h])) == 0 and sum(increase({PREDICTIONS}{{{model}}}[7d])) > 0",
            "15m",
            "ticket",
            f"{name}: no prediction for an hour",
            "no prediction for an hour, though the week had some",
        ),
        Rule(
            "down",
            "ModelDown",
            f"absent({PREDICTIONS}{{{model}}})",
            "5m",
            "page",
            f"{name}: no server can be scraped",
            "no server scraped for 5 minutes",
        ),
    )


def _burning(kind: str, alerts: tuple[str, str], budget: Budget, aim: str, name: str) -> Iterator[Rule]:
    """Yield the alert that pages and the one that can wait until the morning."""
    for alert, windows, hold, severity in zip(alerts, (FAST, SLOW), ("2m", "15m"), ("page", "ticket"), strict=True):
        expression = budget.burns(windows)
        if expression is not None:
            shares = [(times * budget.share, long) for times, long, _ in windows]
            spans = " or ".join(f"{100 * share:.3g} % in {long}" for share, long in shares if share < 1)
            summary = f"{name}: {aim} does not hold if this goes on"
            yield Rule(kind, alert, expression, hold, severity, summary, f"more than {spans}, and still so")


def _share(bad: str, everything: str, limit: float) -> str:
    """Return the condition that a share of requests is over a limit."""
    over = [f"sum(rate({bad}[{span}])) / sum(rate({everything}[{span}])) > {limit:g}" for span in ("5m", "15m")]
    return " and ".join([*over, f"sum(increase({bad}[15m])) >= {FEWEST}"])


def _plain(rule: Rule, name: str) -> dict[str, Any]:
    return {
        "alert": rule.alert,
        "expr": rule.expression,
        "for": rule.hold,
        "labels": {"severity": rule.severity, "model": name},
        "annotations": {"summary": rule.summary, "runbook": f"runbooks/{rule.kind}.md"},
    }
