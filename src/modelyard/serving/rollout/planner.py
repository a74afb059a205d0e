"""planner: how long a rollout needs at the given traffic, said before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from modelyard.serving.rollout.judge import Ints
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.simulate import Truth, simulate

_RUNS = 200
_LOOKS = 120
_POWER = 0.9
_LEVEL = 0.95
"""Of the interval that an A/B test's answer goes by."""
_SHARES = (0.05, 0.1, 0.25, 0.5)
_DAY = 86_400.0
_LONGEST = 30 * _DAY
_WATCHED = 200_000
"""Requests of an A/B test that are simulated at most: limits are decided by fewer, and it ends by the calendar."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a rollout will meet, as far as it is known beforehand.

    Attributes
    ----------
    rate : float
        Requests a second.
    errors, bad : float
        Share of requests that fail: of the baseline, and of a candidate that must be caught.
    burst : float
        Mean number of errors that come together.
    differs : float
        Of a shadow: share of rows that a good candidate answers otherwise.
    sd : float or None
        Of an A/B test: the standard deviation of the outcome between keys; None plans no outcome.
    keys : float or None
        Of an A/B test: keys a day that bring an outcome; None takes each request for a key of its own.
    """

    rate: float
    errors: float
    bad: float
    burst: float = 1.0
    differs: float = 0.01
    sd: float | None = None
    keys: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan can do with what it will meet.

    Attributes
    ----------
    steps : tuple of float
        The candidate's shares of requests.
    horizon : float
        Seconds after which it waits for a person.
    caught : float
        Chance that a bad candidate is rolled back before it has passed the last step, and within the horizon.
    caught_after : float
        Median seconds until it is; infinite where it is not in half of the runs.
    shown : float
        Chance that a good candidate passes every step within the horizon; of an A/B test, that it is not rolled back.
    shown_after : tuple of float
        Median seconds until it has passed each step; of an A/B test its end.
    keys : int or None
        Of an A/B test whose outcome is planned: how many keys tell the registered effect from none.
    keys_after : float or None
        Seconds until there are as many.
    """

    steps: tuple[float, ...]
    horizon: float
    caught: float
    caught_after: float
    shown: float
    shown_after: tuple[float, ...]
    keys: int | None = None
    keys_after: float | None = None

    @property
    def decides(self) -> bool:
        """Whether good and bad candidates are told apart nine times in ten, and a planned outcome by the end."""
        return self.caught >= _POWER and self.shown >= _POWER and (self.keys_after or 0.0) <= self.horizon


def forecast(plan: Plan, expected: Expected, *, seed: int = 0) -> Forecast:
    """Simulate a plan with a good candidate, which is as the baseline is, and with a bad one.

    The plan is judged as it will be: by its kind's metrics, over all its steps. Scores are not simulated: their metric
    has its share of alpha, and neither candidate's scores move.

    Parameters
    ----------
    plan : Plan
        What is planned.
    expected : Expected
        What it will meet.
    seed : int
        Of the random numbers.
    """
    tested = plan.kind == "ab"
    seconds = min(plan.horizon, _WATCHED / expected.rate) if tested else plan.horizon
    # Longer looks at the same counts say nearly the same, so that a month costs no more than an hour.
    looks = min(_LOOKS, max(1, int(seconds / plan.look)))
    coarse = replace(plan, look=seconds / looks, bake=0.0 if tested else plan.bake)
    good = Truth(expected.rate, expected.errors, expected.errors, expected.burst, shift=None, differs=expected.differs)
    worse = simulate(coarse, replace(good, candidate_errors=expected.bad), runs=_RUNS, looks=looks, seed=seed)
    fine = simulate(coarse, good, runs=_RUNS, looks=looks, seed=seed)
    keys = _keys(plan, expected.sd)
    return Forecast(
        plan.steps,
        plan.horizon,
        float((worse.first > 0).mean()),
        _median(worse.first, coarse.look),
        float((fine.first == 0).mean() if tested else (fine.passed[-1] > 0).mean()),
        (plan.horizon,) if tested else tuple(_median(passed, coarse.look) for passed in fine.passed),
        keys,
        None if keys is None else _keys_after(expected, keys),
    )


def proposals(plan: Plan, expected: Expected) -> Iterator[Forecast]:
    """Return plans that decide where the given one does not: one of a larger share, one of a longer time."""
    if _cannot_pass(plan, expected):
        return
    if plan.kind == "canary":
        for share in (s for s in _SHARES if s > plan.steps[0]):
            found = forecast(replace(plan, steps=(share, *(s for s in plan.steps if s > share))), expected)
            if found.decides:
                yield found
                break
    outcome = _DAY * math.ceil(_keys_after(expected, _keys(plan, expected.sd) or 0) / _DAY)
    horizon = outcome if outcome > plan.horizon else 3 * plan.horizon
    while horizon <= _LONGEST:
        found = forecast(replace(plan, horizon=horizon), expected)
        if found.decides:
            yield found
            return
        horizon *= 3


def said(plan: Plan, found: Forecast, expected: Expected) -> list[str]:
    """Return what a forecast says, in sentences."""
    shares = ", ".join(f"{share:.0%}" for share in found.steps) + " of requests"
    lines = [
        f"With {'copies of all requests' if plan.kind == 'shadow' else shares}, within {_time(found.horizon)}:",
        f"  a candidate that fails {expected.bad:.2%} is rolled back in {found.caught:.0%} of runs, "
        f"after {_time(found.caught_after)} (median)",
        f"  one like the baseline ({expected.errors:.2%}) {_passes(plan, found, expected)}",
    ]
    if found.keys is not None and found.keys_after is not None:
        lines.append(
            f"  {found.keys:,} keys tell a difference of {plan.effect:g} from none in {_POWER:.0%} of tests: "
            f"{_time(found.keys_after)}"
        )
    elif plan.kind == "ab":
        lines.append("  whether its outcome can be decided is not known: say --effect, and --sd of the outcome")
    return lines + _cannot_pass(plan, expected)


def _passes(plan: Plan, found: Forecast, expected: Expected) -> str:
    if plan.kind == "ab":
        return f"is still there at the end in {found.shown:.0%}"
    passed = [seconds for seconds in found.shown_after if seconds < math.inf]
    after = ", ".join(_time(seconds) for seconds in (*passed, *found.shown_after[len(passed) :][:1]))
    if plan.kind == "shadow":
        last = found.shown_after[-1]
        pairs = "" if last == math.inf else f", {expected.rate * last:,.0f} pairs"
        return (
            f"that answers {expected.differs:.2%} of rows otherwise is shown to agree in {found.shown:.0%}, "
            f"after {after}{pairs} (median, bake time included)"
        )
    step = "its step" if len(found.steps) == 1 else f"its {len(found.steps)} steps"
    return f"passes {step} in {found.shown:.0%}, after {after} (medians, bake time included)"


def _cannot_pass(plan: Plan, expected: Expected) -> list[str]:
    """Say why no share and no time shows that a good candidate holds a limit, where it breaks that limit."""
    why = []
    if expected.errors >= plan.error_limit:
        why.append(
            f"The baseline itself fails {expected.errors:.2%}, the limit is {plan.error_limit:.2%}: nothing like it "
            f"can pass."
        )
    if plan.kind == "shadow" and expected.differs >= plan.disagreement:
        why.append(
            f"A candidate that answers {expected.differs:.2%} otherwise cannot pass: the limit is "
            f"{plan.disagreement:.2%}."
        )
    return why


def _keys(plan: Plan, sd: float | None) -> int | None:
    """Return the keys of both arms that tell the registered effect from none.

    With so many, a b without any difference is found to be "not better by the effect" in nine tests of ten, and one
    that is better by twice the effect is found so nearly always. (A b that is better by the effect itself is a toss-up
    however many there are: half of the estimates fall short of it.) A covariate makes do with fewer.
    """
    if plan.kind != "ab" or sd is None or plan.effect <= 0:
        return None
    normal, (share,) = NormalDist(), plan.steps
    error = plan.effect / (normal.inv_cdf(0.5 + _LEVEL / 2) + normal.inv_cdf(_POWER))
    return math.ceil(sd**2 / (error**2 * share * (1 - share)))


def _keys_after(expected: Expected, keys: int) -> float:
    return keys / expected.rate if expected.keys is None else _DAY * keys / expected.keys


def _median(looks: Ints, seconds: float) -> float:
    if (looks > 0).mean() < 0.5:
        return math.inf
    return float(np.median(np.where(looks > 0, looks, looks.max(initial=1) + 1))) * seconds


def _time(seconds: float) -> str:
    for unit, length in (("days", _DAY), ("h", 3_600.0), ("min", 60.0)):
        if seconds == math.inf:
            return "no time within it"
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}" if seconds < 100 * length else f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"
