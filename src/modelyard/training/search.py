"""Search: Optuna's tree-structured Parzen estimator over the ranges of the best candidates, pruned by fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.core.seeds import derive_seed
from modelyard.families.fitted import Candidate, Cost, Fitted, Range
from modelyard.selection.cost import MOST_TRIALS
from modelyard.training.attempts import Attempts
from modelyard.training.course import follow
from modelyard.training.run import TRIAL
from modelyard.training.steps import Step

_BASES = 2
_STARTUP = 6
_WARMUP_FOLDS = 1


def search(attempts: Attempts) -> None:
    """Try changes of the best candidates until most of the budget is used.

    Each trial's sampler is seeded by the brief's seed and the trial's number, and sees the trials before it: a run that
    is taken up again asks the same questions and finds its stored answers.

    References
    ----------
    Bergstra, Bardenet, Bengio and Kegl (2011). Algorithms for hyper-parameter optimization. NeurIPS.
    """
    budget = attempts.plan.brief.budget
    limit = MOST_TRIALS if budget.trials is None else min(budget.trials, MOST_TRIALS)
    if limit == 0 or attempts.left == 0:
        return
    studies = [_Study(base, attempts) for base in _bases(attempts)]
    for number in range(limit):
        if not studies:
            return
        each = max(float(np.mean([study.seconds for study in studies])), 1e-3)
        attempts.planned = len(attempts.entries) + max(1, min(limit - number, int(attempts.left / each)))
        study = studies[number % len(studies)]
        if not study.trial(attempts, number + 1):
            studies.remove(study)  # there may still be time for the quicker one


def _bases(attempts: Attempts) -> list[Fitted]:
    """Return the best candidates that have something to search, one of each algorithm."""
    found: dict[str, Fitted] = {}
    for fitted in attempts.fitted:
        if fitted.candidate.space:
            found.setdefault(fitted.candidate.title, fitted)
    return list(found.values())[:_BASES]


class _Study:
    """The trials of one candidate."""

    def __init__(self, base: Fitted, attempts: Attempts) -> None:
        self._optuna = need("optuna", "train", "The search")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._base = base.candidate
        self._seconds = [base.seconds]
        self._ranges = distributions(self._base.space)
        self._courses: list[tuple[float, ...]] = []
        self._study = self._optuna.create_study(direction="minimize")
        start = within(self._base.space, self._base.parameters)
        if start is not None:
            loss = attempts.out_of_fold_loss(base)
            self._study.add_trial(self._optuna.create_trial(params=start, distributions=self._ranges, value=loss))
        for first in self._base.starts:
            self._study.enqueue_trial(dict(first))

    @property
    def seconds(self) -> float:
        """Seconds a trial takes on average."""
        return float(np.mean(self._seconds))

    def trial(self, attempts: Attempts, number: int) -> bool:
        """Make one trial; False when there is no time for it."""
        seed = derive_seed(attempts.plan.brief.seed, "search", self._base.name, number)
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
        asked = self._study.ask(self._ranges)
        candidate = self._candidate(asked.params, number)
        if not attempts.affordable(candidate, self.seconds):
            return False

        seen: list[float] = []

        def prune(fold: int, loss: float) -> bool:
            seen.append(loss)
            asked.report(loss, fold)  # what is pruned tells the sampler how far it came
            return self._hopeless(seen)

        step = attempts.fit(candidate, prune=prune)
        follow(attempts)
        self._tell(asked, step, attempts)
        return step is not None or attempts.left > 0

    def _tell(self, asked: Any, step: Step | None, attempts: Attempts) -> None:
        states = self._optuna.trial.TrialState
        if step is None:
            self._study.tell(asked, state=states.FAIL)
        elif step.fitted is None:
            self._study.tell(asked, state=states.PRUNED)
        else:
            self._seconds.append(step.seconds)
            self._courses.append(tuple(loss for _, loss in step.watched))
            self._study.tell(asked, attempts.out_of_fold_loss(step.fitted))

    def _hopeless(self, seen: Sequence[float]) -> bool:
        """Say whether a trial is worse after some folds than the median of those before it, after the same folds.

        Not Optuna's `MedianPruner`, which takes a trial's best step: of mean losses over more and more folds that is
        often the first, an easy fold's, and then nothing is ever pruned.
        """
        others = [course[len(seen) - 1] for course in self._courses if len(course) >= len(seen)]
        asked = len(seen) > _WARMUP_FOLDS and len(others) >= _STARTUP - 1
        return asked and seen[-1] > float(np.median(others))

    def _candidate(self, chosen: Mapping[str, Any], number: int) -> Candidate:
        return replace(
            self._base,
            name=f"{self._base.name}{TRIAL}{number}",
            parameters={**self._base.parameters, **chosen},
            space={},
            starts=(),
            reason=f"trial {number} of the search around {self._base.name}",
            size="",
            cost=Cost(self.seconds, self._base.cost.megabytes),
        )


def distributions(space: Mapping[str, Range]) -> dict[str, Any]:
    """Return ranges as Optuna's distributions, by name in order."""
    made = need("optuna", "train", "The search").distributions
    found: dict[str, Any] = {}
    for name, range_ in sorted(space.items()):
        if range_.kind == "choice":
            found[name] = made.CategoricalDistribution(range_.choices)
        elif range_.kind == "int":
            found[name] = made.IntDistribution(int(range_.low), int(range_.high), log=range_.log)
        else:
            found[name] = made.FloatDistribution(range_.low, range_.high, log=range_.log)
    return found


def within(space: Mapping[str, Range], parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parameters that are searched, or None where one of them is outside its range."""
    found = {name: parameters.get(name) for name in sorted(space)}
    return found if all(_holds(space[name], value) for name, value in found.items()) else None


def _holds(range_: Range, value: object) -> bool:
    if range_.kind == "choice":
        return value in range_.choices
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return range_.low <= value <= range_.high and (range_.kind == "float" or float(value).is_integer())
