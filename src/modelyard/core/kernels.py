"""Kernels: arithmetic that gives the same bits on every processor of a kind."""

from __future__ import annotations

import json
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

_STEADY = {
    "OPENBLAS_CORETYPE": "Haswell",
    # What numpy knows beyond AVX2 and FMA: names as of 2.4, and those before. It passes over names it does not have.
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL",
}


def steady_kernels() -> None:
    """Have matrix products and elementary functions computed alike on all x86-64 processors with AVX2 and FMA.

    OpenBLAS and numpy choose among kernels by what a processor can do, and those differ in their last bits: so do lines
    fitted by them, and all that is made of their answers. Boosted trees do not. Both read this process's environment
    when they are loaded, so it must be called before. What the environment already says is left alone, and so are a
    processor that lacks either and a numpy of another build. Networks, which torch fits, choose for themselves.
    """
    if "numpy" in sys.modules or platform.machine() not in ("x86_64", "AMD64") or not _of_its_makers():
        return
    with suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text().split()
        if "avx2" in flags and "fma" in flags:
            for name, value in _STEADY.items():
                os.environ.setdefault(name, value)


def _of_its_makers() -> bool:
    """Say whether numpy is of its makers' wheel: one built to demand what is to be left out would refuse to load."""
    from importlib import metadata  # help pages do without

    with suppress(metadata.PackageNotFoundError):
        tags = metadata.distribution("numpy").read_text("WHEEL") or ""
        return "manylinux" in tags or "musllinux" in tags
    return False


def kernels() -> str:
    """Return "steady" where `steady_kernels` chose this process's kernels, and "own" where the processor did."""
    return "steady" if all(os.environ.get(name) == value for name, value in _STEADY.items()) else "own"


def made_steady(recipe: Path) -> bool:
    """Say whether a recipe is of a run with steady kernels: only those give its bits again."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # who reads the recipe says what is wrong
        return bool(json.loads(recipe.read_bytes())["environment"].get("kernels") == "steady")
    return False
