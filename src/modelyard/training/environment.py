"""Where a run was made: Python, platform, cores, package versions, git commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib import metadata

from modelyard.core.kernels import kernels
from modelyard.core.machine import usable_cores

_OURS = "modelyard"
_EXTRAS = ("train", "catboost", "forecast", "nets")


def environment() -> dict[str, str]:
    """Return Python, platform, cores, kernels, and the versions of the packages training rests on."""
    facts = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": str(usable_cores()),
        "kernels": kernels(),
    }
    direct = {name for name, extra in _requires(_OURS) if not extra or extra in _EXTRAS}
    return facts | {name: version for name, version in ((n, _version(n)) for n in sorted(direct)) if version}


def lock() -> tuple[str, ...]:
    """Return ``name==version`` of this package and of every installed package it rests on, in order of name."""
    found: dict[str, str] = {}
    waiting, seen = [_OURS], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        version = _version(name)
        if version is None:
            continue
        found[name] = version
        wanted = _EXTRAS if name == _OURS else ()
        waiting += [other for other, extra in _requires(name) if not extra or extra in wanted]
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))


def commit() -> str | None:
    """Return the git commit of the present folder, ``-dirty`` when files differ from it, or None without one."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return None
    return f"{head}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else head


def _git(*words: str) -> str | None:
    # Reading must not take git's lock from whoever commits meanwhile.
    surroundings = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *words], capture_output=True, text=True, timeout=10, check=False, env=surroundings
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requires(name: str) -> Iterator[tuple[str, str]]:
    """Yield (package, extra that asks for it or "") of each requirement, whatever its other markers say."""
    for line in metadata.requires(name) or ():
        requirement, _, marker = line.partition(";")
        package = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", marker)
        if package:
            yield re.sub(r"[-_.]+", "-", package[0]).lower(), extra[1] if extra else ""
