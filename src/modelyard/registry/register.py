"""register: a packed model and its report become a release, with the evidence every later move is decided by."""

from __future__ import annotations

import getpass
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.latency import Timing, measure
from modelyard.core.canonical import from_json
from modelyard.data.finding import Finding
from modelyard.evaluation.report import Report
from modelyard.registry import gates
from modelyard.registry.database import FILE
from modelyard.registry.mirror import Mirror, reflect
from modelyard.registry.release import Gate, Release
from modelyard.registry.store import Registry


def register(
    bundle: Bundle,
    report: Report,
    *,
    registry: Registry | None = None,
    latency: Timing | None = None,
    findings: Sequence[Finding] = (),
    by: str | None = None,
    mirror: Mirror | None = None,
) -> Release:
    """Enter a bundle in the registry, in development; nothing is copied.

    Every bundle is entered, good or bad: a refusal belongs in the history too. The gates are asked here and kept;
    they decide when the release is promoted.

    Parameters
    ----------
    bundle : Bundle
        What was packed.
    report : Report
        What it is worth.
    registry : Registry, optional
        Default: ``registry.db`` in the workspace (``MODELYARD_WORKSPACE``, else ``yard``).
    latency : Timing, optional
        What `modelyard.bundle.latency.measure` found; default: where the brief sets a limit, it is measured here, on
        the bundle's example rows.
    findings : sequence of Finding
        What was seen in the data and is still open.
    by : str, optional
        Who enters it; default: the user of this process.
    mirror : Mirror, optional
        Another registry that shows the release; a warning says so when it fails.

    Returns
    -------
    Release
        The new version, or the one this bundle was entered as before.
    """
    store = registry or Registry(default_path())
    if latency is None and bundle.manifest.brief.latency is not None:
        latency = measure(bundle, from_json((bundle.path / "examples.json").read_bytes(), list[dict[str, Any]]))
    release = store.register(
        bundle.manifest.name,
        bundle.path,
        bundle.hash,
        bundle.manifest.lineage.run,
        by=by or whoever(),
        gates=evidence(bundle, report, latency=latency, findings=findings),
    )
    if mirror is not None:
        fault = reflect(mirror, release, store.releases(release.name))
        if fault:
            warnings.warn(fault, stacklevel=2)
    return release


def evidence(
    bundle: Bundle, report: Report, *, latency: Timing | None = None, findings: Sequence[Finding] = ()
) -> tuple[Gate, ...]:
    """Ask every gate that needs no other release: target, baseline, latency, size, parity, leaks."""
    parity = bundle.manifest.facts.get("parity", {})
    return (
        gates.target_met(report),
        gates.beats_baseline(report),
        gates.latency(bundle.manifest.brief.latency, None if latency is None else latency.p99),
        gates.size(bundle.manifest.brief.size, bundle.manifest.facts.get("bytes")),
        gates.parity(parity.get("largest"), parity.get("limit", 0.0), parity.get("rows", 0)),
        gates.no_open_leak(findings),
    )


def default_path() -> Path:
    """Return the registry's file in the workspace the environment names, else in ``yard``."""
    return Path(os.environ.get("MODELYARD_WORKSPACE") or "yard") / FILE


def whoever() -> str:
    """Return the name of the user this process runs as."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number without a name.
        return f"uid {os.getuid()}"
