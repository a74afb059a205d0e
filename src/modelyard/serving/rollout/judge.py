"""judge: what the requests since the last look say about the candidate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelyard.serving.rollout.board import MILLION
from modelyard.serving.rollout.eprocess import Evidence, Floats, nothing, odds_test, rate_test
from modelyard.serving.rollout.rollout import Plan, Reading
from modelyard.serving.rollout.times import times_of

Ints = NDArray[np.int64]
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the baseline's scores: what lies below and above each is compared."""
_LIMIT, _BASELINE, _SLOW, _SCORES, _WRONG = "errors", "errors against baseline", "slow", "scores", "disagreement"
_SHOWN = {_LIMIT: "errors shown", _SLOW: "slow shown", _WRONG: "disagreement shown"}


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of one arm since the last look; arrays of any leading shape.

    Attributes
    ----------
    requests, errors : int arrays of shape [...]
        Those that were sent to it, and those it could not answer.
    timed, slow : int arrays of shape [...]
        Those that a p99 was there to compare with, and those slower than it allows.
    scored, below : int arrays of shape [...] and [..., quantiles]
        Scores that were counted, and how many lie at or below each quantile of the baseline's earlier scores.
    took : int array of shape [2 x bins] or None
        Of a shadow: how many of the rows that both were timed for took how long, by the version that serves and then by
        the candidate.
    """

    requests: Ints
    errors: Ints
    timed: Ints
    slow: Ints
    scored: Ints
    below: Ints
    took: Ints | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """What happened since the last look."""

    candidate: Counts
    baseline: Counts


@dataclass(frozen=True, slots=True)
class Gathered:
    """The e-processes of a rollout: those against the candidate by metric, and those for it over the present step."""

    against: dict[str, Evidence]
    shown: dict[str, Evidence]


def metrics(plan: Plan) -> tuple[str, ...]:
    """Return the metrics a plan watches: they share its alpha."""
    if plan.kind == "shadow":
        return (_LIMIT, _WRONG)  # its times are the model's alone: they are told, and what callers wait is tested later
    if plan.kind == "blue-green":
        return (_LIMIT, _SLOW)  # nothing is served beside it that it could be compared with
    return (_LIMIT, _BASELINE, _SLOW, *((_SCORES,) if plan.score_odds else ()))


def begun(plan: Plan, shape: tuple[int, ...] = ()) -> Gathered:
    """Return the e-processes of a plan before the first look."""
    against = {m: _begin(m, shape) for m in metrics(plan)}
    return Gathered(against, {m: _begin(m, shape) for m in against if m in _SHOWN})


def judge(
    before: Gathered, window: Window, plan: Plan, *, errors: Floats | float = 1.0, slow: Floats | float = 1.0
) -> tuple[Gathered, dict[str, Floats], dict[str, Floats]]:
    """Add a look.

    Parameters
    ----------
    before : Gathered
        Up to the last look.
    window : Window
        What was counted since. Of a shadow the candidate's `scored` are the pairs, and `below` holds in its first
        place those that disagree, in its second the sum of the scores' differences in millionths.
    plan : Plan
        Its limits.
    errors, slow : float or array of shape [...]
        The baseline's dispersion of errors and of slow requests, from looks before this one.

    Returns
    -------
    (Gathered, dict of arrays, dict of arrays)
        Up to this look, and the logs of the e-values against and for the candidate.
    """
    c, b = window.candidate, window.baseline
    spread = {_LIMIT: errors, _BASELINE: errors, _SLOW: slow}
    pairs = {_LIMIT: (c.errors, c.requests), _SLOW: (c.slow, c.timed), _WRONG: (c.below[..., 0], c.scored)}
    limits = _limits(plan)
    against: dict[str, Evidence] = {}
    log_e: dict[str, Floats] = {}
    for metric, evidence in before.against.items():
        if metric == _BASELINE:
            test = odds_test()
            ratio = test.log_ratio(c.errors, c.requests, b.errors, b.requests)
            against[metric] = evidence.after(ratio, errors)
            log_e[metric] = against[metric].log_e(test.prior)
        elif metric == _SCORES:
            odds = odds_test(plan.score_odds)
            n, m = c.scored[..., None, None], b.scored[..., None, None]
            x, y = (np.stack([part.below, part.scored[..., None] - part.below], axis=-1) for part in (c, b))
            after = evidence.after(odds.log_ratio(x, n, y, m))
            by_tail = after.log_e(odds.prior)
            against[metric] = after
            # The mean of e-values is an e-value, however they depend on each other.
            most = by_tail.max(axis=(-2, -1))
            log_e[metric] = most + np.log(np.exp(by_tail - most[..., None, None]).mean(axis=(-2, -1)))
        else:
            rate = rate_test(limits[metric], "above")
            against[metric] = evidence.after(rate.log_ratio(*pairs[metric]), spread.get(metric, 1.0))
            log_e[metric] = against[metric].log_e(rate.prior)
    shown: dict[str, Evidence] = {}
    log_shown: dict[str, Floats] = {}
    for metric, evidence in before.shown.items():
        rate = rate_test(limits[metric], "below")
        shown[metric] = evidence.after(rate.log_ratio(*pairs[metric]), spread.get(metric, 1.0), late=False)
        log_shown[metric] = shown[metric].log_e(rate.prior, late=False)
    return Gathered(against, shown), log_e, log_shown


def needed(plan: Plan) -> tuple[float, float]:
    """Return the logs of the evidence that rolls back, and of that which promotes.

    Alpha is shared over the metrics, as any of them rolls back; all of them must promote, which needs no share.
    """
    return float(np.log(len(metrics(plan)) / plan.alpha)), float(-np.log(plan.promote_alpha))


def readings(plan: Plan, window: Window, log_e: dict[str, Floats], log_shown: dict[str, Floats]) -> tuple[Reading, ...]:
    """Return one look's record of a single rollout, metric by metric; a metric without requests is missing."""
    back, forth = needed(plan)
    c, counted = window.candidate, _counted(window)
    found = []
    for metric, value in log_e.items():
        n, x, least = counted[metric]
        apart = float(c.below[1] / MILLION / n) if metric == _WRONG and n else None
        times = times_of(c.took) if metric == _WRONG and c.took is not None else None
        found.append(Reading(metric, int(n), int(x), float(value), back, int(least) == 0, apart, times))
    for metric, value in log_shown.items():
        n, x, least = counted[metric]
        found.append(Reading(_SHOWN[metric], int(n), int(x), float(value), forth, missing=int(least) == 0))
    return tuple(found)


