"""A virtual environment of its own for each framework, so that none has to live with another's pins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TORCH = ("torch==2.13.0",)
"""Installed first and alone, so that the build without CUDA is taken."""
PINS: dict[str, tuple[tuple[str, ...], ...]] = {
    "autogluon": (TORCH, ("autogluon.tabular[lightgbm,catboost]==1.6.3", "xgboost-cpu==3.2.0", "pyarrow")),
    "flaml": (
        tuple("flaml==2.7.0 lightgbm==4.7.0 xgboost-cpu==3.2.0 scikit-learn pandas pyarrow psutil joblib".split()),
    ),
    "mljar": (("mljar-supervised==1.3.2", "pyarrow"),),
    "lightgbm": (("lightgbm==4.7.0", "scikit-learn==1.9.1", "pandas<3", "pyarrow"),),
}  # fmt: skip
PACKAGES = {
    "modelyard": "modelyard", "autogluon": "autogluon.tabular", "flaml": "flaml", "mljar": "mljar-supervised",
    "lightgbm": "lightgbm",
}  # fmt: skip
FRAMEWORKS = tuple(PACKAGES)
"""This project first, then its peers."""


def home() -> Path:
    """Return the folder of environments and splits: ``MODELYARD_BENCH``, or ``.bench`` in the repository."""
    return Path(os.environ.get("MODELYARD_BENCH") or ROOT / ".bench").resolve()


def python(framework: str) -> str:
    """Return a framework's interpreter; its environment is made first where it is not there yet.

    Raises
    ------
    subprocess.CalledProcessError
        If a package cannot be installed.
    """
    if framework == "modelyard":
        return sys.executable
    folder = home() / framework
    interpreter, ready = folder / "bin/python", folder / ".ready"
    pins = repr(PINS[framework])
    if not ready.exists() or ready.read_text(encoding="utf-8") != pins:
        print(f"environment of {framework}: {folder}", flush=True)
        if not interpreter.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in PINS[framework]:
            words = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
            subprocess.run(words, check=True, env=environment(framework))
        ready.write_text(pins, encoding="utf-8")
    return str(interpreter)


def environment(framework: str) -> dict[str, str]:
    """Return the variables a framework runs with: this project's import path stays with this project."""
    kept = {k: v for k, v in os.environ.items() if framework == "modelyard" or k != "PYTHONPATH"}
    return {**kept, "OMP_WAIT_POLICY": "PASSIVE"}
