"""ab: the answer of an A/B test that was registered beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from modelyard.core.errors import ServingError
from modelyard.data.significance import chi_squared_tail
from modelyard.serving.rollout.eprocess import Floats
from modelyard.serving.rollout.rollout import Rollout
from modelyard.serving.rollout.router import place

Verdict = Literal["yes", "no", "undecided", "not over", "invalid"]

_ARMS = {False: ("a", "stable"), True: ("b",)}
_LEVEL = 0.95
_FEWEST = 30
"""Keys an arm needs: means of fewer are not near enough to normal."""
_MISMATCH = 0.001
"""A sample ratio as unlikely as this says that something was lost or counted twice."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What b has over a, with the interval that holds it in 95 of 100 tests."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of an A/B test.

    Attributes
    ----------
    verdict : {"yes", "no", "undecided", "not over", "invalid"}
        Whether b is better by what was registered.
    why : str
        In a sentence.
    keys : (int, int)
        In a and b.
    expected : float
        Share of keys that b should have.
    ratio_p : float
        p-value of the sample ratio.
    means : (float, float)
        Of the outcome.
    plain : Difference
        Of the means.
    adjusted : Difference or None
        After CUPED, where a covariate is there.
    explained : float
        Share of the outcome's variance that the covariate explains.
    days : float
        For how long it has run.
    """

    verdict: Verdict
    why: str
    keys: tuple[int, int]
    expected: float
    ratio_p: float
    means: tuple[float, float]
    plain: Difference
    adjusted: Difference | None
    explained: float
    days: float


def outcome(
    rollout: Rollout,
    keys: Sequence[str],
    values: Floats,
    covariate: Floats | None = None,
    *,
    variants: Mapping[str, str | None] | None = None,
    now: float,
) -> Outcome:
    """Answer an A/B test from the outcomes of its keys.

    Parameters
    ----------
    rollout : Rollout
        As it was registered. A key's arm follows from it.
    keys : sequence of str
        Request keys, one for each outcome. Outcomes of the same key are averaged, as keys and not requests were
        assigned.
    values : float64 array of shape [n]
        Outcomes.
    covariate : float64 array of shape [n], optional
        Something known of each key from before the test, best of all the same outcome.
    variants : mapping of str to str, optional
        The arm that was logged for a key ("a", or "stable" as the prediction log has it, or "b"), which is then
        compared with where it belongs.
    now : float
        Seconds since 1970.

    Raises
    ------
    ServingError
        If it is no A/B test, or there are too few keys.

    References
    ----------
    Deng, Xu, Kohavi, Walker (2013), "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data" (CUPED). Fabijan et al. (2019), "Diagnosing sample ratio mismatch in online controlled
    experiments". Welch (1947), "The generalization of 'Student's' problem".
    """
    plan = rollout.plan
    if plan.kind != "ab":
        raise ServingError(f"Rollout {rollout.id} of '{rollout.name}' is no A/B test but a {plan.kind}.")
    names, at = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    salt = b"%d" % rollout.id
    in_b = np.array([place(name.encode(), salt) < plan.steps[0] for name in names.tolist()], bool)
    counts = np.bincount(at)
    y = np.bincount(at, values) / counts
    x = None if covariate is None else np.bincount(at, covariate) / counts
    sizes = (int((~in_b).sum()), int(in_b.sum()))
    if min(sizes) < _FEWEST:
        raise ServingError(
            f"There are outcomes of {sizes[0]} and {sizes[1]} keys.", allowed=f"{_FEWEST} or more in each arm."
        )
    logged = [(variants or {}).get(name) for name in names.tolist()]
    strays = sum(bool(arm) and arm not in _ARMS[b] for arm, b in zip(logged, in_b.tolist(), strict=True))
    p = _ratio_p(sizes, plan.steps[0])
    plain = _difference(y, in_b)
    adjusted, explained = None, 0.0
    if x is not None and np.ptp(x) > 0:
        y_left, explained = _without(y, x, in_b)
        adjusted = _difference(y_left, in_b)
    verdict, why = _verdict(rollout, adjusted or plain, p, strays, now)
    means = (float(y[~in_b].mean()), float(y[in_b].mean()))
    days = (now - rollout.started) / 86_400
    return Outcome(verdict, why, sizes, plan.steps[0], p, means, plain, adjusted, explained, days)


def _verdict(rollout: Rollout, found: Difference, p: float, strays: int, now: float) -> tuple[Verdict, str]:
    plan = rollout.plan
    if strays:
        return "invalid", f"{strays} keys met another arm than the one they belong to"
    if p < _MISMATCH:
        return "invalid", f"the arms' sizes do not fit their shares (p = {p:.1g}): outcomes were lost or counted twice"
    if now - rollout.started < plan.horizon:
        return "not over", "the registered end has not come; nothing is decided by figures that may still change"
    sign = 1.0 if plan.goal == "higher" else -1.0
    low, high = sorted((sign * found.low, sign * found.high))
    if low > 0 and sign * found.value >= plan.effect:
        return "yes", f"b is better in {plan.metric}, by the registered {plan.effect:g} or more"
    if high < max(plan.effect, 0.0):
        return "no", f"b is not better in {plan.metric} by the registered {plan.effect:g}"
    return "undecided", "the interval holds both a difference worth having and none"


def _difference(y: Floats, in_b: np.ndarray) -> Difference:
    a, b = y[~in_b], y[in_b]
    value = float(b.mean() - a.mean())
    half = NormalDist().inv_cdf(0.5 + _LEVEL / 2) * float(np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))
    return Difference(value, value - half, value + half)


def _without(y: Floats, x: Floats, in_b: np.ndarray) -> tuple[Floats, float]:
    """Return the outcome without what the covariate explains of it, and how much that is.

    The slope is that within the arms: a difference between them is what is asked for.
    """
    centred = [part - np.where(in_b, part[in_b].mean(), part[~in_b].mean()) for part in (x, y)]
    slope = float((centred[0] * centred[1]).sum() / (centred[0] ** 2).sum())
    left = y - slope * (x - x.mean())
    before = float((centred[1] ** 2).sum())
    return left, slope**2 * float((centred[0] ** 2).sum()) / before if before > 0 else 0.0


def _ratio_p(sizes: tuple[int, int], share: float) -> float:
    total = sum(sizes)
    expected = (total * (1 - share), total * share)
    statistic = sum((n - e) ** 2 / e for n, e in zip(sizes, expected, strict=True))
    return chi_squared_tail(statistic, 1)
