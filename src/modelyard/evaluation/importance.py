"""Permutation importance: how much worse the metric gets when a column is shuffled among the evaluated rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from modelyard.core.progress import Progress
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset
from modelyard.evaluation.answers import answers
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.levels import Levels, explained
from modelyard.evaluation.report import Importance
from modelyard.metrics.metric import Metric
from modelyard.metrics.reading import reading
from modelyard.training.run import Run

REPEATS, COLUMNS = 5, 20
_ROWS, _LEAST_ROWS = 2_000, 250
_MICROSECONDS, _SHARE = 4e6, 0.03
"""What all answers are reckoned to take, and of the budget at most: reckoned and not measured, so that two runs give
the same figures."""
_T = 2.776  # Student's t, 4 degrees of freedom, two-sided 95 %


def importance(run: Run, evidence: Evidence, metric: Metric, progress: Progress) -> tuple[Importance, ...]:
    """Return the columns that matter, largest loss first.

    Columns whose levels explain most of the answers go first, `COLUMNS` at most; each is shuffled `REPEATS` times on
    at most 2,000 rows, fewer where an answer takes long.

    References
    ----------
    Breiman (2001), "Random forests", section 10; Fisher, Rudin, Dominici (2019), "All models are wrong, but many are
    useful".
    """
    rows = evidence.rows
    features = [c for c in rows.schema.features if c.name in rows.frame.columns and c.kind != "id"]
    names, texts = [c.name for c in features], {c.name for c in features if c.kind == "text" or c.phrases}
    if rows.schema.task == "forecast" or not names or len(rows) < 2:
        return ()
    random = np.random.default_rng(derive_seed(run.plan.brief.seed, "importance"))
    once = max(10.0, sum(one.microseconds for one, _ in run.blend.members)) * REPEATS * min(len(names), COLUMNS)
    most = min(_MICROSECONDS, _SHARE * 1e6 * run.plan.brief.budget.seconds)
    size = min(len(rows), _ROWS, max(_LEAST_ROWS, int(most / once)))
    picked = np.sort(random.choice(len(rows), size, replace=False)).astype(np.int64)
    few = rows.take(picked)
    base = answers(run, few)
    names = sorted(names, key=lambda name: -1.0 if name in texts else -_screen(few, name, base))[:COLUMNS]
    truth, weights = few.truth(), few.weights()
    threshold = np.broadcast_to(evidence.threshold, len(rows))[picked]

    def loss(answer: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        return metric.loss(metric(truth, reading(metric, answer, threshold), weights, few.extras))

    whole, found = loss(base), []
    tiled = few.take(np.tile(np.arange(size, dtype=np.int64), REPEATS))
    for i, name in enumerate(names):
        progress.step(i, len(names), f"importance of {name}")
        shuffled = np.concatenate([random.permutation(size) for _ in range(REPEATS)])
        frame = tiled.frame.with_columns(few.frame[name][shuffled].alias(name))
        asked = answers(run, Dataset(frame, tiled.schema, tiled.fingerprint, tiled.extras))
        worse = np.array([loss(part) - whole for part in np.split(asked, REPEATS)])
        half = _T * float(worse.std(ddof=1)) / np.sqrt(REPEATS)
        found.append(Importance(name, float(worse.mean()), float(worse.mean() - half), float(worse.mean() + half)))
    return tuple(sorted((f for f in found if not np.isnan(f.loss)), key=lambda f: -f.loss))


def _screen(rows: Dataset, name: str, answer: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    column: pl.Series = rows.frame[name]
    levels = Levels.of(column, 8, 20)
    return explained(levels.codes(column), len(levels), answer if answer.ndim == 2 else answer[:, None])
