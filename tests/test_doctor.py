"""doctor: what a machine and a workspace need is looked at, and nothing is left out."""

from __future__ import annotations

import tomllib
from pathlib import Path

from modelyard.flow.doctor import examine

ROOT = Path(__file__).parents[1]


def test_every_extra_that_can_be_installed_is_looked_for(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {f"[{name}]" for name in project["optional-dependencies"] if name not in ("all", "dev")}
    looked = {check.name for check in examine(tmp_path / "yard")}
    assert extras - looked == set()
