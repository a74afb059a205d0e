"""What the model answers: on rows it has not seen, and on its own rows by the folds that did not learn from them."""

from __future__ import annotations

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.families.find import family_named
from modelyard.training.run import Run


def answers(run: Run, rows: Dataset) -> Floats:
    """Return the blend's answers on rows it has not learnt from.

    Parameters
    ----------
    run : Run
        With the blend.
    rows : Dataset
        Of the run's schema; the label is not read.

    Returns
    -------
    array of shape [n] or [n, k]
        Values, probabilities of the positive class, or of all classes.
    """
    raw: Floats | None = None
    for fitted, weight in run.blend.members:
        part = weight * family_named(fitted.candidate.family).predict(fitted, rows)
        raw = part if raw is None else raw + part
    if raw is None:
        raise ValueError("a blend has at least one member")
    return run.blend.answer(raw)


def out_of_fold(run: Run) -> tuple[Dataset, Floats]:
    """Return the development rows that a fold scored, and the answers it gave."""
    missing = np.isnan(run.answers)
    scored = np.flatnonzero(~(missing.any(axis=1) if missing.ndim == 2 else missing))
    return run.development.take(scored), run.answers[scored]


def halves(rows: Dataset, seed: int) -> tuple[Ints, Ints]:
    """Return two halves of the rows, no entity and no copy of a row in both."""
    units = rows.units()
    if units is None or len(np.unique(units)) < 2:
        units = np.arange(len(rows))
    names, codes = np.unique(units, return_inverse=True)
    left = np.zeros(len(names), dtype=bool)
    left[np.random.default_rng(derive_seed(seed, "halves")).permutation(len(names))[: len(names) // 2]] = True
    return np.flatnonzero(left[codes]).astype(np.int64), np.flatnonzero(~left[codes]).astype(np.int64)