def stepped(gathered: Gathered, where: ArrayLike = True) -> Gathered:
    """Return the e-processes at the beginning of a step: what speaks against the candidate stays.

    Parameters
    ----------
    gathered : Gathered
        After a look at least.
    where : bool or array of shape [...]
        Which rollouts begin a step.
    """
    return replace(gathered, shown={metric: e.restarted(where) for metric, e in gathered.shown.items()})


def missing(gathered: Gathered, window: Window) -> NDArray[np.bool_]:
    """Return where a metric has no data since the last look, shape [...]."""
    counted = _counted(window)
    return np.asarray(np.any([counted[metric][2] == 0 for metric in gathered.against], axis=0))


def _counted(window: Window) -> dict[str, tuple[Ints, Ints, Ints]]:
    """Return for each metric requests and events of the candidate, and the requests of the arm that has least."""
    c, b = window.candidate, window.baseline
    return {
        _LIMIT: (c.requests, c.errors, c.requests),
        _BASELINE: (c.requests, c.errors, np.minimum(c.requests, b.requests)),
        _SLOW: (c.timed, c.slow, c.timed),
        _SCORES: (c.scored, c.below[..., 2], np.minimum(c.scored, b.scored)),
        _WRONG: (c.scored, c.below[..., 0], c.scored),
    }


def _limits(plan: Plan) -> dict[str, float]:
    # One request in a hundred is slower than a p99, and none of them should be slower than a multiple of it.
    return {_LIMIT: plan.error_limit, _SLOW: 0.01, _WRONG: plan.disagreement}


def _begin(metric: str, shape: tuple[int, ...]) -> Evidence:
    if metric == _BASELINE:
        return nothing(len(odds_test().prior), shape)
    if metric == _SCORES:
        return nothing(len(odds_test().prior), (*shape, len(QUANTILES), 2))
    return nothing(len(rate_test(0.01, "above").prior), shape)
