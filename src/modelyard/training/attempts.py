"""Attempts: candidates fitted one at a time, each kept, taken up from disk, or told why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modelyard.core.errors import ModelyardError
from modelyard.core.machine import usable_cores
from modelyard.core.progress import Progress
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Floats, Fold, Ints, Parts
from modelyard.families.family import Family
from modelyard.families.fitted import Blend, Candidate, Curve, Fitted, Link
from modelyard.families.whole import fit_whole
from modelyard.metrics.metric import Metric
from modelyard.metrics.reading import reading
from modelyard.selection.plan import Plan
from modelyard.training.clock import Clock
from modelyard.training.limits import held_to, of_models
from modelyard.training.loss import Loss
from modelyard.training.run import Entry, Moment
from modelyard.training.steps import Step, Steps
from modelyard.training.tracker import Tracker

KEPT = 16
"""Fitted candidates held in memory for the blend: the best of them, and the best of each kind."""
SHARE = 0.97
"""Share of the budget that fits may take; the blend and its calibration need the rest."""
_POINTS = 50
_GRACE = 0.05

Prune = Callable[[int, float], bool]
"""Given a fold and the running loss, says whether the rest is not worth its time."""


class _Stop(Exception):
    """Raised through a family's fit to end it."""


@dataclass(slots=True, eq=False)
class Attempts:
    """Fits candidates and keeps the score.

    Attributes
    ----------
    plan, parts, family
        What is fitted, on which rows (blind), by whom.
    metric, loss : Metric, Loss
        What is published, and what is minimised.
    steps, tracker, progress, clock
        Where finished work lies, where it is logged, who watches, and the budget.
    fitted : list of Fitted
        The best so far and the best of each kind, best first.
    entries : list of Entry
        One for each attempt, failed ones too.
    planned : int
        Fits expected in all, for the progress line.
    course : list of Moment
        How the scores of fits and blend moved.
    late : set of str
        Members chosen for the blend that there was no time to fit on every row.
    kept : float
        Seconds of the budget kept for what comes after the fits.
    whole_seconds : float
        Seconds that fitting the members of the blend as it stands on every row will take, reckoned.
    shared_seconds : float
        What the first of these fits takes longer, since it works out what the others find.
    plain : bool or None
        Whether candidates to come take numbers as they are, without any made of two others; None while unsettled.
    """

    plan: Plan
    parts: Parts
    family: Family
    metric: Metric
    loss: Loss
    steps: Steps
    tracker: Tracker
    progress: Progress
    clock: Clock
    planned: int
    fitted: list[Fitted] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    course: list[Moment] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    kept: float = 0.0
    whole_seconds: float = 0.0
    shared_seconds: float = 0.0
    plain: bool | None = None
    _again: dict[str, Step] = field(default_factory=dict)
    _losses: dict[str, float] = field(default_factory=dict)
    _expected: float = 0.0
    _taken: float = 0.0

    @property
    def link(self) -> Link:
        """What turns raw scores into answers."""
        return self.loss.link

    def seconds(self, candidate: Candidate) -> float:
        """Return what a candidate's fit should take: the probe's word, corrected by how right it has been so far."""
        pace = self._taken / self._expected if self._expected > 0 else 1.0
        return candidate.cost.seconds * min(4.0, max(0.5, pace))

    @property
    def left(self) -> float:
        """Seconds left to try candidates: those of the budget, less what fitting the blend on every row will take."""
        after = self.kept + self.whole_seconds + self.shared_seconds
        return max(0.0, SHARE * self.clock.budget - after - self.clock.spent)

    def affordable(self, candidate: Candidate, seconds: float) -> bool:
        """Say whether so many seconds, and those of a fit on every row, are left, or the candidate is done already."""
        fits = [(one.seconds, of_models(one, 1).whole_seconds) for one in self.fitted]
        tried, whole = np.sum(fits, axis=0) if fits else (0.0, 0.0)
        more = min(1.0, whole / tried) if tried > 0 else 0.0  # fewer rows in fewer fits than those of the folds
        done = candidate.name in self._again or self.steps.find(candidate) is not None
        return done or seconds * (1 + more) <= self.left

    def skip(self, candidate: Candidate, why: str = "") -> None:
        """Note why a candidate is no member of what is blended, by default that there was no time to try it."""
        asked = f"it takes about {self.seconds(candidate):.0f} s, and {self.left:.0f} s were left"
        self._again.pop(candidate.name, None)
        self._note(candidate, 0.0, why or f"not tried, no time left: {asked}")

    def fit(
        self,
        candidate: Candidate,
        *,
        prune: Prune | None = None,
        rounds: tuple[int, ...] | None = None,
        to_the_end: bool = False,
    ) -> Step | None:
        """Fit one candidate, or take it up from disk; None when it failed or ran out of time.

        Parameters
        ----------
        candidate : Candidate
            What to fit.
        prune : callable, optional
            Asked after each fold.
        rounds : tuple of int, optional
            Replay these iteration counts exactly.
        to_the_end : bool
            Whatever the clock says: without one model there is no run.

        Raises
        ------
        WorkspaceError
            If the finished step cannot be written.
        """
        done = self._again.pop(candidate.name, None)
        step = done or self.steps.find(candidate, rounds)
        if step is not None:
            self.clock.credit(0.0 if done else step.seconds)
            if prune is not None:  # the search must see again what it saw then
                for fold, loss in step.watched:
                    prune(fold, loss)
        else:
            step = self._fit(candidate, prune, rounds, to_the_end)
            if step is None:
                return None
            self.steps.keep(step, rounds)
        if step.fitted is not None:
            self._expected += candidate.cost.seconds
            self._taken += step.seconds
        self._record(step)
        return step

    def whole(self, fitted: Fitted, *, replayed: bool = False) -> Fitted | None:
        """Fit a candidate on every row, as often as it says, or take that up from disk; None when it failed.

        Models that turn out larger than the brief's size allows are fitted again, fewer of them; those of a recipe,
        which are `replayed`, have been.

        Raises
        ------
        WorkspaceError
            If the finished step cannot be written.
        """
        candidate = fitted.candidate
        if not fitted.whole:
            return fitted
        step = self.steps.find(candidate, fitted.rounds, whole=fitted.whole)
        if step is not None:
            self.clock.credit(step.seconds)
            return step.fitted
        began = time.monotonic()
        self.tell(f"{candidate.name} on every row")
        try:
            made = fit_whole(self.family, fitted, self.parts, self._seed(candidate))
            fewer = fitted if replayed else of_models(fitted, len(held_to(self.plan, made).whole))
            if fewer is not fitted:  # larger than was reckoned
                made = fit_whole(self.family, fewer, self.parts, self._seed(candidate))
        except Exception as error:
            self._note(candidate, time.monotonic() - began, f"on every row: {told(error)}")
            return None
        self.steps.keep(Step(candidate, made, (), time.monotonic() - began), fitted.rounds, whole=fitted.whole)
        return made

    def again(self, candidate: Candidate, folds: Sequence[Fold]) -> Fitted:
        """Fit a candidate over other folds, or take that up from disk; it is not blended.

        Over all of the split's own, the next `fit` of the candidate takes it over.

        Raises
        ------
        WorkspaceError
            If the finished step cannot be written.
        """
        parts = replace(self.parts, split=replace(self.parts.split, folds=tuple(folds)))
        steps = self.steps.over(parts)
        step = steps.find(candidate)
        if step is not None and step.fitted is not None:
            self.clock.credit(step.seconds)
        else:
            began = time.monotonic()
            fitted = self.family.fit(candidate, parts, self._seed(candidate))
            step = Step(candidate, fitted, (), time.monotonic() - began)
            steps.keep(step)
        assert step.fitted is not None  # noqa: S101
        own = self.parts.split.folds
        if len(folds) == len(own) and all(one is other for one, other in zip(folds, own, strict=True)):
            self._again[candidate.name] = step
        return step.fitted

    def _fit(
        self, candidate: Candidate, prune: Prune | None, rounds: tuple[int, ...] | None, to_the_end: bool
    ) -> Step | None:
        began = time.monotonic()
        watched: list[tuple[int, float]] = []
        stopped = ""
        folds = len(self.parts.split.folds)
        self.tell(f"{candidate.name} 0 of {folds} folds")

        def watch(fold: int, loss: float) -> None:
            nonlocal stopped
            watched.append((fold, float(loss)))
            self.tell(f"{candidate.name} {len(watched)} of {folds} folds, loss {loss:.4g}")
            if prune is not None and prune(fold, loss) and len(watched) < folds:  # the last fold is paid for
                stopped = "pruned"
            elif not to_the_end and self._too_slow(time.monotonic() - began, len(watched)):
                stopped = "stopped: it would not have ended in time"
            if stopped:
                raise _Stop

        try:
            fitted = self.family.fit(candidate, self.parts, self._seed(candidate), watch, rounds)
            fault = self._fault(fitted)
        except Exception as error:
            # A family may wrap what was raised through it; only our own word says why it ended.
            fault = stopped or told(error)
        seconds = time.monotonic() - began
        if stopped == "pruned":
            return Step(candidate, None, tuple(watched), seconds)
        if fault:
            self._note(candidate, seconds, fault)
            return None
        return Step(candidate, replace(fitted, seconds=fitted.seconds or seconds), tuple(watched), seconds)

    def _seed(self, candidate: Candidate) -> int:
        return derive_seed(self.plan.brief.seed, "fit", candidate.name)

    def _too_slow(self, spent: float, folds: int) -> bool:
        """Say whether the folds to come would end well after the budget.

        A family may fit as many folds side by side as there are cores: those not yet told may be all but done.
        """
        if folds == len(self.parts.split.folds):
            return False
        if self.left <= 0:
            return True
        beside = usable_cores() - 1
        one = spent / (folds + beside)
        to_come = len(self.parts.split.folds) + (1 if self.parts.split.forward else 0) - folds - beside
        return to_come * one > self.left + min(one, _GRACE * self.clock.budget)

    def _fault(self, fitted: Fitted) -> str:
        outputs = len(self.plan.schema.classes) if self.link == "softmax" else 1
        wanted = (len(self.parts.development), outputs)
        if fitted.scores.shape != wanted:
            return f"failed: out-of-fold scores of shape {fitted.scores.shape}, not {wanted}"
        return "" if len(scored_rows([fitted])) else "failed: no row got an out-of-fold score"

    def _record(self, step: Step) -> None:
        candidate = step.candidate
        if step.fitted is None:
            after = f"{len(step.watched)} fold{'s'[: len(step.watched) > 1]}"
            self._note(candidate, step.seconds, f"pruned after {after}: worse than the median of the trials before")
            return
        rows = scored_rows([step.fitted])
        raw = step.fitted.scores[rows]
        own = self._loss_of(candidate)
        score, loss = self.score(raw, rows, own.link), own.take(rows)(raw)
        named = candidate.name, candidate.title, candidate.parameters
        reckoned = of_models(step.fitted, 1).microseconds
        self.entries.append(Entry(*named, score, 0.0, step.seconds, candidate.reason, reckoned))
        self._losses[candidate.name] = loss
        self.shared_seconds = max(self.shared_seconds, step.fitted.shared_seconds)
        self.fitted.append(step.fitted)
        self.fitted.sort(key=self.out_of_fold_loss)
        kinds = {one.candidate.title: one for one in reversed(self.fitted)}.values()
        self.fitted = [one for i, one in enumerate(self.fitted) if i < KEPT or one in kinds]
        measured = {
            f"validation_{self.metric.name}": score,
            f"validation_{self.loss.name}": loss,
            "seconds": step.seconds,
            **_train_loss(step.fitted),
        }
        self.tracker.trial(candidate.name, candidate.parameters, measured, curve_series(step.fitted.curves))

    def _note(self, candidate: Candidate, seconds: float, note: str) -> None:
        self.entries.append(
            Entry(candidate.name, candidate.title, candidate.parameters, float("nan"), 0.0, seconds, note)
        )
        if seconds > 0:
            self.tell()
            self.tracker.trial(candidate.name, candidate.parameters, {"seconds": seconds}, {})

    def out_of_fold_loss(self, fitted: Fitted) -> float:
        """Return the out-of-fold loss of a fitted candidate."""
        return self._losses[fitted.candidate.name]

    def _loss_of(self, candidate: Candidate) -> Loss:
        """Return the loss of a candidate's raw scores, which may be logarithms before those of the blend are."""
        return replace(self.loss, link="log") if learns_log(candidate.parameters) else self.loss

    def score(self, raw: Floats, rows: Ints, link: Link | None = None) -> float:
        """Return the plan's metric of raw scores of some rows, uncalibrated; `link` is the blend's by default."""
        answers = Blend((), link or self.link, 1.0, (0.0,) * raw.shape[1]).answer(raw)
        return self.score_answers(answers, rows)

    def score_answers(self, answers: Floats, rows: Ints) -> float:
        """Return the plan's metric of answers for some rows."""
        data = self.parts.development.take(rows)
        return float(self.metric(data.truth(), reading(self.metric, answers), data.weights(), data.extras))

    def tell(self, doing: str = "") -> None:
        """Say how many fits are done, how much time is left, what the blend scores, and what is running."""
        done, left = len(self.entries), round(self.clock.left)
        total = max(self.planned, done)
        words = [f"{done} of {total} fits", f"{left // 60}:{left % 60:02d} left"]
        if self.course:
            now, before = self.course[-1], self.course[max(0, len(self.course) - 2)]
            moved = f" ({now.blend - before.blend:+.2g})" if now.blend != before.blend else ""
            words.append(
                f"out-of-fold {self.metric.title} of the blend {now.blend:.4g}{moved}, {now.name} {now.score:.4g}"
            )
        words += [doing] if doing else []
        self.progress.step(done, total, ", ".join(words))


