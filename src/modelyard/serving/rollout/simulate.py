"""simulate: many rollouts under a known truth, judged by the same code as a real one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.random import Generator

from modelyard.serving.rollout.eprocess import Floats, dispersion
from modelyard.serving.rollout.judge import QUANTILES, Counts, Ints, Window, begun, judge, missing, needed, stepped
from modelyard.serving.rollout.rollout import Plan

HISTORY = 60
"""Looks at the baseline before the start, from which its dispersion is known."""
_KNOWN = 10
"""Looks whose requests the baseline's p99 is known from."""
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
    burst, slow_burst : float
        Mean number of errors, and of slow requests, that come together, in one arm; sizes are geometric.
    outages : float
        Share of looks in which both arms fail ten times as often.
    slower : float
        Factor of the candidate's response times over the baseline's.
    shift : float or None
        Of the candidate's scores, in standard deviations; None simulates no scores, which takes most of the time.
    differs : float
        Of a shadow: share of rows that the candidate answers otherwise.
    """

    rate: float
    errors: float
    candidate_errors: float
    burst: float = 1.0
    slow_burst: float = 1.0
    outages: float = 0.0
    slower: float = 1.0
    shift: float | None = 0.0
    differs: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it: for each run the look of the first event, 0 where there was none.

    Attributes
    ----------
    rolled_back : dict of int arrays of shape [runs]
        By metric: when it fired; of the metrics that did, each has the look at which the rollout ended.
    passed : int array of shape [steps, runs]
        When each step was passed: the last one's is when the rollout ended well.
    """

    rolled_back: dict[str, Ints]
    passed: Ints

    @property
    def first(self) -> Ints:
        """When a run was rolled back."""
        return np.asarray(np.max(list(self.rolled_back.values()), axis=0))


class Traffic:
    """Requests of a baseline and a candidate in many runs, look by look.

    Parameters
    ----------
    plan : Plan
        Whose looks they are counted by.
    truth : Truth
        What is true.
    runs : int
        How many.
    random : Generator
        Where chance comes from.
    """

    def __init__(self, plan: Plan, truth: Truth, runs: int, random: Generator) -> None:
        self._plan, self._truth, self._runs, self._random = plan, truth, runs, random
        self._per_look = truth.rate * plan.look
        # Requests, errors and slow requests of the baseline; a look at which it answered nothing teaches nothing.
        self._past = np.zeros((3, runs, HISTORY))
        for _ in range(HISTORY):
            self._baseline(random.poisson(self._per_look, runs), self._trouble())

    def look(self, share: Floats | float) -> tuple[Window, dict[str, Floats]]:
        """Return what is counted until the next look, and the baseline's dispersion as it was known before.

        Parameters
        ----------
        share : float or array of shape [runs]
            Of requests that the candidate gets; of a shadow's each is copied, whatever this is.

        Returns
        -------
        (Window, dict of float64 arrays of shape [runs])
            The dispersion of `errors` and of `slow` requests.
        """
        truth, random, trouble = self._truth, self._random, self._trouble()
        requests, errors, slow = self._past
        spread = {"errors": dispersion(errors, requests), "slow": dispersion(slow, requests)}
        copies = self._plan.kind == "shadow"
        m = random.poisson(self._per_look * np.subtract(1.0, 0.0 if copies else share), self._runs)
        n = m if copies else random.poisson(np.multiply(self._per_look, share), self._runs)
        baseline, limit = self._baseline(m, trouble)
        failed = _together(n, truth.candidate_errors * trouble, truth.burst, random)
        late = _together(n, _tail(limit - np.log(truth.slower)), truth.slow_burst, random)
        return Window(self._scored(n, failed, late, truth.shift), self._scored(m, *baseline, 0.0)), spread

    def _trouble(self) -> Floats:
        return np.where(self._random.random(self._runs) < self._truth.outages, 10.0, 1.0)

    def _baseline(self, m: Ints, trouble: Floats) -> tuple[tuple[Ints, Ints], Floats]:
        """Return the baseline's errors and slow requests, and the log of the time from which a request is slow."""
        truth, random = self._truth, self._random
        failed = _together(m, truth.errors * trouble, truth.burst, random)
        known = np.where(m > 0, m, max(int(self._per_look), 1))
        limit = np.log(self._plan.slow_factor) + log_p99(known * _KNOWN, random)
        slow = _together(m, _tail(limit), truth.slow_burst, random)
        newer = np.concatenate([self._past[..., 1:], np.stack([m, failed, slow])[..., None]], axis=-1)
        self._past = np.where((m > 0)[:, None], newer, self._past)
        return (failed, slow), limit

    def _scored(self, n: Ints, failed: Ints, slow: Ints, shift: float | None) -> Counts:
        random, scored, below = self._random, n, np.zeros((self._runs, len(QUANTILES)), np.int64)
        if self._plan.kind == "shadow":
            scored = n - failed
            below[:, 0] = random.binomial(scored, self._truth.differs)
        elif self._truth.shift is not None and shift is not None:
            moved = [_NORMAL.cdf(_NORMAL.inv_cdf(q) - shift) for q in QUANTILES]
            below = np.cumsum(random.multinomial(n, np.diff([0.0, *moved, 1.0])), axis=-1)[:, :-1]
        return Counts(n, failed, n, slow, scored, below)


