"""released: what the workspace's registry knows of a bundle that takes part in a rollout."""

from __future__ import annotations

from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.registry.database import FILE
from modelyard.registry.gates import PRODUCTION, verdict
from modelyard.registry.refusal import refusal
from modelyard.registry.release import Gate, Release
from modelyard.registry.store import Registry


def number_of(folder: Path, bundle: Bundle) -> str:
    """Return the version of the release that a bundle is, empty where the registry has none of it.

    Parameters
    ----------
    folder : path
        Where rollouts lie: the registry lies beside it.
    bundle : Bundle
        Which one.
    """
    path = folder.parent / FILE
    found = Registry.at(path).holding(bundle.manifest.name, bundle.hash) if path.is_file() else None
    return "" if found is None else str(found.version)


def check_gates(folder: Path, bundle: Bundle, *, approved: bool = False) -> None:
    """Refuse a candidate that the registry would not let into production, as far as it has asked its gates.

    Where the registry has no release of that name there is nothing to go by.

    Parameters
    ----------
    folder : path
        Where rollouts lie: the registry lies beside it.
    bundle : Bundle
        The candidate.
    approved : bool
        Whether a person decides where a gate is inconclusive, or the candidate is no release.

    Raises
    ------
    GateFailed
        If a gate said no; nobody overrules that.
    Undecided
        If one could not be decided, and no person approves.
    """
    path = folder.parent / FILE
    releases = Registry.at(path).releases(bundle.manifest.name) if path.is_file() else ()
    if not releases:
        return
    release = next((one for one in releases if one.hash == bundle.hash), None)
    gates = (
        (Gate("registered", "inconclusive", f"the bundle is no release of '{bundle.manifest.name}'"),)
        if release is None
        else _last_asked(Registry.at(path), release)
    )
    answer = verdict(gates)
    if answer == "fail" or (answer == "inconclusive" and not approved):
        label = f"The bundle {bundle.hash[:12]}" if release is None else release.label
        raise refusal(f"{label} is not let into a rollout.", gates)


def _last_asked(registry: Registry, release: Release) -> tuple[Gate, ...]:
    """Return what a release's gates answered when they were last asked, where a person has not decided it since.

    Whether it is better than production is left open where the same rows could not tell: a rollout may.
    """
    asked = [e for e in registry.history(release.name, release.version) if e.gates or e.action == "register"]
    if asked[-1].action == "promote":
        return (Gate("promoted", "pass", f"to {asked[-1].after}"),)
    open_ = [gate for gate in asked[-1].gates if (gate.name, gate.answer) != (PRODUCTION, "inconclusive")]
    return tuple(open_) or (Gate("evidence", "inconclusive", "it was registered without a report"),)
