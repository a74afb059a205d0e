"""train: fit the plan's candidates, search around the best, blend, calibrate."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.core.errors import TrainingError
from modelyard.core.progress import Progress, Silent
from modelyard.data.dataset import Floats, Parts
from modelyard.families.family import Family
from modelyard.families.find import family_named
from modelyard.families.fitted import Blend, Fitted
from modelyard.metrics.find import metric as find_metric
from modelyard.selection.plan import Plan
from modelyard.training.attempts import Attempts
from modelyard.training.calibration import Calibration, calibrate
from modelyard.training.clock import Clock
from modelyard.training.course import follow
from modelyard.training.data_size import data_size, kept_seconds
from modelyard.training.elapsed import try_elapsed
from modelyard.training.environment import commit, environment
from modelyard.training.finish import finish
from modelyard.training.frontier import frontier
from modelyard.training.leaderboard import leaderboard
from modelyard.training.limits import of_folds, of_models
from modelyard.training.link import choose_link, in_link
from modelyard.training.loss import Loss
from modelyard.training.plain import choose_plain, in_features
from modelyard.training.recipe import check_recipe, recipe_members, recipe_plan
from modelyard.training.run import NOTHING_SEEN, Diagnostics, Entry, Run
from modelyard.training.search import search
from modelyard.training.steps import Steps
from modelyard.training.tracker import Nowhere, Tracker

_LETTERS, _BASE32 = "abcdefghjkmnpqrstuvwxyz", "abcdefghjkmnpqrstuvwxyz23456789"


def train(
    plan: Plan,
    parts: Parts,
    *,
    folder: Path | None = None,
    tracker: Tracker | None = None,
    progress: Progress | None = None,
    replay: Mapping[str, Any] | None = None,
    name: str | None = None,
    family: Family | None = None,
    clock: Clock | None = None,
) -> Run:
    """Fit the plan's candidates in order, search around the best, blend them and calibrate the blend.

    The plan's budget is wall clock from this call on, or from when the `clock` was started. The first candidate always
    runs; each further one only where the probe says that it fits into what is left, and a fit that turns out slower is
    stopped after a fold. The tracker's run is left open, for evaluation to add to; it is ended here only when training
    does not end well.

    Parameters
    ----------
    plan : Plan
        What to try.
    parts : Parts
        Rows and folds; the test part is not looked at.
    folder : path, optional
        The run's folder. Finished steps are kept in it, and found again when the same run is started once more.
    tracker : Tracker, optional
        Where every trial is written down.
    progress : Progress, optional
        Who watches.
    replay : mapping, optional
        A recipe (see `modelyard.training.recipe`): refit just its members, with its rounds, weights and calibration.
    name : str, optional
        The run's name; default a new one.
    family : Family, optional
        Default: the plan's.
    clock : Clock, optional
        Started earlier, where the budget is that of more than this call; what it keeps is not spent here.

    Returns
    -------
    Run
        The blend, its out-of-fold answers and score, and the leaderboard.

    Raises
    ------
    TrainingError
        If no candidate could be fitted, or the recipe is of another table or question.
    WorkspaceError
        If a finished step cannot be written; those before it are kept.
    """
    clock = clock or Clock(plan.brief.budget.seconds)
    began = clock.spent
    if replay is not None:
        check_recipe(replay, plan)
    taken = [p.name.rsplit("-", 1)[-1] for p in folder.parent.glob("*")] if folder is not None else []
    name = name or run_name(plan, taken)
    git, surroundings = commit(), environment()
    tracker = tracker or Nowhere()
    place = tracker.start(name, _parameters(plan, parts), _tags(plan, git))
    try:
        blind = parts.blind()
        metric = find_metric(plan.metric)
        steps = Steps(folder, plan, blind)
        plan = steps.resume(plan) if replay is None else recipe_plan(replay, plan)
        attempts = Attempts(
            plan, blind, family or family_named(plan.family), metric,
            Loss.of(plan.schema.task, metric, blind.development).favouring_later(blind.split),
            steps, tracker, progress or Silent(), clock, len(plan.candidates),
        )  # fmt: skip
        made = _explore(attempts) if replay is None else _replay(attempts, replay)
        run = _run(name, attempts, made, git, surroundings, began)
        tracker.metrics({f"validation_{metric.name}": run.score, "training_seconds": run.seconds})
        run = replace(run, tracking=dict(place))  # a tracker may learn its run's id as late as this
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first fault is the one to tell
            tracker.finish("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    return run


def run_name(plan: Plan, taken: Collection[str] = ()) -> str:
    """Return a new name, ``{model_type}-{dataset_version}-{date}-{run_id}``.

    Parameters
    ----------
    plan : Plan
        Says the type of model and the version of the data (the first four hex digits of its fingerprint).
    taken : collection of str
        Ids in use; the new one is as short as they allow.
    """
    kind = plan.candidates[0].name if len(plan.candidates) == 1 else "blend"
    if plan.brief.model != "auto":
        kind = "-".join(plan.brief.model.lower().split())
    return f"{kind}-{plan.fingerprint[:4]}-{datetime.now(UTC):%Y%m%d}-{_new_id(taken)}"


def _new_id(taken: Collection[str]) -> str:
    for length in (2, 3, 4, 8):
        for _ in range(50):
            made = secrets.choice(_LETTERS) + "".join(secrets.choice(_BASE32) for _ in range(length - 1))
            if made not in taken:
                return made
    raise TrainingError("No free run id was found.", do="Move old runs out of the workspace.")


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """Members with their shares, largest first, and what was seen on the way."""

    members: tuple[tuple[Fitted, float], ...]
    leaderboard: tuple[Entry, ...]
    diagnostics: Diagnostics = NOTHING_SEEN
    calibration: Calibration | None = None


def _explore(attempts: Attempts) -> _Made:
    """Fit the portfolio, search, choose the members and fit them on every row; look back on what was seen."""
    attempts.kept = kept_seconds(attempts.plan.brief.budget.seconds)
    settled = False
    for planned in attempts.plan.candidates:
        candidate = in_link(attempts, in_features(attempts, planned))
        first = not attempts.fitted
        if candidate is None:
            attempts.skip(planned, "not tried: it cannot learn the logarithm of the mean, which the others do")
        elif first or attempts.affordable(candidate, attempts.seconds(candidate)):
            attempts.fit(candidate, to_the_end=first)
            follow(attempts)
            if not settled:
                stands = choose_plain(attempts, candidate)
                follow(attempts)
                settled = choose_link(attempts, stands)
                follow(attempts)
        else:
            attempts.skip(candidate)
    if not attempts.fitted:
        raise TrainingError(
            "No candidate could be fitted.",
            where="\n  ".join(f"{entry.name}: {entry.note}" for entry in attempts.entries),
            do="Correct what the first one says, or name another model in the brief.",
        )
    try_elapsed(attempts)
    follow(attempts)
    search(attempts)
    left = attempts.clock.left
    members = _largest_first(*finish(attempts))
    seen = Diagnostics(frontier(attempts, members, left=left), tuple(attempts.course), data_size(attempts))
    return _Made(members, leaderboard(attempts, members, left=left), seen)


def _replay(attempts: Attempts, recipe: Mapping[str, Any]) -> _Made:
    """Refit the members of a recipe, in its order."""
    given = recipe_members(recipe)
    attempts.loss = replace(attempts.loss, link=recipe["link"])
    attempts.planned = len(given)
    fitted = []
    for member in given:
        step = attempts.fit(member.candidate, rounds=member.rounds, to_the_end=True)
        follow(attempts)
        if step is None or step.fitted is None:
            raise TrainingError(
                f"The recipe's member '{member.candidate.name}' could not be fitted.",
                where=attempts.entries[-1].note,
                do="Install the package versions of its requirements.lock.",
            )
        as_many = of_folds(step.fitted)
        if member.whole:
            as_many = replace(of_models(step.fitted, len(member.whole)), whole=member.whole)
        whole = attempts.whole(as_many, replayed=True)
        if whole is None:
            raise TrainingError(
                f"The recipe's member '{member.candidate.name}' could not be fitted on every row.",
                where=attempts.entries[-1].note,
                do="Install the package versions of its requirements.lock.",
            )
        fitted.append(whole)
    members = _largest_first(fitted, np.array([member.weight for member in given]))
    calibration = Calibration(float(recipe["scale"]), tuple(float(b) for b in recipe["offset"]))
    return _Made(members, leaderboard(attempts, members), calibration=calibration)


def _largest_first(fitted: Sequence[Fitted], weights: Floats) -> tuple[tuple[Fitted, float], ...]:
    members = ((one, float(w)) for one, w in zip(fitted, weights, strict=True) if w > 0)
    return tuple(sorted(members, key=lambda member: -member[1]))


def _run(
    name: str, attempts: Attempts, made: _Made, git: str | None, surroundings: Mapping[str, str], began: float
) -> Run:
    members = made.members
    raw = sum((w * one.scores for one, w in members), np.zeros_like(members[0][0].scores))
    link = attempts.link
    split = attempts.parts.split
    own, crossed = calibrate(raw, attempts.loss, link, split.folds, split.forward)
    own = made.calibration or own
    blend = Blend(members, link, own.scale, own.offset)
    # Already calibrated, fold by fold: only the link is left to apply.
    answers = Blend(members, link, 1.0, (0.0,) * raw.shape[1]).answer(crossed)
    rows = np.flatnonzero(np.isfinite(crossed).all(axis=1))
    return Run(
        name=name,
        id=name.rsplit("-", 1)[-1],
        plan=attempts.plan,
        development=attempts.parts.development,
        blend=blend,
        answers=answers,
        leaderboard=made.leaderboard,
        score=attempts.score_answers(answers[rows], rows),
        seconds=attempts.clock.spent - began,
        environment=surroundings,
        commit=git,
        tracking={},
        diagnostics=made.diagnostics,
    )


def _parameters(plan: Plan, parts: Parts) -> dict[str, Any]:
    return {
        "task": plan.schema.task,
        "metric": plan.metric,
        "model": plan.brief.model,
        "family": plan.family,
        "rows": len(parts.development),
        "columns": len(plan.schema.features),
        "split": parts.split.strategy,
        "folds": len(parts.split.folds),
        "budget_seconds": plan.brief.budget.seconds,
        "candidates": ", ".join(c.name for c in plan.candidates),
    }


def _tags(plan: Plan, git: str | None) -> dict[str, str]:
    tags = {
        "use_case": plan.brief.use_case,
        "data_fingerprint": plan.fingerprint,
        "seed": str(plan.brief.seed),
    }
    return tags if git is None else {**tags, "git_commit": git}
