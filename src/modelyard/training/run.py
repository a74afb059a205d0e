"""Run: what training did, the blend it ended with, and what it saw on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.data.dataset import Dataset, Floats
from modelyard.families.fitted import Blend
from modelyard.selection.plan import Plan

TRIAL = "-t"
"""Between a candidate's name and the number of the trial that changed it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the leaderboard.

    Attributes
    ----------
    name, title : str
        The candidate's, or the trial's.
    parameters : mapping
        Its hyperparameters.
    score : float
        Out-of-fold, before calibration; NaN where it has none.
    weight : float
        Share of the blend.
    seconds : float
        Wall clock of its fit over the folds.
    note : str
        Why it was tried, or what became of it where it has no score.
    microseconds : float
        What a member of this kind is reckoned to add to one answer; NaN where it was not fitted.
    why : str
        Why it has no share, in plain words; empty where it has one.
    """

    name: str
    title: str
    parameters: Mapping[str, Any]
    score: float
    weight: float
    seconds: float
    note: str = ""
    microseconds: float = math.nan
    why: str = ""

    @property
    def base(self) -> str:
        """Name of the candidate that this trial of the search changed; empty where it is no trial."""
        name, _, number = self.name.rpartition(TRIAL)
        return name if number.isdigit() else ""


@dataclass(frozen=True, slots=True)
class Point:
    """A blend, or one fit alone: microseconds its answer is reckoned to take, its out-of-fold score, its members."""

    microseconds: float
    score: float
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frontier:
    """Quality against latency, as this run could have had it; scores are before calibration.

    Attributes
    ----------
    limit : float
        Microseconds the blend might take.
    singles : tuple of Point
        The best fits, each alone.
    blends : tuple of Point
        Greedy blends under a ladder of limits, quickest first, each better than those before it.
    chosen : Point
        The blend of the run.
    loss : str
        What blends are chosen by, as people write it.
    """

    limit: float
    singles: tuple[Point, ...]
    blends: tuple[Point, ...]
    chosen: Point
    loss: str


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment a fit was scored: seconds since training began, its score, and that of the blend from then on."""

    seconds: float
    name: str
    score: float
    blend: float


@dataclass(frozen=True, slots=True)
class Size:
    """What was learnt from so many rows (the mean over folds): its score, and the interval of that."""

    rows: int
    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DataSize:
    """How the score of one candidate, its settings fixed, grows with the rows it learns from.

    Attributes
    ----------
    candidate : str
        Which; empty where it was not measured.
    folds : int
        Folds it was measured on.
    sizes : tuple of Size
        Most rows first.
    gain, low, high : float
        How much better all rows are than half of them, positive where they are, and its 95 % interval; over all and
        over half.
    whole, whole_low : float
        The same of all rows over the fewest, and the lower bound.
    missing : str
        Why it was not measured, where it was not.
    """

    candidate: str = ""
    folds: int = 0
    sizes: tuple[Size, ...] = ()
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    whole: float = 0.0
    whole_low: float = 0.0
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What training saw beside the model: the frontier, how the score moved, and what more rows are worth."""

    frontier: Frontier | None = None
    course: tuple[Moment, ...] = ()
    data_size: DataSize | None = None


NOTHING_SEEN = Diagnostics()
"""Of a replay, which fits the members alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What training did.

    Attributes
    ----------
    name : str
        ``{model_type}-{dataset_version}-{date}-{run_id}``.
    id : str
        The last part of the name: short, unique in the workspace.
    plan : Plan
        What was asked of it.
    development : Dataset
        The rows it learnt from.
    blend : Blend
        The model.
    answers : float64 array
        Out-of-fold answers of the blend (calibrated within folds where calibration was fitted), NaN where unscored;
        shaped as `Blend.answer` returns them, for the development rows.
    leaderboard : tuple of Entry
        Every candidate tried, best first.
    score : float
        Out-of-fold value of the plan's metric.
    seconds : float
        Wall clock of training.
    environment : mapping
        Python, platform, and the versions of the packages that matter.
    commit : str or None
        Git commit of the folder the run was started in.
    tracking : mapping
        Where the tracker keeps it (uri, experiment, run id); empty without one.
    diagnostics : Diagnostics
        What training saw beside the model; empty where a recipe was replayed.
    """

    name: str
    id: str
    plan: Plan
    development: Dataset
    blend: Blend
    answers: Floats
    leaderboard: tuple[Entry, ...]
    score: float
    seconds: float
    environment: Mapping[str, str]
    commit: str | None
    tracking: Mapping[str, str]
    diagnostics: Diagnostics = NOTHING_SEEN
