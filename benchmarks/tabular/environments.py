"""What is installed for each framework, in an environment of its own."""

from __future__ import annotations

import os
import sys

from environments import TORCH, apart, home, interpreter

__all__ = ["FRAMEWORKS", "PACKAGES", "PINS", "environment", "home", "python"]

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


def python(framework: str) -> str:
    """Return a framework's interpreter; its environment is made first where it is not there yet.

    Raises
    ------
    subprocess.CalledProcessError
        If a package cannot be installed.
    """
    return sys.executable if framework == "modelyard" else interpreter(framework, PINS[framework])


def environment(framework: str) -> dict[str, str]:
    """Return the variables a framework runs with."""
    return {**(os.environ if framework == "modelyard" else apart()), "OMP_WAIT_POLICY": "PASSIVE"}
