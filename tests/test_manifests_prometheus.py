"""A real Prometheus with the written scrape and rules beside a real server: every query finds its figures."""

from __future__ import annotations

import http.client
import json
import math
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from contextlib import closing, contextmanager
from pathlib import Path

import promql_parser
import pytest
import yaml

from bundles import ROW
from modelyard.brief.brief import Brief, Latency
from modelyard.monitoring.dashboard import dashboard_text, expressions, panels
from modelyard.monitoring.rules import rules_text
from modelyard.serving.capacity import capacity
from modelyard.serving.guard.store import FILE, KeyStore
from modelyard.serving.manifests.argo import HASH, analyses
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.manifests.scrape import adapter_rule, scrape_files
from modelyard.serving.metrics import LOG_LOADED
from monitored import monitored

BRIEF = Brief(use_case="churn", latency=Latency(95.0, 60.0))
FEW = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
"""What servers with one worker expose, and no others."""
SECRETS: dict[str, str] = {}
"""Of the servers that run, by their address: those with a guard expose everything that is asked for."""
_META = "__meta_kubernetes_"
POD = {
    f"{_META}pod_name": "churn-0",
    f"{_META}namespace": "models",
    f"{_META}pod_container_port_name": "http",
    f"{_META}pod_phase": "Running",
    f"{_META}pod_label_{HASH}": "abc",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return monitored(tmp_path_factory.mktemp("made") / "bundle", reference_rows=300, brief=BRIEF)


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    with served(made, tmp_path_factory.mktemp("log")) as address:
        asked(address, 500)
        yield address


@contextmanager
def served(made, log: Path, workers: int = 1, *more: object):
    """Yield the address of a server that the command line starts."""
    yard = Path(f"{log}-yard")
    _, secret = KeyStore(yard / FILE).create("prober", by="test", rate=100_000)
    command = [Path(sys.executable).with_name("modelyard"), "serve", made.path, "--port", "0", "--log", log]
    command += ["--workers", workers, "--auth", "keys", "--workspace", yard, *more]
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True) as server:
        try:
            address = re.search(r"http://(\S+)", server.stdout.readline())[1]
            SECRETS[address] = secret
            yield address
        finally:
            server.terminate()


def asked(address: str, count: int) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {SECRETS[address]}"}
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        for number in range(count):
            row = {} if number % 50 == 49 else ROW
            connection.request("POST", "/v1/predict", json.dumps(row), headers)
            assert connection.getresponse().read()


def read(address: str, path: str) -> str:
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def queries(made) -> list[str]:
    """Return every expression that is written anywhere."""
    rules = [rule["expr"] for group in yaml.safe_load(rules_text(made))["groups"] for rule in group["rules"]]
    judged = [m for a in analyses(Deployed(made, capacity(made, 300.0), "churn:7")) for m in a["spec"]["metrics"]]
    return [*rules, *expressions(panels(made)), *(m["provider"]["prometheus"]["query"] for m in judged)]


