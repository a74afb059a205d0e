"""Rollouts in simulation: how often a candidate is rolled back that should not be, and how soon one that should.

``make bench-rollouts [RUNS=1000]``. Every scenario is simulated many times and judged, look by look, by the code that
judges real rollouts (``serving/rollout/judge.py``), and beside it by the rules people write. A cell is the share of
runs that were rolled back within an hour, and the median minute (of all runs; ``-`` where most never were).
Nobody is promoted, so that each run is watched for the whole hour.
Seeds are fixed. The bars: an identical candidate is rolled back in 1 % of runs at most, with bursts too; 2 % errors
against 0.3 % are caught within 10 minutes in the median, a p99 of three times the baseline's within 5.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from scipy.stats import binom

from modelyard.serving.rollout.judge import begun, judge, metrics, needed
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.simulate import Traffic, Truth

LOOKS = 60
_WIDTH = 25
PLAN = Plan(steps=(0.05,))
SAME = {
    "same": Truth(20, 0.003, 0.003),
    "same, bursts of 5": Truth(20, 0.003, 0.003, burst=5),
    "same, bursts of 20": Truth(20, 0.003, 0.003, burst=20),
    "same, slow bursts of 20": Truth(20, 0.003, 0.003, slow_burst=20),
    "same, outages": Truth(20, 0.003, 0.003, outages=0.1),
}
WORSE = {
    "2 % errors": (Truth(20, 0.003, 0.02), 10),
    "p99 of 3x": (Truth(20, 0.003, 0.003, slower=3.0), 5),
}
EPROCESS = "e-processes (this code)"
NAIVE = (
    "any minute over 1 % errors",
    "4 minutes over 1 % errors",
    "over 1 % errors once n >= 100",
    "exact test p < .05 every minute",
    "any minute with p99 over 2x",
)


def main() -> int:
    """Simulate every scenario, print the table and one last line; return 1 where a bar is not met."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runs", type=int, default=1000)
    words.add_argument("--seed", type=int, default=4)
    asked = words.parse_args()
    scenarios = {**SAME, **{name: truth for name, (truth, _) in WORSE.items()}}
    found = {}
    for number, (name, truth) in enumerate(scenarios.items()):
        found[name] = measure(truth, asked.runs, asked.seed + number)
        print(f"{name}: done", file=sys.stderr)
    print(f"{asked.runs} rollouts each: 20 requests a second, 5 % to the candidate, baseline 0.3 % errors, {LOOKS} min")
    print(f"{'rule':<33}" + "".join(f"{name:>{_WIDTH}}" for name in scenarios))
    for rule in (*NAIVE, EPROCESS):
        print(f"{rule:<33}" + "".join(f"{_cell(found[name][rule]):>{_WIDTH}}" for name in scenarios))
    missed = [name for name in SAME if (found[name][EPROCESS] > 0).mean() > 0.01]
    missed += [name for name, (_, bar) in WORSE.items() if _median(found[name][EPROCESS]) > bar]
    print(f"rollouts: {'all bars met' if not missed else 'NOT MET: ' + ', '.join(missed)}")
    return 1 if missed else 0


def measure(truth: Truth, runs: int, seed: int) -> dict[str, np.ndarray]:
    """Return for every rule the minute in which each run was rolled back, 0 for never."""
    random = np.random.default_rng(seed)
    fired = {rule: np.zeros(runs, np.int64) for rule in (*NAIVE, EPROCESS)}
    traffic = Traffic(PLAN, truth, runs, random)
    gathered, back = begun(PLAN, (runs,)), needed(PLAN)[0]
    sums = np.zeros((4, runs))
    bad = np.zeros(runs)
    for minute in range(1, LOOKS + 1):
        window, spread = traffic.look(PLAN.steps[0])
        gathered, log_e, _ = judge(gathered, window, PLAN, **spread)
        c, b = window.candidate, window.baseline
        sums += [c.errors, c.requests, b.errors, b.requests]
        x, n, y, m = sums
        over = c.errors > 0.01 * c.requests
        bad += over
        tail = binom.sf(x - 1, x + y, n / (n + m))
        # The p99 of a window is over a limit where more than a hundredth of its requests are.
        slow = c.slow > c.timed - np.ceil(0.99 * c.timed)
        answers = (over, bad >= 4, (n >= 100) & (x > 0.01 * n), tail < 0.05, slow)
        said = dict(zip(NAIVE, answers, strict=True))
        said[EPROCESS] = np.any([log_e[metric] >= back for metric in metrics(PLAN)], axis=0)
        for rule, holds in said.items():
            fired[rule][(fired[rule] == 0) & holds] = minute
    return fired


def _median(minutes: np.ndarray) -> float:
    return float(np.median(np.where(minutes == 0, np.inf, minutes)))


def _cell(minutes: np.ndarray) -> str:
    median = _median(minutes)
    return f"{(minutes > 0).mean():.3f} [{'-' if np.isinf(median) else f'{median:.0f}'}]"


if __name__ == "__main__":
    sys.exit(main())
