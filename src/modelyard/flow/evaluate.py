"""evaluate: what a bundle is worth on labelled rows that came later."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from modelyard.brief.brief import Target
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.stream import in_file
from modelyard.core.errors import DataError
from modelyard.data.dataset import Dataset
from modelyard.data.read import check_weights, read_batches
from modelyard.evaluation.evidence import Evidence, target_metric
from modelyard.evaluation.report import Answer, Estimate, TargetResult
from modelyard.evaluation.verdict import met, together
from modelyard.flow.compare import bundle_answers
from modelyard.metrics.find import beside, default_metric
from modelyard.metrics.find import metric as find_metric

RESAMPLES = 1000
_UNMEASURED = "mase"
"""It needs the errors of a naive forecast before these rows, which a bundle does not carry."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a bundle is worth on a file: how many rows, every metric of the task, the targets and their answer.

    ``weighted`` says whether rows count by the brief's weight column; `basis` says so in words, and what was resampled
    for the intervals.
    """

    rows: int
    estimates: tuple[Estimate, ...]
    targets: tuple[TargetResult, ...]
    target_met: Answer
    weighted: bool
    basis: str


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
        If there is no label, no row, or a class the model does not know; if the model was judged by weights and they
        are absent, missing or negative.
    """
    label = bundle.schema.label
    pieces = list(read_batches(path, bundle.schema))
    if not pieces:
        raise DataError("The file has no rows.", where=str(path), do="Bring rows whose outcome is known.")
    frame = pl.concat(pieces)
    if label is None or label.name not in frame.columns or frame[label.name].null_count() == frame.height:
        name = "" if label is None else label.name
        raise DataError(
            f"The file has no labels: column '{name}' is missing or empty.",
            where=str(path),
            do="Bring rows whose outcome is known; for rows without one there is modelyard predict.",
        )
    weight = next((c.name for c in bundle.schema.columns if c.role == "weight"), None)
    if weight is not None:
        _check_weights(frame, weight, label.name, path)
    labelled = frame[label.name].is_not_null()
    rows = Dataset(frame.filter(labelled), bundle.schema, "")
    if bundle.schema.classes:
        unknown = set(rows.frame[label.name].unique()) - set(bundle.schema.classes)
        if unknown:
            raise DataError(
                f"The label has classes the model does not know: {', '.join(sorted(unknown))}.",
                where=f"{path}, column {label.name}",
                allowed=", ".join(bundle.schema.classes),
            )
    try:
        answers = bundle_answers(bundle, rows)
    except DataError as error:
        raise in_file(error, path, [place + 1 for place in labelled.arg_true()]) from None
    evidence = Evidence.of(rows, answers, bundle.threshold, bundle.manifest.brief.seed, RESAMPLES)
    asked = find_metric(bundle.manifest.brief.metric or default_metric(bundle.schema.task).name)
    metrics = [m for m in (asked, *beside(asked, bundle.schema.task)) if m.name != _UNMEASURED]
    targets = tuple(
        TargetResult(target, estimate, met(target, estimate))
        for target in bundle.manifest.brief.target
        for estimate in (_of_target(target, evidence),)
    )
    return Measured(
        len(rows),
        evidence.estimates(metrics),
        targets,
        together(targets, None),
        evidence.weights is not None,
        _basis(evidence, weight),
    )


def _check_weights(frame: pl.DataFrame, weight: str, label: str, path: Path) -> None:
    if weight not in frame.columns:
        raise DataError(
            f"The file has no weights: column '{weight}' is missing.",
            where=str(path),
            do="Bring it: the model and its targets were judged by weighted rows. Where all count alike, write 1.",
        )
    try:
        # A row without a label is not judged, whatever its weight.
        check_weights(frame.select(pl.when(pl.col(label).is_null()).then(0.0).otherwise(weight).alias(weight))[weight])
    except DataError as error:
        raise DataError(
            error.what, where=f"{path}, {error.where}", allowed=error.allowed, do="Correct it, or leave the row out."
        ) from None


def _basis(evidence: Evidence, weight: str | None) -> str:
    """Return how rows count, and what was resampled."""
    group = next((c.name for c in evidence.rows.schema.columns if c.role == "group"), None)
    counted = "" if weight is None else f"weighted by '{weight}'; "
    if evidence.groups is not None:
        return f"{counted}intervals by resampling whole entities of '{group}'"
    why = ""
    if group is not None:
        found = "has one entity" if group in evidence.rows.frame.columns else "is not in the file"
        why = f", as '{group}' {found}: too narrow where rows are alike"
    return f"{counted}intervals by resampling rows{why}"


def _of_target(target: Target, evidence: Evidence) -> Estimate:
    if target.metric == _UNMEASURED:
        return Estimate(_UNMEASURED, math.nan, math.nan, math.nan, len(evidence.rows), 0.95, 0, "rows")
    return evidence.estimate(target_metric(target, evidence.rows.schema.classes))


def evaluation_lines(result: Measured) -> list[str]:
    """Return a measurement as a terminal shows it."""
    lines = [f"{result.rows:,} labelled rows; {result.basis}"]
    for e in result.estimates:
        lines.append(f"  {find_metric(e.metric).title:<28} {e.value:.4g} [{e.low:.4g}, {e.high:.4g}]")
    for t in result.targets:
        if t.target.metric == _UNMEASURED:
            lines.append(f"Target {t.target}: {t.met}, a bundle lacks the earlier rows {_UNMEASURED} is scaled by")
            continue
        lines.append(
            f"Target {t.target}: {t.met}, {t.estimate.value:.4g} [{t.estimate.low:.4g}, {t.estimate.high:.4g}]"
        )
    return lines
