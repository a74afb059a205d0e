"""The rules that keep the house: what may import what, how long a file may be, what the server may load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundles import make_plain

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "modelyard"
MOST_LINES = 400
TRAINS = ("modelyard.families", "modelyard.selection", "modelyard.training", "modelyard.evaluation")
HEAVY = (
    "torch", "transformers", "sklearn", "pandas", "mlflow", "lightgbm", "xgboost", "catboost", "optuna", "onnx",
    "scipy", "statsforecast",
)  # fmt: skip
ASKED_FOR = (
    "jwt", "cryptography", "redis", "psycopg", "opentelemetry.sdk", "opentelemetry.exporter", "requests", "google",
    "pyarrow", "yaml", "pydantic.v1", "schemathesis", "rich",
)  # fmt: skip
"""What a server loads for tokens, a shared store, traces, columns of Arrow, and nothing else."""


def loaded_by(code: str) -> set[str]:
    """Return the modules a fresh interpreter holds after running the code."""
    program = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def offenders(modules: set[str], forbidden: tuple[str, ...]) -> list[str]:
    return sorted(m for m in modules if any(m == f or m.startswith(f + ".") for f in forbidden))


@pytest.mark.parametrize("entry", ["modelyard.serving.serve", "modelyard.bundle.load", "modelyard.monitoring.watch"])
def test_what_serves_and_watches_loads_nothing_that_trains(entry):
    modules = loaded_by(f"import {entry}")
    assert entry in modules
    assert offenders(modules, TRAINS + HEAVY) == []


def test_a_server_loads_no_package_that_it_was_not_asked_to_use(tmp_path):
    packed = make_plain(tmp_path / "bundle")
    modules = loaded_by(
        "from pathlib import Path\n"
        "from modelyard.flow.loader import loading\n"
        "from modelyard.bundle.load import load_bundle\n"
        "from modelyard.serving.serve import App, Live, PredictionLog, Terms\n"
        f"log = PredictionLog({str(tmp_path / 'log')!r})\n"
        f"app = App(load_bundle({str(packed)!r}), log=log, terms=Terms())\n"
        "app.warm()"
    )
    assert "modelyard.serving.rollout.live" in modules
    assert offenders(modules, TRAINS + HEAVY + ASKED_FOR) == []


def test_a_bundle_is_served_without_a_word_to_anybody(tmp_path):
    packed = make_plain(tmp_path / "bundle")
    code = (
        "from modelyard.bundle.load import load_bundle\n"
        "from modelyard.serving.app import App\n"
        f"App(load_bundle({str(packed)!r})).warm()"
    )
    home = tmp_path / "home"
    home.mkdir()
    unset = {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": str(home), "TMPDIR": str(home)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    # ONNX Runtime puts down an id of this machine, and what it is going to send, where nobody tells it not to.
    assert list(home.rglob("*")) == []


def test_serving_by_a_run_or_release_name_loads_nothing_that_trains():
    modules = loaded_by("import modelyard.cli.serve, modelyard.flow.refs, modelyard.serving.serve")
    assert offenders(modules, TRAINS + HEAVY) == []


def test_import_modelyard_loads_no_stage_and_no_package():
    modules = loaded_by("import modelyard")
    assert offenders(modules, (*HEAVY, "numpy", "polars", "pyarrow", "click", "rich")) == []
    assert {m for m in modules if m.startswith("modelyard")} == {"modelyard"}


def test_help_loads_no_stage():
    code = "import modelyard.cli.main as m\ntry: m.main(['--help'])\nexcept SystemExit: pass"
    modules = loaded_by(code)
    assert offenders(modules, (*HEAVY, "numpy", "polars", "pyarrow", "rich")) == []
    stages = {m.split(".")[1] for m in modules if m.startswith("modelyard.")}
    assert stages == {"cli", "core"}


def test_no_file_is_longer_than_the_cap():
    lines = {p.relative_to(ROOT).as_posix(): len(p.read_text().splitlines()) for p in SOURCE.rglob("*.py")}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


def test_stage_packages_are_empty():
    assert [p for p in SOURCE.glob("*/**/__init__.py") if p.read_text().strip()] == []


def test_import_contracts():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 kept, 0 broken" in done.stdout


def test_nothing_is_pickled():
    guilty = [
        p.name
        for p in SOURCE.rglob("*.py")
        if "import pickle" in p.read_text() or "joblib" in p.read_text() or "allow_pickle=True" in p.read_text()
    ]
    assert guilty == []


def test_every_public_name_resolves():
    import modelyard

    for name in modelyard.__all__:
        assert getattr(modelyard, name).__doc__, name
    assert "develop" in dir(modelyard)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = modelyard.nothing
