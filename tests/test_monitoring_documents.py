"""Rules, runbooks and documents: about this model, and true of the server that it speaks of."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from dataclasses import replace

import click
import httpx
import polars as pl
import pytest
import yaml

from modelyard.brief.brief import Brief, Latency
from modelyard.bundle.latency import measure
from modelyard.bundle.load import load_bundle
from modelyard.cli.main import cli
from modelyard.core.canonical import canonical_json
from modelyard.data.profile import ColumnProfile, Profile
from modelyard.monitoring.document import monitoring_document
from modelyard.monitoring.expectation import expect
from modelyard.monitoring.page import monitoring_page
from modelyard.monitoring.rules import alert_rules, rules_text
from modelyard.monitoring.runbooks import runbooks
from modelyard.monitoring.watch import alarms, compare, reference_profile
from modelyard.serving.app import App
from modelyard.serving.capacity import capacity
from modelyard.serving.document import deployment_document
from modelyard.serving.log import PredictionLog
from modelyard.serving.rehearsal import rehearse
from monitored import ROW, make, monitored, rows

BRIEF = Brief(use_case="churn", latency=Latency(95.0, 20.0), requests_per_day=1e6, rule="age > 40")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return monitored(tmp_path_factory.mktemp("documents") / "bundle", brief=BRIEF)


@pytest.fixture(scope="module")
def exposed(bundle, tmp_path_factory) -> str:
    """Return /metrics after one of everything."""
    app = App(bundle, log=PredictionLog(tmp_path_factory.mktemp("log")))

    async def ask() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model") as client:
            for row in (ROW, {}, {"instances": [ROW, ROW]}):
                await client.post("/v1/predict", json=row)
            return (await client.get("/metrics")).text

    app.metrics.guard_failed("limits")  # a guard shows it from the start
    try:
        return asyncio.run(ask())
    finally:
        app.close()


def test_every_metric_of_the_rules_is_exposed_with_the_labels_they_ask_for(bundle, exposed):
    series = re.findall(r"^([a-z_]+)\{(.*)\} \S+$", exposed, re.MULTILINE)
    labels: dict[str, set[str]] = {}
    values: dict[str, set[str]] = {}
    for name, inside in series:
        pairs = re.findall(r'(\w+)="([^"]*)"', inside)
        labels.setdefault(name, set()).update(k for k, _ in pairs)
        values.setdefault(name, set()).update(f"{k}={v}" for k, v in pairs)
    text = rules_text(bundle)
    used = re.findall(r"([a-z][a-z_]+)\{([^}]*)\}", re.sub(r"\s+", " ", text))
    assert len(used) > 10
    for name, inside in used:
        assert name in labels, name
        for label, sign, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', inside):
            assert label in labels[name], (name, label)
            if sign == "=" and label not in ("http_response_status_code",):
                assert f"{label}={value}" in values[name], (name, label, value)


def test_the_rules_hold_this_models_limits_and_lead_to_its_runbooks(bundle):
    (group,) = yaml.safe_load(rules_text(bundle))["groups"]
    assert group["name"] == "modelyard-churn"
    shares = [r for r in group["rules"] if "record" in r]
    alerts = group["rules"][len(shares) :]  # what they read comes first
    assert all('le="0.02"' in r["expr"] for r in shares if r["record"].startswith("model:requests_slow"))
    slow = next(r for r in alerts if r["alert"] == "ModelSlow")
    assert 'model:requests_slow:ratio_rate1h{model="churn"} > 0.72' in slow["expr"]  # 14.4 times 5 %
    pages = runbooks(bundle)
    for rule in alerts:
        assert {"alert", "expr", "for", "labels", "annotations"} == rule.keys()
        assert re.fullmatch(r"runbooks/(\w+)\.md", rule["annotations"]["runbook"])[1] in pages


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_rules_and_they_fire(bundle, tmp_path):
    (tmp_path / "rules.yaml").write_text(rules_text(bundle))
    name = "http_server_request_duration_seconds"
    asked = 'model="churn",http_route="/v1/predict",http_request_method="POST"'
    who = 'model="churn",version="a",variant="stable"'
    series = [
        (f'{name}_count{{{asked},http_response_status_code="200"}}', "0+100x60"),
        (f'{name}_bucket{{{asked},http_response_status_code="200",le="0.02"}}', "0+20x60"),
        (f'{name}_count{{{asked},http_response_status_code="503"}}', "0+5x60"),
        (f"modelyard_prediction_log_failures_total{{{who}}}", "0+1x60"),
        (f'modelyard_source_failures_total{{{who},source="model"}}', "0+5x60"),
        (f"modelyard_predictions_total{{{who}}}", "0+100x60"),
        ('modelyard_guard_failures_total{model="churn",needed="limits"}', "0+1x60"),
        # Of two servers one has loaded nothing since the beginning, and the other what it wrote a minute ago.
        ('modelyard_prediction_log_loaded_timestamp_seconds{model="churn",instance="a"}', "0x60"),
        ('modelyard_prediction_log_loaded_timestamp_seconds{model="churn",instance="b"}', "-60+60x60"),
    ]
    fires = {"ModelErrors", "ErrorBudgetBurns", "ModelSlow", "LatencyBudgetBurns"}
    fires |= {"PredictionLogDropped", "PredictionLogNotLoaded", "ModelDoesNotAnswer", "GuardFails"}
    expected = []
    for rule in alert_rules(bundle):
        shown = {"severity": rule.severity, "model": "churn"}
        said = {"summary": rule.summary, "runbook": f"runbooks/{rule.kind}.md"}
        found = [{"exp_labels": shown, "exp_annotations": said}] if rule.alert in fires else []
        expected.append({"eval_time": "45m", "alertname": rule.alert, "exp_alerts": found})
    test = {
        "rule_files": ["rules.yaml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series],
                "alert_rule_test": expected,
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    for words in (["check", "rules", "rules.yaml"], ["test", "rules", "test.yaml"]):
        done = subprocess.run(["promtool", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alarm_and_alert_has_a_runbook_with_this_models_commands(bundle):
    pages = runbooks(bundle)
    raised = {"drift", "prediction_drift", "missing", "schema", "range", "new_level", "no_traffic", "not_compared"}
    assert raised | {r.kind for r in alert_rules(bundle)} == pages.keys()
    for kind, page in pages.items():
        text = page.markdown()
        assert ("modelyard rollback churn" in text) != ("Never for this alone." in text), kind
        assert bundle.hash[:12] in text
        assert "Look first" in text
        assert "Roll back when" in text
        assert "BRIEF" not in text.replace("develop BRIEF", "")


def test_the_page_says_the_verdict_first_and_shows_what_moved(bundle):
    found = compare(bundle, rows().with_columns(pl.col("income") * 0.3, pl.lit("Oslo").alias("city")))
    page = monitoring_page(bundle, found, alarms(found)).markdown()
    head = page[:1500]
    assert "Act" in head
    assert "'income' drifted" in head
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(any(line.startswith(f"| {c.name} |") for line in table) for c in found.columns)
    assert "### income" in page
    assert "### city" in page
    assert "### age" not in page
    calm = compare(bundle, rows())
    html = monitoring_page(bundle, calm, ()).html()
    assert "No change" in html
    assert "1,000 new rows" in html
    nothing = compare(bundle, rows(1).clear())
    assert "warning" in monitoring_page(bundle, nothing, alarms(nothing)).markdown()


def test_the_monitoring_document_is_about_this_model(bundle):
    page = monitoring_document(bundle, rules=rules_text(bundle), runbooks=runbooks(bundle))
    text = page.markdown()
    assert "5 columns and the predictions against 4,000 development rows" in text
    assert "p95 < 20 ms" in text
    assert "7,000,000" in text or "1,000,000" in text  # the brief's week, as far as it is simulated
    for kind in runbooks(bundle):
        assert kind in text
    assert "modelyard labels" in text.split("## What is not here yet")[1]  # labels are taken; only an alarm is missing
    assert re.search(r"\| joined +\| date .*\| 20\d\d-\d\d-\d\d +\| 20\d\d-\d\d-\d\d to 20\d\d-\d\d-\d\d +\|", text)
    assert "false, true" in text or "true, false" in text
    assert len(page.html()) < 500_000


def test_the_document_of_a_forecast_claims_what_is_watched_and_no_more(tmp_path):
    ahead = load_bundle(make(tmp_path / "bundle", "forecast"))
    counts = (
        ColumnProfile("shop", "category", (), ("north", "south"), (50, 50, 0), 0),
        ColumnProfile("prediction", "number", (20.0,), (), (50, 50), 0),
    )
    (ahead.path / "profile.json").write_bytes(canonical_json(Profile(100, counts)))
    text = monitoring_document(ahead, rules=rules_text(ahead), runbooks=runbooks(ahead)).markdown()
    watched = text.split("## The reference")[0]
    assert "Watched: 1 column against 100 development rows" in watched
    assert "Not watched: the predictions" in watched
    assert "series and times it was not made for" in watched
    assert "prediction_drift" not in watched
    assert "learnt from" not in watched
    (ahead.path / "profile.json").write_bytes(canonical_json(Profile(100, counts[1:])))
    text = monitoring_document(ahead, rules=rules_text(ahead), runbooks=runbooks(ahead)).markdown()
    assert "Watched: no columns, the rows' form" in text
    assert "simulated windows" not in text


def test_every_command_of_the_runbooks_exists_with_its_options(bundle):
    commands = {
        line.split("  #")[0].strip()
        for page in runbooks(bundle).values()
        for line in re.findall(r"^(modelyard .*)$|`(modelyard [^`]*)`", page.markdown(), re.MULTILINE)
        for line in line
        if line
    }
    assert len(commands) > 3
    for command in commands:
        words = command.split()[1:]
        found = cli.get_command(click.Context(cli), words[0])
        assert found is not None, command
        options = {name for parameter in found.params for name in parameter.opts}
        assert {word for word in words[1:] if word.startswith("-")} <= options, command


def test_quietness_is_simulated_from_the_reference(bundle):
    reference = reference_profile(bundle)
    seen = expect(reference, 200)
    assert seen == expect(reference, 200)
    assert seen.alarms <= 1
    assert seen.windows == 104
    assert seen.by_psi + seen.by_test > seen.alarms


@pytest.mark.parametrize(
    ("latency", "said"), [(Latency(99.0, 1e4), "Within"), (Latency(99.0, 1e-3), "Too slow"), (None, "names no latency")]
)
def test_the_deployment_document_quotes_what_was_seen(bundle, tmp_path, latency, said):
    asked = replace(bundle, manifest=replace(bundle.manifest, brief=replace(BRIEF, latency=latency)))
    seen = rehearse(asked, seconds=0.1)
    timing = measure(asked, rows(50), seconds=0.1)
    needs = capacity(asked, seen.microseconds)
    files = ["deployment/Dockerfile", "deployment/kubernetes/hpa.yaml"]
    page = deployment_document(asked, timing=timing, rehearsal=seen, needs=needs, files=files)
    text = page.markdown()
    assert said in text
    assert seen.answer["id"] in text
    assert seen.problem["errors"][0]["what"] in text
    assert "1,000,000 requests a day" in text
    assert f"{needs.pods} pods of {needs.millicores}m CPU" in text
    assert "age > 40" in text
    said_of = [text.index(f"`served_by: {source}`") for source in ("model", "cached", "previous", "rule")]
    assert said_of == sorted(said_of)
    assert "not here yet" not in text  # keys, limits, TLS and rollouts are
    assert "[deployment/Dockerfile](deployment/Dockerfile)" in text
    assert len(page.html()) < 500_000
