"""Tabular: boosted trees, linear models and networks over numbers, categories, dates and texts, as one graph."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.core.machine import usable_cores
from modelyard.data.dataset import Dataset, Floats, Parts
from modelyard.data.profile import Profile
from modelyard.families.family import Watch
from modelyard.families.fitted import Blend, Candidate, Export, Fitted


class Tabular:
    """The family for one row, one answer: two classes, many classes, or a number.

    Categories are encoded inside each fold from that fold's training part alone, and boosting stops on an inner part
    of it. The folds' models score the rows they have not seen; a few models that learnt from every development row,
    for as many rounds, answer for new ones.
    """

    name = "tabular"
    tasks = frozenset({"binary", "multiclass", "regression"})
    refits = False

    def candidates(self, brief: Brief, profile: Profile, data: Dataset) -> tuple[Candidate, ...]:
        """Return the kinds of model, the best bet first, with reasons, ranges and costs."""
        from modelyard.families.tabular.candidates import propose

        return propose(brief, profile, data)

    def fit(
        self,
        candidate: Candidate,
        parts: Parts,
        seed: int,
        watch: Watch | None = None,
        rounds: tuple[int, ...] | None = None,
    ) -> Fitted:
        """Fit one candidate over the folds; `rounds` of an earlier fit give the same models, bit for bit."""
        from modelyard.families.tabular.folds import fit_folds

        return fit_folds(candidate, parts, seed, watch, rounds)

    def predict(self, fitted: Fitted, rows: Dataset) -> Floats:
        """Return the mean raw score of the fitted models, [n_rows, n_outputs], from their native texts."""
        from modelyard.families.tabular.models import load_models, read_for

        inputs = read_for(fitted, rows)
        with ThreadPoolExecutor(usable_cores()) as threads:
            scores = list(threads.map(lambda model: model.raw(inputs), load_models(fitted)))
        return np.asarray(np.mean(scores, axis=0), dtype=np.float64)

    def export(self, blend: Blend, data: Dataset) -> Export:
        """Return the blend as ``model.onnx``, its native boosters as text, and what explanations need."""
        from modelyard.families.tabular.exporting import export

        return export(blend, data)