def metrics(expression: str) -> set[str]:
    """Return the names that an expression selects, as a parser of PromQL finds them."""
    promql_parser.parse(expression)
    plain = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:http|modelyard|process)_[a-z_]+(?=\s|\{|\[|$)", plain))


def exposed(address: str) -> set[str]:
    return set(re.findall(r"^([a-z_]+)[{ ]", read(address, "/metrics"), re.MULTILINE))


def test_every_metric_named_is_exposed_by_a_live_server(made, address):
    named = {name for expression in queries(made) for name in metrics(expression)}
    named.add(re.match(r"[a-z_]+", adapter_rule()["seriesQuery"])[0])
    assert len(named) >= 9
    assert named <= exposed(address)


def test_several_workers_expose_what_one_does(made, address, tmp_path):
    with served(made, tmp_path / "log", workers=2) as several:
        asked(several, 20)
        there = exposed(several)
        named = {name for expression in queries(made) for name in metrics(expression)}
        assert named - FEW <= there


def test_every_worker_tells_up_to_when_the_log_is_loaded_and_that_it_is_not(made, tmp_path):
    def loaded() -> float:
        (value,) = re.findall(rf'^{LOG_LOADED}{{model="churn"}} (\S+)$', read(several, "/metrics"), re.MULTILINE)
        return float(value)

    store = tmp_path / "store.db"
    store.mkdir()  # no store can be here
    with served(made, tmp_path / "log", 2, "--store", store) as several:
        asked(several, 20)
        stuck = time.time()
        (begun,) = {loaded() for _ in range(10)}
        assert begun < stuck
        store.rmdir()
        while loaded() < stuck:  # by itself, when it is tried again
            time.sleep(0.1)


def test_grafana_s_own_types_hold_all_of_the_dashboard(made):
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()

    def lost(given: object, kept: object) -> bool:
        if isinstance(given, dict):
            return not isinstance(kept, dict) or any(k not in kept or lost(v, kept[k]) for k, v in given.items())
        if isinstance(given, list):
            return not isinstance(kept, list) or any(lost(a, b) for a, b in zip(given, kept, strict=True))
        return given != kept

    written = json.loads(dashboard_text(made))
    # What Grafana's types do not know is dropped, so that all of it must come back.
    assert not lost(written, json.loads(JSONEncoder().encode(Dashboard.from_json(written))))
    places = [tuple(panel["gridPos"].values()) for panel in written["panels"]]
    assert len(set(places)) == len({panel["id"] for panel in written["panels"]}) == len(places)
    wrong = written | {"pannels": []}
    assert lost(wrong, json.loads(JSONEncoder().encode(Dashboard.from_json(wrong))))


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
def test_prometheus_answers_every_query_of_the_dashboard(made, address, tmp_path):
    deployed = Deployed(made, capacity(made, 300.0), "churn:7")
    with prometheus(deployed, address, tmp_path) as asking:
        series = 'modelyard_predictions_total{pod="churn-0",namespace="models"}'
        for query in (f"count_over_time({series}[1m]) >= 4", "model:requests_slow:ratio_rate3d >= 0"):
            for _ in range(300):
                if asking(query):
                    break
                asked(address, 5)
                time.sleep(0.1)
        for expression in expressions(panels(made)):
            found = asking(expression)
            assert found, expression
            assert not [one for one in found if math.isnan(float(one["value"][1]))], expression
        labels = asking(series)[0]["metric"]
        assert labels[HASH] == "abc"
        assert labels["job"] == "churn"
        query = adapter_rule()["metricsQuery"]
        filled = {"GroupBy": "pod", "Series": adapter_rule()["name"]["as"], "LabelMatchers": 'namespace="models"'}
        for name, text in filled.items():
            query = query.replace(f"<<.{name}>>", text)
        assert asking(query)[0]["metric"] == {"pod": "churn-0"}
        judged = analyses(deployed)[0]["spec"]["metrics"]
        (errors,) = (m["provider"]["prometheus"]["query"] for m in judged if m["name"] == "errors")
        # 500 requests without a failure: the version is good.
        assert float(asking(errors.replace("{{args.hash}}", "abc"))[0]["value"][1]) < -3
        assert asking(errors.replace("{{args.hash}}", "another")) == []
        assert asking('ALERTS{alertstate="firing"}') == []


@contextmanager
def prometheus(deployed: Deployed, address: str, folder: Path):
    """Yield what asks a Prometheus that scrapes the server as if it were a pod."""
    (scrape,) = yaml.safe_load(scrape_files(deployed)["prometheus/scrape.yaml"])["scrape_configs"]
    # No cluster is here to discover from, and Debian's build could not: a file gives the labels a pod would bring.
    del scrape["kubernetes_sd_configs"]
    scrape |= {"scrape_interval": "1s", "file_sd_configs": [{"files": ["pods.json"]}]}
    (folder / "pods.json").write_text(json.dumps([{"targets": [address], "labels": POD}]))
    (folder / "rules.yaml").write_text(rules_text(deployed.bundle))
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.yaml"], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{bound.getsockname()[1]}"
    command = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address={listen}"]
    checked = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr

    def asking(query: str) -> list[dict]:
        try:
            answer = json.loads(read(listen, f"/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
        except (OSError, ValueError):
            return []  # it is starting
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield asking
        finally:
            process.terminate()
