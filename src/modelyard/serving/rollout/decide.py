"""decide: the state machine of every kind of rollout, as a function of evidence and time alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelyard.core.errors import ServingError
from modelyard.serving.rollout.rollout import OPEN, Decision, Reading, Rollout, State

_MOVES: dict[str, tuple[tuple[State, ...], State]] = {
    "pause": (("running", "held"), "paused"),
    "resume": (("paused",), "running"),  # who is held at the horizon has no time left to go on
    "promote": (OPEN, "promoted"),
    "rollback": ((*OPEN, "promoted"), "rolled_back"),
}
MOVES = tuple(_MOVES)


def decide(rollout: Rollout, readings: Sequence[Reading], now: float) -> tuple[Decision, str]:
    """Say what follows from a look, and why.

    Evidence against the candidate goes before everything else. Then a metric without data holds: it is neither
    success nor failure. Promotion needs every non-inferiority test and the bake time; what is undecided at the horizon
    waits for a person.
    """
    plan = rollout.plan
    against = [r for r in readings if not r.metric.endswith(" shown")]
    shown = [r for r in readings if r.metric.endswith(" shown")]
    for reading in against:
        if reading.fires:
            return "ROLLBACK", f"{reading.metric}: e = {_shown(reading.log_e)} >= {_shown(reading.needed)}"
    if now - rollout.started >= plan.horizon:
        return "HOLD", "the horizon is reached without a decision: a person decides"
    missing = [r.metric for r in against if r.missing]
    if missing:
        return "HOLD", f"no data: {', '.join(missing)}"
    if plan.kind == "ab":
        return "CONTINUE", "an A/B test runs to its end"
    waiting = [r.metric.removesuffix(" shown") for r in shown if not r.fires]
    if waiting:
        return "CONTINUE", f"not shown yet: {', '.join(waiting)}"
    left = plan.bake - (now - rollout.stepped)
    if left > 0:
        return "CONTINUE", f"all is shown; {left:.0f} s of the bake time are left"
    return "PROMOTE", "non-inferiority is shown and the bake time is over"


def after(rollout: Rollout, decision: Decision, why: str, now: float) -> Rollout:
    """Return where a rollout stands after a decision of its own."""
    plan = rollout.plan
    if rollout.state not in ("running", "held") or decision == "CONTINUE":
        return rollout
    if decision == "ROLLBACK":
        return replace(rollout, state="rolled_back", changed=now, why=why)
    if decision == "HOLD":
        if now - rollout.started < plan.horizon or rollout.state == "held":
            return rollout  # a look without data waits for the next one
        # Where the share is small it may stay; nobody has to be woken for a rollout that did no harm.
        return replace(rollout, state="held", changed=now, why=why)
    if plan.kind == "shadow":
        return replace(rollout, state="ended", changed=now, why="agreement is shown")
    if rollout.step + 1 < len(plan.steps):
        return replace(rollout, step=rollout.step + 1, stepped=now, changed=now, why=why)
    return replace(rollout, state="promoted", changed=now, why=why)


def moved(rollout: Rollout, move: str, by: str, now: float) -> Rollout:
    """Return where a rollout stands after a person moved it.

    Raises
    ------
    ServingError
        If it cannot be moved so from where it stands.
    """
    allowed, state = _MOVES[move]
    if rollout.state not in allowed:
        raise ServingError(
            f"Rollout {rollout.id} of '{rollout.name}' is {rollout.state.replace('_', ' ')}: no {move} from there.",
            allowed=f"{move} takes one that is {' or '.join(s.replace('_', ' ') for s in allowed)}.",
            do=f"See it: modelyard rollout status {rollout.name}",
        )
    if state == "promoted" and rollout.plan.kind == "shadow":
        state = "ended"
    began = now if state == "running" else rollout.stepped
    return replace(rollout, state=state, stepped=began, changed=now, why=f"{move} by {by}")


def _shown(log_e: float) -> str:
    return f"{2.718281828459045 ** min(log_e, 300.0):.3g}"
