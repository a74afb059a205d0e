"""What a machine and a workspace need before work begins."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from modelyard.core.errors import ModelyardError
from modelyard.core.machine import usable_cores
from modelyard.flow.workspace import Workspace

_EXTRAS = {
    "train": ("lightgbm", "xgboost-cpu", "scikit-learn", "optuna", "onnx", "mlflow"),
    "catboost": ("catboost",),
    "forecast": ("statsforecast",),
    "nets": ("torch",),
    "auth": ("PyJWT", "cryptography"),
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    "postgres": ("psycopg",),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ok, missing (an option is not there) or bad (work cannot begin)."""

    name: str
    state: Literal["ok", "missing", "bad"]
    detail: str
    do: str = ""


def examine(workspace: Path) -> tuple[Check, ...]:
    """Look at Python, packages, cores, memory, disk and the workspace."""
    python = ".".join(map(str, sys.version_info[:3]))
    checks = [
        Check("python", "ok", f"{python} on {platform.system()} {platform.machine()}"),
        Check("cores", "ok", str(usable_cores())),
        Check("memory", "ok", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
    ]
    for extra, packages in _EXTRAS.items():
        found = {p: _version(p) for p in packages}
        absent = [p for p, v in found.items() if v is None]
        if absent:
            install = f'pip install "modelyard[{extra}]"'
            checks.append(Check(f"[{extra}]", "missing", "not installed: " + ", ".join(absent), install))
        else:
            checks.append(Check(f"[{extra}]", "ok", ", ".join(f"{p} {v}" for p, v in found.items())))
    return (*checks, *_workspace(workspace))


def _version(package: str) -> str | None:
    # The GPU build of XGBoost is the same package to us.
    for name in (package, package.removesuffix("-cpu")):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _workspace(path: Path) -> list[Check]:
    try:
        yard = Workspace.open(path)
        records = yard.records()
    except ModelyardError as error:
        return [Check("workspace", "bad", error.what, error.do or "")]
    free = shutil.disk_usage(yard.root).free / 2**30
    checks = [
        Check("workspace", "ok", f"{yard.root}, {len(records)} runs"),
        Check(
            "disk",
            "ok" if free > 1 else "bad",
            f"{free:.1f} GiB free",
            "" if free > 1 else "Free some space, or name another folder with --workspace.",
        ),
    ]
    stopped = [r.id for r in records if r.status != "finished"]
    if stopped:
        checks.append(
            Check(
                "unfinished", "ok", ", ".join(stopped), "Run develop with the same brief again: they go on from there."
            )
        )
    return checks
