"""refusal: what is said of a release that its gates keep from moving."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.core.errors import GateFailed, Undecided
from modelyard.registry.gates import verdict
from modelyard.registry.release import Gate, Release, Stage


def label(release: Release) -> str:
    """Return what an error calls a release."""
    return f"'{release.name}' version {release.version}"


def count(gates: Sequence[Gate]) -> str:
    """Return the note of a refusal: the gates themselves stand beside it."""
    n = sum(gate.answer != "pass" for gate in gates)
    return f"refused: {n} gate{'' if n == 1 else 's'}"


def refused(release: Release, to: Stage, gates: Sequence[Gate]) -> GateFailed | Undecided:
    """Return the error for a move that gates refuse, or leave to a person."""
    what = f"{label(release)} was not moved to {to}."
    if verdict(gates) == "fail":
        return GateFailed(what, where=_reasons(gates), do="Better the model, then register it again.")
    return Undecided(
        what,
        where=_reasons(gates),
        do="Bring what is missing, or let a person decide: --approve NAME --why TEXT",
    )


def _reasons(gates: Sequence[Gate]) -> str:
    return "; ".join(f"{gate.name} {gate.answer}: {gate.why}" for gate in gates if gate.answer != "pass")
