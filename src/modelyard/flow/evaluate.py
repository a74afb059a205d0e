"""evaluate: what a bundle is worth on labelled rows that came later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import DataError
from modelyard.data.dataset import Dataset
from modelyard.data.read import read_batches
from modelyard.evaluation.evidence import Evidence, target_metric
from modelyard.evaluation.report import Answer, Estimate, TargetResult
from modelyard.evaluation.verdict import met, together
from modelyard.flow.compare import bundle_answers
from modelyard.metrics.find import beside, default_metric
from modelyard.metrics.find import metric as find_metric

RESAMPLES = 1000


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
        raise DataError(
            f"The file has no labels: column '{name}' is missing or empty.",
            where=str(path),
            do="Bring rows whose outcome is known; for rows without one there is modelyard predict.",
        )
    rows = Dataset(frame.filter(pl.col(label.name).is_not_null()), bundle.schema, "")
    if bundle.schema.classes:
        unknown = set(rows.frame[label.name].unique()) - set(bundle.schema.classes)
        if unknown:
            raise DataError(
                f"The label has classes the model does not know: {', '.join(sorted(unknown))}.",
                where=f"{path}, column {label.name}",
                allowed=", ".join(bundle.schema.classes),
            )
    evidence = Evidence.of(rows, bundle_answers(bundle, rows), bundle.threshold, bundle.manifest.brief.seed, RESAMPLES)
    # MASE needs the errors of a naive forecast before these rows, which a bundle does not carry.
    asked = bundle.manifest.brief.metric or default_metric(bundle.schema.task).name
    metrics = [m for m in (find_metric(asked), *beside(find_metric(asked), bundle.schema.task)) if m.name != "mase"]
    targets = tuple(
        TargetResult(target, estimate, met(target, estimate))
        for target in bundle.manifest.brief.target
        if target.metric != "mase"
        for estimate in (evidence.estimate(target_metric(target, bundle.schema.classes)),)
    )
    return Measured(len(rows), tuple(evidence.estimate(m) for m in metrics), targets, together(targets, None))


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
