"""refusal: what is said, and kept, when gates do not let a release move."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.core.errors import GateFailed, Undecided
from modelyard.registry.gates import verdict
from modelyard.registry.release import Gate


def refusal(what: str, gates: Sequence[Gate]) -> GateFailed | Undecided:
    """Return the error for a release that its gates do not let through.

    Parameters
    ----------
    what : str
        What does not happen.
    gates : sequence of Gate
        What they answered; one at least did not pass.
    """
    why = "; ".join(f"{gate.name} {gate.answer}: {gate.why}" for gate in gates if gate.answer != "pass")
    if verdict(gates) == "fail":
        return GateFailed(what, where=why, do="Improve the model, then register it again.")
    return Undecided(what, where=why, do="Bring what is missing, or let a person decide: --approve NAME --why TEXT")


def refusal_note(gates: Sequence[Gate]) -> str:
    """Return the note of a refusal in the history: the gates themselves stand beside it."""
    n = sum(gate.answer != "pass" for gate in gates)
    return f"refused: {n} gate{'' if n == 1 else 's'}"
