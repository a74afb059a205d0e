"""importance: which parameters of a search its score hung on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.core.optional import need
from modelyard.core.seeds import derive_seed
from modelyard.families.fitted import Range
from modelyard.metrics.find import metric as find_metric
from modelyard.training.run import Run
from modelyard.training.search import distributions, within

LEAST_TRIALS = 20
"""Scored trials of one candidate from which importances are told; fewer say too little."""


@dataclass(frozen=True, slots=True)
class Importance:
    """What the search around one candidate hung on.

    Attributes
    ----------
    candidate : str
        Whose parameters were changed.
    trials : int
        Scored trials, and the candidate itself where all that is searched has a value in it.
    shares : mapping of str to float
        Share of the variance of the score that each parameter explains alone, largest first; summing to 1. Empty where
        trials are too few, or all score the same.
    """

    candidate: str
    trials: int
    shares: Mapping[str, float]


def importance(run: Run) -> tuple[Importance, ...]:
    """Return the importance of each parameter, for each candidate that was searched around.

    Trials that were stopped early have no score and are left out. The estimator prefers good settings, so a parameter
    that was soon settled shows less than it would over all of its range.

    References
    ----------
    Hutter, Hoos and Leyton-Brown (2014). An efficient approach for assessing hyperparameter importance. ICML.
    """
    searched = sorted({(e.base, e.title) for e in run.leaderboard if e.base})
    # What was searched may be a planned candidate in another way, such as "lightgbm-log": of the same ranges.
    return tuple(
        _of(base, planned.space, run)
        for planned in run.plan.candidates
        for base, title in searched
        if title == planned.title and f"{base}-".startswith(f"{planned.name}-") and planned.space
    )


def _of(base: str, space: Mapping[str, Range], run: Run) -> Importance:
    optuna = need("optuna", "train", "The importance of parameters")
    metric, ranges = find_metric(run.plan.metric), distributions(space)
    study = optuna.create_study(direction="minimize")
    scored = sorted(
        (e for e in run.leaderboard if base in (e.name, e.base) and math.isfinite(e.score)), key=lambda e: e.name
    )
    losses = []
    for entry in scored:
        chosen = within(space, entry.parameters)
        if chosen is not None:
            losses.append(metric.loss(entry.score))
            study.add_trial(optuna.create_trial(params=chosen, distributions=ranges, value=losses[-1]))
    if len(losses) < LEAST_TRIALS or max(losses) == min(losses):
        return Importance(base, len(losses), {})
    seed = derive_seed(run.plan.brief.seed, "importance", base) % 2**32
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance(base, len(losses), {name: float(share) for name, share in shares.items()})
