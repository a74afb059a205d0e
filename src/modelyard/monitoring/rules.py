"""Prometheus alert rules, written from this model's names and limits and from the metrics its server exposes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from prometheus_client.utils import floatToGoString

from modelyard.brief.brief import Latency
from modelyard.bundle.bundle import Bundle
from modelyard.serving.metrics import LOG_FAILURES, PREDICTIONS, REQUESTS, SOURCE_FAILURES

ROUTE = "/v1/predict"
ERROR_RATE, REFUSED_RATE, FALLBACK_RATE = 0.01, 0.05, 0.001
FEWEST = 3
DEFAULT_LIMIT = Latency()
"""What latency is watched for where the brief names no limit."""


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
    rules = [_plain(rule, name) for rule in alert_rules(bundle)]
    return yaml.safe_dump({"groups": [{"name": f"modelyard-{name}", "rules": rules}]}, sort_keys=False, width=120)


def alert_rules(bundle: Bundle) -> tuple[Rule, ...]:
    """Return the alerts of a bundle.

    A share is judged over 15 minutes and again over 5, so that neither a single minute nor an hour long past fires, and
    never on fewer than `FEWEST` bad answers.
    """
    name = bundle.manifest.name
    limit = bundle.manifest.brief.latency or DEFAULT_LIMIT
    model = f'model="{name}"'
    asked = f'{model},http_route="{ROUTE}"'
    everything = f"{REQUESTS}_count{{{asked}}}"
    end: str = floatToGoString(limit.milliseconds / 1e3)  # type: ignore[no-untyped-call]
    within = f'{REQUESTS}_bucket{{{asked},le="{end}"}}'
    slow = round(1 - limit.percentile / 100, 6)
    return (
        Rule(
            "errors",
            "ModelErrors",
            _share(f'{REQUESTS}_count{{{asked},http_response_status_code=~"5.."}}', everything, ERROR_RATE),
            "2m",
            "page",
            f"{name}: more than {ERROR_RATE:.0%} of predictions fail",
            f"5xx on more than {ERROR_RATE:.0%} of requests",
        ),
        Rule(
            "latency",
            "ModelSlow",
            _share(everything, everything, slow, less=within),
            "5m",
            "page",
            f"{name}: the limit {limit} does not hold",
            f"more than {100 * slow:g} % of answers take over {limit.milliseconds:g} ms",
        ),
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


def _share(bad: str, everything: str, limit: float, less: str | None = None) -> str:
    """Return the condition that a share of requests is over a limit; `less` is taken from the bad ones."""

    def counted(kind: str, span: str) -> str:
        more = f"sum({kind}({bad}[{span}]))"
        return more if less is None else f"({more} - sum({kind}({less}[{span}])))"

    over = [f"{counted('rate', span)} / sum(rate({everything}[{span}])) > {limit:g}" for span in ("5m", "15m")]
    return " and ".join([*over, f"{counted('increase', '15m')} >= {FEWEST}"])


def _plain(rule: Rule, name: str) -> dict[str, Any]:
    return {
        "alert": rule.alert,
        "expr": rule.expression,
        "for": rule.hold,
        "labels": {"severity": rule.severity, "model": name},
        "annotations": {"summary": rule.summary, "runbook": f"runbooks/{rule.kind}.md"},
    }
