"""Rollout: a candidate beside the version that serves, what was promised beforehand, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import msgspec

from modelyard.core.errors import ServingError

Kind = Literal["canary", "blue-green", "shadow", "ab"]
State = Literal["running", "paused", "held", "promoted", "rolled_back", "ended"]
Decision = Literal["CONTINUE", "HOLD", "PROMOTE", "ROLLBACK"]

KINDS: tuple[Kind, ...] = ("canary", "blue-green", "shadow", "ab")
STEPS: dict[Kind, tuple[float, ...]] = {
    "canary": (0.05, 0.25, 0.5),
    "blue-green": (1.0,),
    "shadow": (0.0,),
    "ab": (0.5,),
}
OPEN: tuple[State, ...] = ("running", "paused", "held")
TWO_WEEKS = 14 * 86_400.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is settled before the first request, so that no result can settle it.

    Attributes
    ----------
    kind : {"canary", "blue-green", "shadow", "ab"}
        How the candidate meets requests.
    steps : tuple of float
        Shares of requests the candidate gets, one step after the other. A shadow gets copies and answers nobody.
    look : float
        Seconds between looks.
    bake : float
        Seconds each step lasts at least.
    horizon : float
        Seconds after which an undecided rollout waits for a person.
    error_limit : float
        Share of requests that may fail.
    slow_factor : float
        A request is slow when it takes longer than this many times the baseline's p99.
    score_odds : float
        How many times likelier the candidate's scores may lie below, or above, a quantile of the baseline's; 0 leaves
        scores out.
    disagreement : float
        Of a shadow: share of rows that may be answered otherwise.
    alpha : float
        Chance of rolling back a candidate that holds every limit, shared over the metrics.
    promote_alpha : float
        Chance of promoting a candidate that does not.
    metric, goal, effect : str, {"higher", "lower"}, float
        Of an A/B test: the outcome it was registered for, which way is better, and the least difference worth having.
    reason : str
        Of an A/B test: why less than two weeks are enough.
    """

    kind: Kind = "canary"
    steps: tuple[float, ...] = STEPS["canary"]
    look: float = 60.0
    bake: float = 900.0
    horizon: float = 6 * 3600.0
    error_limit: float = 0.01
    slow_factor: float = 2.0
    score_odds: float = 2.0
    disagreement: float = 0.02
    alpha: float = 0.01
    promote_alpha: float = 0.05
    metric: str = ""
    goal: Literal["higher", "lower"] = "higher"
    effect: float = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        _check("kind", self.kind in KINDS, self.kind, "One of " + ", ".join(KINDS) + ".")
        shares = all(0 < s <= 1 for s in self.steps) or self.kind == "shadow"
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        _check("steps", bool(self.steps) and shares and rising, self.steps, "Rising shares over 0, at most 1.")
        for name in ("look", "horizon", "slow_factor"):
            value = getattr(self, name)
            _check(name, 0 < value < math.inf, value, "A number over 0.")
        _check("bake", 0 <= self.bake <= self.horizon, self.bake, f"0 to the horizon ({self.horizon:g} s).")
        _check(
            "score_odds", self.score_odds == 0 or self.score_odds >= 1, self.score_odds, "1 or more; 0 leaves it out."
        )
        for name in ("error_limit", "disagreement", "alpha", "promote_alpha"):
            value = getattr(self, name)
            _check(name, 0 < value < 0.5, value, "Between 0 and 0.5.")
        if self.kind == "ab":
            _check("metric", bool(self.metric), self.metric, "The outcome the test is registered for.")
            _check(
                "steps", len(self.steps) == 1 and self.steps[0] < 1, self.steps, "One share below 1 for an A/B test."
            )


def planned(said: Mapping[str, Any]) -> Plan:
    """Make a plan of what was said; the rest is as its kind usually has it.

    Parameters
    ----------
    said : mapping of str to object
        Attributes of `Plan`.

    Raises
    ------
    ServingError
        If a plan has no such attribute, or it cannot have such a value; if an A/B test is to end within two weeks and
        no reason is given. (Those that were started before this was asked are read all the same.)
    msgspec.ValidationError
        If a value is of another type.
    """
    known = [field.name for field in fields(Plan)]
    for name in said:
        _check(name, name in known, said[name], ", ".join(known) + ".")
    kind = said.get("kind", "canary")
    usual = STEPS[kind] if kind in KINDS else ()
    long, short = (TWO_WEEKS, TWO_WEEKS) if kind == "ab" else (6 * 3_600.0, 900.0)
    horizon = said.get("horizon", long)
    bake = min(time for time in (short, horizon) if isinstance(time, int | float))
    plan = msgspec.convert({"steps": usual, "horizon": horizon, "bake": bake, **said}, Plan)
    _check(
        "horizon",
        kind != "ab" or plan.horizon >= TWO_WEEKS or bool(plan.reason.strip()),
        plan.horizon,
        f"Two weeks ({TWO_WEEKS:g} s) or more for an A/B test, as weekdays and novelty weigh on a shorter one; less "
        "with a reason, which its report tells.",
    )
    return plan


@dataclass(frozen=True, slots=True)
class Arm:
    """A bundle that takes part: where it lies, its hash, and its release's number."""

    path: str
    hash: str
    number: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout and where it stands.

    Attributes
    ----------
    id : int
        Counts up.
    name : str
        The use case.
    plan : Plan
        As it was registered.
    stable, candidate : Arm
        What serves, and what is to.
    state : str
        "running", "paused" and "held" are open; "promoted", "rolled_back" and "ended" are not.
    step : int
        Which of the plan's steps.
    started, stepped, changed : float
        Moments (seconds since 1970): of the start, of the present step, of the last change of state.
    why : str
        The reason of the last change.
    """

    id: int
    name: str
    plan: Plan
    stable: Arm
    candidate: Arm
    state: State
    step: int
    started: float
    stepped: float
    changed: float
    why: str = ""

    @property
    def share(self) -> float:
        """Share of requests the candidate is to answer now."""
        if self.plan.kind == "shadow":
            return 0.0
        if self.state == "promoted":
            return 1.0
        return self.plan.steps[self.step] if self.state in ("running", "held") else 0.0


@dataclass(frozen=True, slots=True)
class Times:
    """What the same rows took a candidate, and the version that serves, since the look before.

    Attributes
    ----------
    rows : int
        How many were timed.
    median : (float, float)
        Processor seconds of the candidate, and of the version that serves.
    p99 : (float, float) or None
        The same; None where rows are too few to tell.
    """

    rows: int
    median: tuple[float, float]
    p99: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric at one look.

    Attributes
    ----------
    metric : str
        Its name.
    requests, events : int
        The candidate's since the last look: n and x.
    log_e : float
        Log of the evidence against it (or for it, where the name says ``shown``) so far.
    needed : float
        Log of the evidence that decides.
    missing : bool
        Whether there was nothing to judge.
    difference : float or None
        Of a shadow's disagreement: by how much the scores differ in the mean; numbers as a share of the label's range.
    times : Times or None
        Of a shadow's disagreement: what rows took both.
    """

    metric: str
    requests: int
    events: int
    log_e: float
    needed: float
    missing: bool = False
    difference: float | None = None
    times: Times | None = None

    @property
    def fires(self) -> bool:
        """Whether the evidence decides."""
        return self.log_e >= self.needed


def _check(name: str, fine: bool, value: object, allowed: str) -> None:
    if not fine:
        raise ServingError(f"A rollout's '{name}' cannot be {value!r}.", allowed=allowed, do="Plan it anew.")
