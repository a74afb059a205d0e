"""importance: which parameters of a search its score hung on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.core.optional import need
from modelyard.core.seeds import derive_seed
from modelyard.families.fitted import Candidate
from modelyard.metrics.find import metric as find_metric
from modelyard.training.run import Run
from modelyard.training.search import TRIAL, distributions, within

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
        Scored trials, the candidate itself among them.
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
    searched = {e.name.rsplit(TRIAL, 1)[0] for e in run.leaderboard if TRIAL in e.name}
    return tuple(_of(c, run) for c in run.plan.candidates if c.name in searched and c.space)


def _of(candidate: Candidate, run: Run) -> Importance:
    optuna = need("optuna", "train", "The importance of parameters")
    metric, ranges = find_metric(run.plan.metric), distributions(candidate.space)
    study = optuna.create_study(direction="minimize")
    scored = sorted(
        (e for e in run.leaderboard if e.name.rsplit(TRIAL, 1)[0] == candidate.name and math.isfinite(e.score)),
        key=lambda e: e.name,
    )
    losses = []
    for entry in scored:
        chosen = within(candidate.space, entry.parameters)
        if chosen is not None:
            losses.append(metric.loss(entry.score))
            study.add_trial(optuna.create_trial(params=chosen, distributions=ranges, value=losses[-1]))
    if len(losses) < LEAST_TRIALS or max(losses) == min(losses):
        return Importance(candidate.name, len(losses), {})
    seed = derive_seed(run.plan.brief.seed, "importance", candidate.name) % 2**32
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance(candidate.name, len(losses), {name: float(share) for name, share in shares.items()})
