"""Cost: what a whole run takes on this machine."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

from modelyard.brief.brief import Budget
from modelyard.families.fitted import Candidate, Cost

MOST_TRIALS = 200
"""Trials of the search, where the brief sets no lower number."""


def run_cost(candidates: Sequence[Candidate], budget: Budget) -> Cost:
    """Return what a whole run takes: every candidate over its folds, then the search, at most the budget.

    The first candidate runs whatever it takes. Peak memory is the most this process has held so far, table and probes
    included, and what the largest candidate's fit adds.
    """
    portfolio = sum(c.cost.seconds for c in candidates)
    searched = [c.cost.seconds for c in candidates if c.space]
    trials = MOST_TRIALS if budget.trials is None else min(budget.trials, MOST_TRIALS)
    search = trials * (sum(searched) / len(searched)) if searched else 0.0
    seconds = max(candidates[0].cost.seconds, min(portfolio + search, budget.seconds))
    return Cost(seconds=seconds, megabytes=held_megabytes() + max(c.cost.megabytes for c in candidates))


def held_megabytes() -> float:
    """Return the most memory this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)
