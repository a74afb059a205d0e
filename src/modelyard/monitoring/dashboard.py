"""A Grafana dashboard of one model, from the metrics its server exposes and the shares that the rules record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.core.names import slug
from modelyard.monitoring.budgets import AVAILABILITY, DEFAULT_LIMIT, budgets
from modelyard.monitoring.rules import WAITING_MINUTES
from modelyard.serving.metrics import (
    ANSWERS_ROWS,
    IN_FLIGHT,
    LOG_FAILURES,
    LOG_LOADED,
    LOG_RECORDS,
    PREDICTIONS,
    REQUESTS,
    SOURCE_FAILURES,
)

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8
_GREEN, _RED = "green", "red"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: its title, its unit, its expressions by legend, and the value from which it is drawn red."""

    title: str
    about: str
    unit: str
    queries: Mapping[str, str]
    limit: float | None = None


def dashboard_text(bundle: Bundle) -> str:
    """Return the dashboard as JSON that Grafana imports; the data source is chosen on its page."""
    return json.dumps(dashboard(bundle), indent=2) + "\n"


def dashboard(bundle: Bundle) -> dict[str, Any]:
    """Return the dashboard of a bundle's model.

    Parameters
    ----------
    bundle : Bundle
        Its name and the brief's latency limit go into the panels.
    """
    name = bundle.manifest.name
    return {
        "uid": f"modelyard-{slug(name)}"[:40],
        "title": f"Model {name}",
        "description": "Written by modelyard. The shares are those that prometheus/rules.yaml records.",
        "tags": ["modelyard", name],
        "timezone": "browser",
        "editable": True,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_drawn(panel, number) for number, panel in enumerate(panels(bundle))],
    }


def panels(bundle: Bundle) -> tuple[Panel, ...]:
    """Return what is shown, the most urgent first."""
    limit = bundle.manifest.brief.latency or DEFAULT_LIMIT
    model = f'model="{bundle.manifest.name}"'
    asked = f"{model},{ANSWERS_ROWS}"
    failed, slow = budgets(bundle)
    spans = ("5m", "1h", "6h", "3d")
    # Processes carry no name of a model: those are taken that answer for it.
    mine = f"and on (instance, job) {PREDICTIONS}{{{model}}}"
    quantiles = {
        f"p{q:g}": f"histogram_quantile({q / 100:g}, sum by (le) (rate({REQUESTS}_bucket{{{asked}}}[5m])))"
        for q in sorted({50.0, 99.0, limit.percentile})
    }
    return (
        Panel(
            "Requests",
            "Answered a second, by status.",
            "reqps",
            {"{{http_response_status_code}}": _by("http_response_status_code", f"{REQUESTS}_count{{{asked}}}")},
        ),
        Panel("Latency", f"The brief's limit is {limit}.", "s", quantiles, limit.milliseconds / 1e3),
        Panel(
            "Failed requests",
            f"Share with a 5xx; {1 - AVAILABILITY:.2g} may fail over 30 days.",
            "percentunit",
            {span: f"{failed.record}:ratio_rate{span}{{{model}}}" for span in spans},
            failed.share,
        ),
        Panel(
            "Slow requests",
            f"Share over {limit.milliseconds:g} ms; {slow.share:g} may be over 30 days.",
            "percentunit",
            {span: f"{slow.record}:ratio_rate{span}{{{model}}}" for span in spans},
            slow.share,
        ),
        Panel(
            "Rows answered",
            "A second, by version and variant.",
            "rps",
            {"{{version}} {{variant}}": _by("version, variant", f"{PREDICTIONS}{{{model}}}")},
        ),
        Panel(
            "Requests under way",
            "In each server.",
            "short",
            {"{{instance}}": f"sum by (instance) ({IN_FLIGHT}{{{model}}})"},
        ),
        Panel(
            "Sources of answers that failed",
            "A second; the next source was asked.",
            "reqps",
            {"{{source}} {{version}}": _by("source, version", f"{SOURCE_FAILURES}{{{model}}}")},
        ),
        Panel(
            "Prediction log",
            "Answered requests a second that it has, and that it lacks.",
            "reqps",
            {
                "written": f"sum(rate({LOG_RECORDS}{{{model}}}[5m]))",
                "lost": f"sum(rate({LOG_FAILURES}{{{model}}}[5m]))",
            },
        ),
        Panel(
            "Prediction log that waits for its store",
            "Time since all that was written was loaded, of each server.",
            "s",
            {"{{instance}}": f"time() - min by (instance) ({LOG_LOADED}{{{model}}})"},
            60.0 * WAITING_MINUTES,
        ),
        Panel(
            "CPU",
            "Cores that each server uses (of servers with one worker).",
            "short",
            {"{{instance}}": f"rate(process_cpu_seconds_total[5m]) {mine}"},
        ),
        Panel(
            "Memory",
            "Resident, of each server (with one worker).",
            "bytes",
            {"{{instance}}": f"process_resident_memory_bytes {mine}"},
        ),
    )


def expressions(shown: Sequence[Panel]) -> list[str]:
    """Return every expression of panels."""
    return [query for panel in shown for query in panel.queries.values()]


def _by(labels: str, series: str) -> str:
    return f"sum by ({labels}) (rate({series}[5m]))"


def _drawn(panel: Panel, number: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": _GREEN, "value": None}]
    if panel.limit is not None:
        steps.append({"color": _RED, "value": panel.limit})
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": _WIDTH * (number % 2), "y": _HEIGHT * (number // 2)},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for i, (legend, query) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"thresholdsStyle": {"mode": "off" if panel.limit is None else "line"}},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
    }
