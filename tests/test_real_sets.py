"""develop, untouched, on eight real sets: each at least as good as an untuned reference (see benchmarks/floors.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import floors


@pytest.mark.slow
@pytest.mark.parametrize("case", floors.CASES, ids=lambda case: case.name)
def test_develop_holds_the_floor(case, tmp_path):
    assert floors.measure(case, 60.0, tmp_path)
