"""evaluate: what a bundle is worth on labelled rows that came later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import DataError
from modelyard.data.dataset import Dataset
from modelyard.data.read import read_batches
from modelyard.evaluation.report import Answer, Estimate, TargetResult
from modelyard.evaluation.verdict import all_targets, decide
from modelyard.flow.develop import EXIT_CODES
from modelyard.metrics.find import all_metrics
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import bootstrap
from modelyard.metrics.metric import Metric
from modelyard.metrics.one_class import metric_for
from modelyard.metrics.reading import reading

__all__ = ["EXIT_CODES", "Measured", "evaluate_file", "evaluation_lines"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bundle is worth on a file: how many rows, every metric of the task, the targets and their answer."""

    rows: int
    estimates: tuple[Estimate, ...]
    targets: tuple[TargetResult, ...]
    target_met: Answer


def evaluate_file(bundle: Bundle, path: Path) -> Measured:
    """Measure a bundle on labelled rows.

    Parameters
    ----------
    bundle : Bundle
    path : path
        CSV, Parquet or Arrow file with the schema's columns and the label.

    Raises
    ------
    DataError
        If there is no label, no row, or a class the model does not know.
    """
    label = bundle.schema.label
    frame = pl.concat(list(read_batches(path, bundle.schema)))
    if label is None or label.name not in frame.columns or frame[label.name].null_count() == frame.height:
        name = "" if label is None else label.name
        raise DataError(f"The file has no labels: column '{name}' is missing or empty.", where=str(path))
    rows = Dataset(frame.filter(pl.col(label.name).is_not_null()), bundle.schema, "")
    if bundle.schema.classes:
        unknown = set(rows.frame[label.name].unique()) - set(bundle.schema.classes)
        if unknown:
            raise DataError(
                f"The label has classes the model does not know: {', '.join(sorted(unknown))}.",
                where=f"{path}, column {label.name}",
                allowed=", ".join(bundle.schema.classes),
            )
    answers = _answers(bundle, rows)
    brief = bundle.manifest.brief
    task = bundle.schema.task
    names = [m for m in all_metrics() if task in m.tasks and m.name != "mase"]
    targets = tuple(
        decide(t, _estimate(metric_for(t, bundle.schema.classes), rows, answers, bundle))
        for t in brief.target
        if t.metric != "mase"
    )
    asked = brief.metric or names[0].name
    names.sort(key=lambda m: m.name != asked)
    estimates = tuple(_estimate(m, rows, answers, bundle) for m in names)
    return Measured(len(rows), estimates, targets, all_targets(targets) if targets else "inconclusive")


def evaluation_lines(result: Measured) -> list[str]:
    """Return a measurement as a terminal shows it."""
    lines = [f"{result.rows:,} labelled rows"]
    for e in result.estimates:
        lines.append(f"  {find_metric(e.metric).title:<28} {e.value:.4g} [{e.low:.4g}, {e.high:.4g}]")
    for t in result.targets:
        lines.append(
            f"Target {t.target}: {t.met}, {t.estimate.value:.4g} [{t.estimate.low:.4g}, {t.estimate.high:.4g}]"
        )
    return lines


def _answers(bundle: Bundle, rows: Dataset) -> NDArray[np.float64]:
    """Return answers shaped as `Blend.answer` shapes them."""
    if not bundle.schema.classes:
        return np.asarray(bundle.predict(rows.frame), dtype=np.float64)
    p = bundle.predict_proba(rows.frame)
    return p[:, 1] if bundle.schema.task == "binary" else p


def _estimate(metric: Metric, rows: Dataset, answers: NDArray[np.float64], bundle: Bundle) -> Estimate:
    prediction = reading(metric, answers, threshold=bundle.threshold if bundle.threshold is not None else 0.5)
    truth: Any = rows.truth()
    found = bootstrap(metric, truth, prediction, weights=rows.weights(), groups=rows.groups())
    return Estimate(
        metric.name, found.value, found.low, found.high, len(rows), found.level, found.resamples, found.unit
    )