def learns_log(parameters: Mapping[str, Any]) -> bool:
    """Say whether a candidate of these parameters learns the logarithm of the mean."""
    return parameters.get("loss") in ("poisson", "tweedie")


def scored_rows(fitted: Sequence[Fitted]) -> Ints:
    """Return the rows every one of the fitted candidates scored out-of-fold."""
    known = np.logical_and.reduce([np.isfinite(one.scores).all(axis=1) for one in fitted])
    return np.flatnonzero(known)


def curve_series(curves: tuple[Curve, ...]) -> dict[str, tuple[tuple[int, float], ...]]:
    """Return learning curves as stepped series, thinned, under the names a tracker shows."""
    series: dict[str, tuple[tuple[int, float], ...]] = {}
    for curve in curves:
        kept = np.unique(np.linspace(0, len(curve.steps) - 1, min(_POINTS, len(curve.steps))).round().astype(int))
        for name, values in (("train", curve.train), ("validation", curve.validation)):
            points = tuple((curve.steps[i], values[i]) for i in kept if i < len(values) and np.isfinite(values[i]))
            if points:
                series[f"fold_{curve.fold}_{name}_loss"] = points
    return series


def _train_loss(fitted: Fitted) -> Mapping[str, float]:
    last = [curve.train[-1] for curve in fitted.curves if curve.train and np.isfinite(curve.train[-1])]
    return {"train_loss": float(np.mean(last))} if last else {}


def told(error: Exception) -> str:
    """Return why a fit failed, in a line of the leaderboard."""
    what = error.what if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
    return f"failed: {what.splitlines()[0] if what else type(error).__name__}"
