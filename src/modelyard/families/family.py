"""Family: the seam between the framework and a kind of model. Four words: candidates, fit, predict, export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from modelyard.brief.brief import Brief
from modelyard.data.dataset import Dataset, Floats, Parts
from modelyard.data.profile import Profile
from modelyard.families.fitted import Blend, Candidate, Export, Fitted

Watch = Callable[[int, float], None]
"""Called after each fold with its number and the running out-of-fold loss; raises to stop the fit."""


class Family(Protocol):
    """A kind of model. `modelyard.families.checks` tests any implementation."""

    name: str
    tasks: frozenset[str]
    refits: bool
    """Whether the bundle holds a refit on every row, test rows too (a forecast must start after the last date)."""

    def candidates(self, brief: Brief, profile: Profile, data: Dataset) -> tuple[Candidate, ...]:
        """Return what could be fitted, best bet first, each with its reason, its search ranges and its cost.

        `data` holds the development rows, those models learn from, and `profile` is of them.
        """

    def fit(
        self,
        candidate: Candidate,
        parts: Parts,
        seed: int,
        watch: Watch | None = None,
        rounds: tuple[int, ...] | None = None,
    ) -> Fitted:
        """Fit one candidate over the folds of the development part; with `rounds`, replay those counts exactly.

        Where the split has no folds, every row is learnt from: by one model for each of the `rounds`.
        """

    def predict(self, fitted: Fitted, rows: Dataset) -> Floats:
        """Return raw scores of shape [n_rows, n_outputs] for rows the model has not seen."""

    def export(self, blend: Blend, data: Dataset) -> Export:
        """Return the whole blend as files any machine can run."""
