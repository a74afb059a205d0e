"""Alerts on how fast a month's budget is used: they fire, and stay quiet, when they should; promtool plays the days."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import promql_parser
import pytest
import yaml

from modelyard.brief.brief import Brief, Latency
from modelyard.monitoring.budgets import FAST, SLOW, budgets
from modelyard.monitoring.dashboard import expressions, panels
from modelyard.monitoring.rules import alert_rules, rules_text
from modelyard.serving.app import App
from modelyard.serving.capacity import capacity
from modelyard.serving.labels import PATH as LABELS
from modelyard.serving.manifests.argo import (
    BETTER,
    ERROR_LIMIT,
    HASH,
    PROMOTE_LEVEL,
    ROLLBACK_LEVEL,
    WORSE,
    analyses,
)  # fmt: skip
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.manifests.scrape import adapter_rule
from modelyard.serving.metrics import ANSWERS_ROWS
from modelyard.serving.rest import ROUTES
from modelyard.serving.rollout.live import PATH
from monitored import monitored

NAME = "http_server_request_duration_seconds"
ASKED = 'model="churn",http_route="/v1/predict",http_request_method="POST"'
tools = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return monitored(tmp_path_factory.mktemp("budgets") / "bundle", reference_rows=300)


def limited(made, percentile: float):
    brief = Brief(use_case="churn", latency=Latency(percentile, 50.0))
    return replace(made, manifest=replace(made.manifest, brief=brief))


def played(folder, made, series: dict[str, str], looks: dict[str, set[str]], every: str = "1m") -> None:
    """Let promtool play series through the rules, and hold the alerts that fire against those expected."""
    (folder / "rules.yaml").write_text(rules_text(made))
    tests = []
    for moment, fires in looks.items():
        for rule in alert_rules(made):
            if rule.kind in ("errors", "latency"):
                shown = {"severity": rule.severity, "model": "churn"}
                said = {"summary": rule.summary, "runbook": f"runbooks/{rule.kind}.md"}
                found = [{"exp_labels": shown, "exp_annotations": said}] if rule.alert in fires else []
                tests.append({"eval_time": moment, "alertname": rule.alert, "exp_alerts": found})
    checked(folder, series, every, alert_rule_test=tests)


def checked(folder, series: dict[str, str], every: str = "1m", **tests: object) -> None:
    inputs = [{"series": s, "values": v} for s, v in series.items()]
    rules = ["rules.yaml"] if (folder / "rules.yaml").exists() else []
    test = {"interval": "1m", "input_series": inputs, **tests}
    written = {"rule_files": rules, "evaluation_interval": every, "tests": [test]}
    (folder / "test.yaml").write_text(yaml.safe_dump(written))
    run_promtool(folder, "test", "rules", "test.yaml")


def run_promtool(folder, *words: str) -> None:
    done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def of(status: int, values: str, slow: str | None = None) -> dict[str, str]:
    labels = f'{ASKED},http_response_status_code="{status}"'
    made = {f"{NAME}_count{{{labels}}}": values}
    return made if slow is None else made | {f'{NAME}_bucket{{{labels},le="0.05"}}': slow}


@tools
def test_an_outage_pages_at_once_and_no_longer_than_it_lasts(made, tmp_path):
    # Two hours of good answers, ten minutes in which a third fails, then good ones again.
    good = "0+600x120 72400+400x9 76600+600x120"
    bad = "0+0x120 200+200x9 2000+0x120"
    # 40 minutes later both short windows have passed, while half a day's budget is gone all the same.
    looks = {"2h": set(), "2h8m": {"ModelErrors"}, "2h50m": {"ErrorBudgetBurns"}}
    played(tmp_path, limited(made, 99.0), of(200, good, good) | of(503, bad, bad), looks)


@tools
def test_a_slow_leak_is_a_ticket_and_wakes_nobody(made, tmp_path):
    # 0.4 % fail: four times too many, which an hour's page does not see and a day's ticket does.
    played(
        tmp_path,
        limited(made, 99.0),
        of(200, "0+996x1500", "0+996x1500") | of(500, "0+4x1500", "0+4x1500"),
        {"24h": {"ErrorBudgetBurns"}},
        every="15m",
    )


@tools
def test_what_is_within_its_budgets_is_quiet(made, tmp_path):
    played(
        tmp_path,
        limited(made, 99.0),
        of(200, "0+9995x1500", "0+9940x1500") | of(500, "0+5x1500", "0+5x1500"),
        {"1h": set(), "24h": set()},
        every="15m",
    )


@tools
def test_a_single_failure_of_few_requests_is_quiet(made, tmp_path):
    played(tmp_path, limited(made, 99.0), of(200, "0+0.1x180", "0+0.1x180") | of(500, "0x60 1x119"), {"62m": set()})


@tools
def test_slow_answers_page_by_the_briefs_limit(made, tmp_path):
    series = of(200, "0+1000x180", "0+800x180")  # 20 % over the limit, where 1 % may be
    played(tmp_path, limited(made, 99.0), series, {"1h30m": {"ModelSlow", "LatencyBudgetBurns"}})


@pytest.mark.parametrize(("percentile", "alerts"), [(99.0, 2), (90.0, 2), (50.0, 1)])
def test_a_burn_no_traffic_could_reach_is_not_asked_for(made, percentile, alerts):
    rules = [r for r in alert_rules(limited(made, percentile)) if r.kind == "latency"]
    assert len(rules) == alerts
    _, slow = budgets(limited(made, percentile))
    for windows in (FAST, SLOW):
        reached = [times * slow.share < 1 for times, _, _ in windows]
        assert (slow.burns(windows) is None) == (not any(reached))


def test_rules_dashboard_and_analysis_count_what_asks_for_rows_and_nothing_else(made):
    app = App(made, guard=None)
    method, route = re.fullmatch(r'http_request_method="(\w+)",http_route=~"(.+)"', ANSWERS_ROWS).groups()
    asks = {r for r, wanted in app._permissions.items() if wanted in ("predict", "explain")}
    assert len(asks) >= 5
    assert {r for r in (*app._permissions, *ROUTES, LABELS, PATH) if re.fullmatch(route, r)} == asks
    assert method == "POST"
    app.close()
    rules = [r["expr"] for group in yaml.safe_load(rules_text(made))["groups"] for r in group["rules"]]
    written = [*rules, *expressions(panels(made)), *(m["provider"]["prometheus"]["query"] for m in analysed(made))]
    counted = [inside for text in written for inside in re.findall(NAME + r"_\w+\{([^}]*(?:}}[^}]*)?)", text)]
    assert len(counted) > 20
    assert all(ANSWERS_ROWS in inside for inside in counted)


def test_every_expression_can_be_parsed_and_names_what_is_recorded_or_exposed(made):
    rules = yaml.safe_load(rules_text(made))["groups"]
    recorded = {r["record"] for group in rules for r in group["rules"] if "record" in r}
    written = [r["expr"] for group in rules for r in group["rules"]] + expressions(panels(made))
    written += [metric["provider"]["prometheus"]["query"] for metric in analysed(made)]
    query = adapter_rule()["metricsQuery"]
    for placeholder, text in (("<<.Series>>", "x"), ("<<.LabelMatchers>>", 'pod="a"'), ("<<.GroupBy>>", "pod")):
        query = query.replace(placeholder, text)
    for expression in [*written, query]:
        promql_parser.parse(expression)
    used = {word for text in written for word in text.replace("(", " ").replace("{", " ").split() if ":ratio_" in word}
    assert used <= recorded
    assert used


def analysed(made) -> list[dict]:
    promotes, guards = analyses(Deployed(made, capacity(made, 300.0), "churn:7"))
    for metric, guard in zip(promotes["spec"]["metrics"], guards["spec"]["metrics"], strict=True):
        assert guard.items() < metric.items()  # the same test, which nothing but evidence against the version ends
    return promotes["spec"]["metrics"]


def e_value(bad, everything, limit: float, times: float):
    share = times * limit
    return bad * math.log(share / limit) + (everything - bad) * math.log((1 - share) / (1 - limit))


@tools
@pytest.mark.parametrize(
    ("bad", "everything", "expected"),
    [(0, 100, None), (0, 400, "success"), (8, 100, "failure"), (10, 1000, None), (3, 1000, "success"), (0, 0, None)],
)
def test_the_analysis_decides_by_the_evidence_and_by_nothing_where_there_is_none(
    made, tmp_path, bad, everything, expected
):
    errors, _ = analysed(limited(made, 99.0))
    query = errors["provider"]["prometheus"]["query"].replace("{{args.hash}}", "abc")
    series = {}
    for status, count in ((200, everything - bad), (503, bad)):
        if count:
            labels = f'{ASKED},{HASH}="abc",http_response_status_code="{status}"'
            series[f"{NAME}_count{{{labels}}}"] = f"{count}x5"
    series[f'{NAME}_count{{{ASKED},{HASH}="other",http_response_status_code="503"}}'] = "9999x5"
    against, good = (e_value(bad, everything, ERROR_LIMIT, times) for times in (WORSE, BETTER))
    value = against if against > 0 else -good if good > 0 else None
    # promtool compares numbers exactly: what matters is on which side of the two limits the answer lies.
    fails, passes = math.log(1 / ROLLBACK_LEVEL), -math.log(1 / PROMOTE_LEVEL)
    assert errors["failureCondition"] == f"len(result) > 0 && result[0] >= {fails:.4f}"
    assert errors["successCondition"] == f"len(result) > 0 && result[0] <= {passes:.4f}"
    decided = None if value is None else "failure" if value >= fails else "success" if value <= passes else None
    assert decided == expected
    tests = []
    for condition, name in ((f">= {fails:.4f}", "failure"), (f"<= {passes:.4f}", "success")):
        found = [{"labels": "{}", "value": 1}] if name == expected else []
        tests.append({"expr": f"(({query}) {condition}) * 0 + 1", "eval_time": "3m", "exp_samples": found})
    checked(tmp_path, series, promql_expr_test=tests)


def test_a_version_at_the_limit_is_hardly_ever_rolled_back_and_a_bad_one_is(made):
    random = np.random.default_rng(0)

    def rolled_back(share: float, requests: int = 60, looks: int = 60) -> float:
        """Return how many of 2,000 simulated versions are, looked at every minute for an hour."""
        bad = random.binomial(requests, share, (2_000, looks)).cumsum(axis=1)
        everything = requests * np.arange(1, looks + 1)
        passed = e_value(bad, everything, ERROR_LIMIT, WORSE) >= math.log(1 / ROLLBACK_LEVEL)
        return float(passed.any(axis=1).mean())

    assert rolled_back(ERROR_LIMIT) <= ROLLBACK_LEVEL
    assert rolled_back(0.003) == 0
    assert rolled_back(0.05) == 1
