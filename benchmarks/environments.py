"""Virtual environments of peers, one for each, so that none has to live with another's pins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = ("torch==2.13.0",)
"""Installed first and alone where a peer draws it, so that the build without CUDA is taken."""


def home() -> Path:
    """Return the folder of environments and data: ``MODELYARD_BENCH``, or ``.bench`` in the repository."""
    return Path(os.environ.get("MODELYARD_BENCH") or ROOT / ".bench").resolve()


def interpreter(peer: str, pins: Sequence[Sequence[str]]) -> str:
    """Return a peer's interpreter; its environment is made first where it is not there yet.

    Parameters
    ----------
    peer : str
        Its name, and that of its folder.
    pins : sequence of sequence of str
        Requirements, in groups that are installed one after the other.

    Raises
    ------
    subprocess.CalledProcessError
        If a package cannot be installed.
    """
    folder = home() / peer
    python, ready = folder / "bin/python", folder / ".ready"
    stamp = repr(pins)
    if not ready.exists() or ready.read_text(encoding="utf-8") != stamp:
        print(f"environment of {peer}: {folder}", flush=True)
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in pins:
            words = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
            subprocess.run(words, check=True, env=apart())
        ready.write_text(stamp, encoding="utf-8")
    return str(python)


def apart() -> dict[str, str]:
    """Return the variables a peer runs with: this project's import path stays with this project."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
