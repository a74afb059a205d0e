"""Kernels: one arithmetic for all processors of a kind, chosen before numpy is loaded."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.core.kernels import made_steady

TOLD = """
import json
from modelyard.core.kernels import kernels, steady_kernels
steady_kernels()
import scipy.linalg, threadpoolctl
from numpy._core._multiarray_umath import __cpu_features__ as able
blas = [one["architecture"] for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"]
print(json.dumps([kernels(), blas, [able.get(n, False) for n in ("X86_V4", "AVX512_SKX", "AVX512_ICL")]]))
"""


def flags() -> set[str]:
    file = Path("/proc/cpuinfo")
    return set(file.read_text().split()) if platform.machine() == "x86_64" and file.exists() else set()


def told(**environment: str) -> list[object]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "NPY_"))}
    made = subprocess.run(
        [sys.executable, "-c", TOLD], env=plain | environment, capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout)


@pytest.mark.skipif(not {"avx2", "fma"} <= flags(), reason="the processor lacks AVX2 or FMA")
def test_kernels_are_those_that_all_processors_have() -> None:
    made, blas, able = told()
    assert made == "steady"
    assert blas
    assert set(blas) == {"Haswell"}
    assert not any(able)


@pytest.mark.skipif(not {"avx2", "fma"} <= flags(), reason="the processor lacks AVX2 or FMA")
def test_what_the_environment_says_is_left_alone() -> None:
    made, blas, _ = told(OPENBLAS_CORETYPE="Nehalem")
    assert made == "own"
    assert set(blas) == {"Nehalem"}


def test_nothing_is_set_once_numpy_is_loaded() -> None:
    code = "import numpy, os\nfrom modelyard.core.kernels import kernels, steady_kernels\nsteady_kernels()\n"
    code += "assert kernels() == 'own'\nassert 'OPENBLAS_CORETYPE' not in os.environ\n"
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "NPY_"))}
    subprocess.run([sys.executable, "-c", code], env=plain, check=True)


def test_a_numpy_built_for_one_processor_is_left_alone() -> None:
    """Where what is left out is part of its least demands, numpy would refuse to load."""
    code = "from importlib import metadata\nfrom types import SimpleNamespace as Made\n"
    code += "metadata.distribution = lambda name: Made(read_text=lambda file: 'Tag: cp311-cp311-linux_x86_64')\n"
    code += "import os\nfrom modelyard.core.kernels import kernels, steady_kernels\nsteady_kernels()\n"
    code += "assert kernels() == 'own'\nassert 'NPY_DISABLE_CPU_FEATURES' not in os.environ\n"
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "NPY_"))}
    subprocess.run([sys.executable, "-c", code], env=plain, check=True)


@pytest.mark.parametrize(
    ("text", "steady"),
    [
        ('{"environment": {"kernels": "steady"}}', True),
        ('{"environment": {"kernels": "own"}}', False),
        ('{"environment": {}}', False),
        ('{"environment": 3}', False),
        ("[]", False),
        ("not JSON", False),
        (None, False),
    ],
)
def test_a_recipe_says_which_kernels_its_run_had(text, steady, tmp_path) -> None:
    recipe = tmp_path / "recipe.json"
    if text is not None:
        recipe.write_text(text)
    assert made_steady(recipe) == steady
