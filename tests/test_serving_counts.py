"""Counts of the request path add up over processes, dead ones too, as Prometheus has them."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelyard.serving.metrics import MULTIPROCESS, Metrics

PROGRAM = """
import os, sys
from modelyard.serving.metrics import Metrics
metrics = Metrics("churn", 0.02)
counts = metrics.of("1", "stable")
for _ in range(int(sys.argv[1])):
    metrics.observe("POST", "/v1/predict", 200, 0.02)
    metrics.observe("POST", "/v1/predict", 200, 20.0)
    counts.predictions.inc(3)
os.kill(os.getpid(), 9)
"""


def samples(metrics: Metrics) -> dict[tuple, float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def held(found: dict[tuple, float], name: str, **labels: str) -> float:
    return next(v for k, v in found.items() if k[0] == name and set(labels.items()) <= set(k[1:]))


@pytest.mark.parametrize("processes", [0, 3])
def test_numbers_add_up_over_processes_that_were_killed(tmp_path, monkeypatch, processes):
    environment = {**os.environ, MULTIPROCESS: str(tmp_path)}
    if processes:
        monkeypatch.setenv(MULTIPROCESS, str(tmp_path))
    for number in range(processes):
        subprocess.run([sys.executable, "-c", PROGRAM, str(10 + number)], env=environment)
    metrics = Metrics("churn", 0.02)
    metrics.observe("POST", "/v1/predict", 200, 0.001)
    metrics.observe("POST", "/v1/predict", 422, 0.001)
    metrics.of("1", "stable").predictions.inc()
    found = samples(metrics)
    n = sum(10 + number for number in range(processes))
    ok = {"http_response_status_code": "200", "model": "churn"}
    name = "http_server_request_duration_seconds"
    assert held(found, f"{name}_count", **ok) == 2 * n + 1
    assert held(found, f"{name}_sum", **ok) == pytest.approx(20.02 * n + 0.001)
    assert held(found, f"{name}_bucket", le="0.02", **ok) == n + 1  # a bucket ends at the limit, which is within it
    assert held(found, f"{name}_bucket", le="0.01", **ok) == 1
    assert held(found, f"{name}_bucket", le="10.0", **ok) == n + 1
    assert held(found, f"{name}_bucket", le="+Inf", **ok) == 2 * n + 1
    assert held(found, f"{name}_count", http_response_status_code="422") == 1
    assert held(found, "modelyard_predictions_total", version="1", variant="stable") == 3 * n + 1


def test_a_scrape_may_meet_a_series_that_is_being_made():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    metrics = Metrics("churn")
    try:
        with ThreadPoolExecutor(1) as thread:
            made = thread.submit(lambda: [metrics.of(str(number), "stable") for number in range(2_000)])
            while not made.done():
                metrics.text()
    finally:
        sys.setswitchinterval(before)
    for counts in made.result():
        counts.predictions.inc()
    found = samples(metrics)
    assert [held(found, "modelyard_predictions_total", version=str(number)) for number in (0, 999, 1_999)] == [1.0] * 3
