"""The OpenAPI document against servers: every path, no fault of the server, no status it does not name."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from fastapi.openapi.models import OpenAPI
from jsonschema import Draft202012Validator

from bundles import make, make_plain
from modelyard.bundle.load import load_bundle
from modelyard.serving.app import App
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.store import FILE, KeyStore
from modelyard.serving.rollout.control import start, status
from modelyard.serving.rollout.decide import MOVES
from modelyard.serving.rollout.live import Live
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.store import Rollouts
from modelyard.serving.rows import example_rows
from serving_client import packed_linear
from test_serving_app import started

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXPECTED = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "4xx", "501"]\n'
"""501 is an answer: nothing explains a forecast."""
PERMISSIONS = ("predict", "explain", "labels", "admin")
SLOW = pytest.mark.slow


def made(task: str, folder: Path) -> Path:
    return make(folder, task) if task == "forecast" else packed_linear(task, folder).path


@contextmanager
def server(workspace: Path, path: Path, *words: str) -> Iterator[str]:
    """Start a server by its command, with a log and rollouts; yield its address."""
    told = ["serve", str(path), "--port", "0", "--workspace", str(workspace), "--no-load", *words]
    command = [sys.executable, "-c", "from modelyard.cli.main import main; main()", *told]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        (address,) = re.findall(r"http://\S+", process.stdout.readline())
        yield address
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def schemathesis(folder: Path, address: str, row: dict, *words: str) -> int:
    """Have it find no fault in a server; return how many operations it asked."""
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "EXAMPLE_ROW": json.dumps(row),
    }
    (folder / "schemathesis.toml").write_text(EXPECTED)
    words = (f"{address}/openapi.json", "--seed", "1", "--no-color", "--continue-on-failure", *words)
    command = [sys.executable, "-m", "schemathesis.cli", "run", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    tested = re.search(r"Tested: +(\d+)", done.stdout)
    assert tested is not None, done.stdout
    return int(tested[1])


def statuses(address: str) -> set[tuple[str, int]]:
    """Return which statuses a server has answered with, by path: what it counted itself."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
        counted = re.findall(r"^http_server_request_duration_seconds_count\{(.*)\}", answer.read().decode(), re.M)
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in counted]
    return {(one["http_route"], int(one["http_response_status_code"])) for one in labels}


@pytest.mark.parametrize(
    ("task", "keyed", "examples"),
    [
        ("binary", True, 3),
        ("forecast", False, 3),
        *(pytest.param(task, True, 100, marks=SLOW) for task in ("binary", "multiclass", "regression", "forecast")),
        pytest.param("binary", False, 100, marks=SLOW),
    ],
)
def test_schemathesis_finds_no_fault_and_no_status_that_is_not_documented(
    tmp_path: Path, task: str, keyed: bool, examples: int
) -> None:
    path = made(task, tmp_path / "bundle")
    phases = "examples,fuzzing" if examples < 50 else "examples,coverage,fuzzing"
    asked, served, checks = ["--max-examples", str(examples), "--phases", phases], [], CHECKS
    if keyed:
        _, secret = KeyStore(tmp_path / FILE).create("all", PERMISSIONS, by="tests", rate=10**6, burst=10**6)
        served, checks = ["--auth", "keys"], f"{CHECKS},ignored_auth"
        asked += ["--header", f"Authorization: Bearer {secret}"]
    with server(tmp_path, path, *served) as address:
        row = example_rows(load_bundle(path))[0]
        assert schemathesis(tmp_path, address, row, "--checks", checks, *asked) >= 19
        met = statuses(address)
    assert met >= {("/v1/predict", 200), ("/v1/predict", 422), ("/admin/rollout", 404)}
    assert (("/v1/predict", 401) in met) == keyed
    assert (("/admin/rollout", 409) in met) == keyed


@pytest.mark.parametrize("examples", [3, pytest.param(100, marks=SLOW)])
def test_schemathesis_finds_nothing_behind_a_guard_that_refuses(tmp_path: Path, examples: int) -> None:
    path = make(tmp_path / "bundle")
    _, secret = KeyStore(tmp_path / FILE).create("few", ["predict"], by="tests", rate=1, burst=2)
    words = ["--checks", CHECKS, "--max-examples", str(examples), "--phases", "examples,fuzzing"]
    for guarded in ("/v1/predict", "/v1/labels", "/admin/rollout"):
        words += ["--include-path", guarded]
    with server(tmp_path, path, "--auth", "keys") as address:
        row = example_rows(load_bundle(path))[0]
        schemathesis(tmp_path, address, row, *words, "--header", f"Authorization: Bearer {secret}")
        met = statuses(address)
    assert met >= {("/v1/labels", 403), ("/admin/rollout", 403), ("/v1/predict", 429)}


def test_what_the_document_says_of_rollouts_is_what_is_taken_and_answered(tmp_path: Path) -> None:
    stable, other = (make_plain(tmp_path / str(seed), seed=seed) for seed in (3, 4))
    keys, folder = KeyStore(tmp_path / FILE), tmp_path / "rollouts"
    keys.create("anna", ["admin"], by="anna")
    app = App(load_bundle(stable), guard=Access(keys=keys.path).guard())
    Live(app, folder, str(stable))
    document = asyncio.run(started(app, "/openapi.json")).json()
    OpenAPI.model_validate(document)
    told = document["paths"]["/admin/rollout"]
    assert {"401", "403", "404", "429", "431", "503"} <= told["get"]["responses"].keys()
    assert {"400", "401", "403", "404", "409", "413", "429", "431", "503"} <= told["post"]["responses"].keys()
    assert [operation["security"] for operation in told.values()] == [[{"key": ["admin"]}]] * 2
    asked, answered = (
        Draft202012Validator(one["content"]["application/json"]["schema"])
        for one in (told["post"]["requestBody"], told["get"]["responses"]["200"])
    )
    plan = {"kind": "ab", "steps": [0.5], "metric": "revenue"}
    taken = ({"candidate": "b"}, {"candidate": "b", "plan": plan}, *({"move": move} for move in MOVES))
    assert [one for one in taken if not asked.is_valid(one)] == []
    refused = ({"move": "jump"}, {"candidate": 3}, {"candidate": "b", "plan": {"odd": 1}}, {"move": "pause", "b": 1})
    assert [one for one in refused if asked.is_valid(one)] == []
    rollout = start(folder, Plan(), (str(stable), load_bundle(stable)), str(other), "anna")
    answered.validate(json.loads(msgspec.json.encode(status(Rollouts(folder), rollout))))