def simulate(plan: Plan, truth: Truth, *, runs: int, looks: int, seed: int = 0) -> Simulated:
    """Run many rollouts of a plan, step by step, until they are over.

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
    traffic = Traffic(plan, truth, runs, random)
    gathered = begun(plan, (runs,))
    if truth.shift is None:  # the other metrics have the share of alpha that they have in a real one
        gathered = replace(gathered, against={m: e for m, e in gathered.against.items() if m != "scores"})
    back, forth = needed(plan)
    shares, step, since = np.array(plan.steps), np.zeros(runs, np.int64), np.zeros(runs)
    fired = {metric: np.zeros(runs, np.int64) for metric in gathered.against}
    passed = np.zeros((len(shares), runs), np.int64)
    running = np.ones(runs, bool)
    for look in range(1, looks + 1):
        window, spread = traffic.look(shares[step])
        gathered, log_e, log_shown = judge(gathered, window, plan, **spread)
        fires = {metric: running & (values >= back) for metric, values in log_e.items()}
        for metric, where in fires.items():
            fired[metric][where] = look
        running &= ~np.any(list(fires.values()), axis=0)
        now = look * plan.look
        good = running & ~missing(gathered, window) & (now - since >= plan.bake) & (now < plan.horizon)
        good &= np.all([values >= forth for values in log_shown.values()], axis=0) & (plan.kind != "ab")
        passed[step[good], good] = look
        running &= ~(good & (step == len(shares) - 1))
        if not running.any():
            break
        step, since = np.where(good & running, step + 1, step), np.where(good, now, since)
        gathered = stepped(gathered, good)
    return Simulated(fired, passed)


def log_p99(requests: Ints, random: Generator) -> Floats:
    """Return the log of sample p99s of the baseline's response times (median 1)."""
    # The order statistic of uniform numbers is a Beta variable, which its normal quantile turns into a response time.
    rank = np.ceil(0.99 * requests)
    uniform = random.beta(np.maximum(rank, 1), requests + 1 - np.minimum(rank, requests))
    return np.asarray(_SIGMA * np.vectorize(_NORMAL.inv_cdf)(np.clip(uniform, 1e-9, 1 - 1e-9)))


def _tail(log_limit: Floats) -> Floats:
    return np.asarray(np.vectorize(lambda z: 1 - _NORMAL.cdf(z))(log_limit / _SIGMA))


def _together(requests: Ints, rate: Floats, burst: float, random: Generator) -> Ints:
    """Return how many requests are struck, where as many come together as `burst` says in the mean."""
    if burst == 1:
        return random.binomial(requests, np.minimum(rate, 1.0))
    bursts = random.poisson(requests * rate / burst)
    sizes = bursts + np.where(bursts > 0, random.negative_binomial(np.maximum(bursts, 1), 1 / burst), 0)
    return np.minimum(sizes, requests)
