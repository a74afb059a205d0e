"""planner: how long a rollout needs at the given traffic, said before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from modelyard.serving.rollout.judge import Ints
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.simulate import Truth, simulate

_RUNS = 200
_LOOKS = 40
_POWER = 0.9
_SHARES = (0.05, 0.1, 0.25, 0.5)
_LONGEST = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan can do at the traffic it will meet.

    Attributes
    ----------
    share : float
        The candidate's share of requests at the first step.
    horizon : float
        Seconds after which it waits for a person.
    caught : float
        Chance that a bad candidate is rolled back within the horizon.
    caught_after : float
        Median seconds until it is; infinite where it is not in half of the runs.
    shown : float
        Chance that a good candidate passes the first step within the horizon.
    shown_after : float
        Median seconds until it has.
    """

    share: float
    horizon: float
    caught: float
    caught_after: float
    shown: float
    shown_after: float

    @property
    def decides(self) -> bool:
        """Whether good and bad candidates are told apart nine times in ten."""
        return self.caught >= _POWER and self.shown >= _POWER


def forecast(plan: Plan, rate: float, errors: float, bad: float, *, burst: float = 1.0, seed: int = 0) -> Forecast:
    """Simulate a plan's first step with a good candidate, as the baseline is, and with a bad one.

    Parameters
    ----------
    plan : Plan
        What is planned; a shadow or a blue-green switch is judged on every request.
    rate : float
        Requests a second.
    errors, bad : float
        Share of requests that fail: of the baseline, and of a candidate that must be caught.
    burst : float
        Mean number of errors that come together.
    """
    # Longer looks at the same counts say nearly the same, so that a month costs no more than an hour.
    looks = min(_LOOKS, max(1, int(plan.horizon / plan.look)))
    share = min(plan.steps[0], 0.99) if plan.kind == "canary" or plan.kind == "ab" else 0.99
    coarse = replace(plan, look=plan.horizon / looks, steps=(share,), score_odds=0.0, kind="canary")
    good = simulate(coarse, Truth(rate, errors, errors, burst), runs=_RUNS, looks=looks, seed=seed)
    worse = simulate(coarse, Truth(rate, errors, bad, burst), runs=_RUNS, looks=looks, seed=seed)
    first = worse.first
    return Forecast(
        plan.steps[0],
        plan.horizon,
        float((first > 0).mean()),
        _median(first, coarse.look),
        float((good.shown > 0).mean()),
        max(plan.bake, _median(good.shown, coarse.look)),
    )


def proposals(plan: Plan, rate: float, errors: float, bad: float, *, burst: float = 1.0) -> Iterator[Forecast]:
    """Return plans that decide where the given one does not: one of a larger share, one of a longer time."""
    if errors >= plan.error_limit:
        return  # no share and no time shows that a candidate like the baseline holds a limit the baseline breaks
    if plan.kind == "canary":
        for share in (s for s in _SHARES if s > plan.steps[0]):
            found = forecast(replace(plan, steps=(share,)), rate, errors, bad, burst=burst)
            if found.decides:
                yield found
                break
    horizon = 3 * plan.horizon
    while horizon <= _LONGEST:
        found = forecast(replace(plan, horizon=horizon), rate, errors, bad, burst=burst)
        if found.decides:
            yield found
            return
        horizon *= 3


def said(plan: Plan, found: Forecast, errors: float, bad: float) -> list[str]:
    """Return what a forecast says, in sentences."""
    lines = [
        f"At {found.share:.0%} of requests and {_time(found.horizon)}:",
        f"  a candidate that fails {bad:.2%} is rolled back in {found.caught:.0%} of runs, "
        f"after {_time(found.caught_after)} (median)",
        f"  one like the baseline ({errors:.2%}) passes the first step in {found.shown:.0%}, "
        f"after {_time(found.shown_after)} (median, bake time included)",
    ]
    if errors >= plan.error_limit:
        lines.append(
            f"The baseline itself fails {errors:.2%}, the limit is {plan.error_limit:.2%}: nothing like it can pass."
        )
    return lines


def _median(looks: Ints, seconds: float) -> float:
    if (looks > 0).mean() < 0.5:
        return float("inf")
    return float(np.median(np.where(looks > 0, looks, looks.max(initial=1) + 1))) * seconds


def _time(seconds: float) -> str:
    for unit, length in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds == float("inf"):
            return "no time within it"
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"
