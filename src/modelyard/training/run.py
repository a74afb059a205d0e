"""Run: what training did, and the blend it ended with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.data.dataset import Dataset, Floats
from modelyard.families.fitted import Blend
from modelyard.selection.plan import Plan


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the leaderboard: a candidate, its out-of-fold score, its share of the blend, its seconds."""

    name: str
    title: str
    parameters: Mapping[str, Any]
    score: float
    weight: float
    seconds: float
    note: str = ""


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
