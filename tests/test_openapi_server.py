"""The OpenAPI document against a running server: every path, no fault of the server, no status it does not name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving_client import packed_linear
from test_serving_process import server

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.parametrize("examples", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", ["binary", pytest.param("regression", marks=pytest.mark.slow)])
def test_schemathesis_finds_no_fault_and_no_status_that_is_not_documented(
    tmp_path: Path, task: str, examples: int
) -> None:
    packed = packed_linear(task, tmp_path / "bundle")
    words = ["--checks", CHECKS, "--max-examples", str(examples), "--seed", "1", "--no-color", "--continue-on-failure"]
    if examples < 50:
        words += ["--phases", "examples,fuzzing"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": os.pathsep.join(sys.path)}
    with server(tmp_path, packed.path, log=tmp_path / "log") as (process, (host, port)):
        address = f"http://{host}:{port}/openapi.json"
        command = [sys.executable, "-m", "schemathesis.cli", "run", address, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert process.poll() is None
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    tested = re.search(r"Tested: +(\d+)", done.stdout)
    assert tested is not None, done.stdout
    assert int(tested[1]) >= 17
