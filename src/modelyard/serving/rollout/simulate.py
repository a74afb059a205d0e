"""simulate: many rollouts under a known truth, judged by the same code as a real one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.random import Generator

from modelyard.serving.rollout.eprocess import Floats, dispersion
from modelyard.serving.rollout.judge import QUANTILES, Counts, Ints, Window, begun, judge, metrics, needed
from modelyard.serving.rollout.rollout import Plan

HISTORY = 60
"""Looks at the baseline before the start, from which its dispersion is known."""
_NORMAL = NormalDist()
_SIGMA = 0.5
"""Of the logarithm of response times: a p99 of 3.2 times the median."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true in a simulation.

    Attributes
    ----------
    rate : float
        Requests a second, both arms together.
    errors, candidate_errors : float
        Share of the baseline's, and of the candidate's, requests that fail.
    burst : float
        Mean number of errors that come together, in one arm; sizes are geometric.
    outages : float
        Share of looks in which both arms fail ten times as often.
    slower : float
        Factor of the candidate's response times over the baseline's.
    shift : float
        Of the candidate's scores, in standard deviations.
    """

    rate: float
    errors: float
    candidate_errors: float
    burst: float = 1.0
    outages: float = 0.0
    slower: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it: for each run the look of the first event, 0 where there was none.

    Attributes
    ----------
    rolled_back : dict of int arrays of shape [runs]
        By metric: when it fired by itself.
    shown : int array of shape [runs]
        When every non-inferiority test of the first step had fired, where nothing fired before.
    """

    rolled_back: dict[str, Ints]
    shown: Ints

    @property
    def first(self) -> Ints:
        """When the first of all metrics fired."""
        never = np.iinfo(np.int64).max
        first = np.min([np.where(at == 0, never, at) for at in self.rolled_back.values()], axis=0)
        return np.where(first == never, 0, first)


def windows(plan: Plan, truth: Truth, runs: int, looks: int, random: Generator) -> Iterator[tuple[Window, Floats]]:
    """Return each look's counts of all runs, and the baseline's dispersion as it was known before."""
    share, per_look = plan.steps[0], truth.rate * plan.look
    cells = np.diff([0.0, *QUANTILES, 1.0])
    moved = np.array([_NORMAL.cdf(_NORMAL.inv_cdf(q) - truth.shift) for q in QUANTILES])
    shifted = np.diff([0.0, *moved, 1.0])
    events, requests = np.zeros((2, runs, HISTORY + looks))
    for look in range(HISTORY + looks):
        trouble = np.where(random.random(runs) < truth.outages, 10.0, 1.0)
        before = look < HISTORY
        m = random.poisson(per_look * (1 if before else 1 - share), runs)
        failed = _errors(m, truth.errors * trouble, truth.burst, random)
        events[:, look], requests[:, look] = failed, m
        if before:
            continue
        n = random.poisson(per_look * share, runs)
        errors = _errors(n, truth.candidate_errors * trouble, truth.burst, random)
        limit = np.log(plan.slow_factor) + log_p99(m * 10, random)
        tails = [_tail(limit), _tail(limit - np.log(truth.slower))]
        slow = [random.binomial(count, tail) for count, tail in zip((m, n), tails, strict=True)]
        scores = [np.cumsum(random.multinomial(c, p), axis=-1)[:, :-1] for c, p in ((m, cells), (n, shifted))]
        yield (
            Window(Counts(n, errors, n, slow[1], n, scores[1]), Counts(m, failed, m, slow[0], m, scores[0])),
            dispersion(events[:, look - HISTORY : look], requests[:, look - HISTORY : look]),
        )


def simulate(plan: Plan, truth: Truth, *, runs: int, looks: int, seed: int = 0) -> Simulated:
    """Run many rollouts of a plan's first step.

    Parameters
    ----------
    plan : Plan
        As a real rollout has it.
    truth : Truth
        What is true.
    runs, looks : int
        How many rollouts, and for how many looks each.
    seed : int
        Of the random numbers.
    """
    random = np.random.default_rng(seed)
    gathered = begun(plan, (runs,))
    back, forth = needed(plan)
    fired = {metric: np.zeros(runs, np.int64) for metric in metrics(plan)}
    shown = np.zeros(runs, np.int64)
    gone = np.zeros(runs, bool)
    for look, (window, spread) in enumerate(windows(plan, truth, runs, looks, random), 1):
        gathered, log_e, log_shown = judge(gathered, window, plan, errors=spread)
        for metric, values in log_e.items():
            fired[metric][(fired[metric] == 0) & (values >= back)] = look
            gone |= values >= back
        good = np.all([values >= forth for values in log_shown.values()], axis=0)
        shown[(shown == 0) & good & ~gone] = look
    return Simulated(fired, shown)


def log_p99(requests: Ints, random: Generator) -> Floats:
    """Return the log of sample p99s of the baseline's response times (median 1)."""
    # The order statistic of uniform numbers is a Beta variable, which its normal quantile turns into a response time.
    rank = np.ceil(0.99 * requests)
    uniform = random.beta(np.maximum(rank, 1), requests + 1 - np.minimum(rank, requests))
    return np.asarray(_SIGMA * np.vectorize(_NORMAL.inv_cdf)(np.clip(uniform, 1e-9, 1 - 1e-9)))


def _tail(log_limit: Floats) -> Floats:
    return np.asarray(np.vectorize(lambda z: 1 - _NORMAL.cdf(z))(log_limit / _SIGMA))


def _errors(requests: Ints, rate: Floats, burst: float, random: Generator) -> Ints:
    if burst == 1:
        return random.binomial(requests, np.minimum(rate, 1.0))
    bursts = random.poisson(requests * rate / burst)
    sizes = bursts + np.where(bursts > 0, random.negative_binomial(np.maximum(bursts, 1), 1 / burst), 0)
    return np.minimum(sizes, requests)
