"""evaluate: from a run and rows it has not seen to a Report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.core.progress import Progress, Silent
from modelyard.data.dataset import Dataset
from modelyard.data.finding import Finding
from modelyard.evaluation.answers import answers, out_of_fold
from modelyard.evaluation.baselines import baselines, rule_trouble
from modelyard.evaluation.calibration import calibration
from modelyard.evaluation.coverage import coverage
from modelyard.evaluation.evidence import Evidence, target_metric
from modelyard.evaluation.forecasts import forecasts
from modelyard.evaluation.importance import importance
from modelyard.evaluation.report import Confusion, Estimate, Report, TargetResult
from modelyard.evaluation.slices import slices
from modelyard.evaluation.threshold import choose_threshold, crossed_thresholds
from modelyard.evaluation.values import predicted_against_actual, share_below
from modelyard.evaluation.verdict import beats, met, together
from modelyard.evaluation.worries import worries
from modelyard.families.find import family_named
from modelyard.metrics.find import beside
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.metric import Metric
from modelyard.metrics.reading import reading
from modelyard.training.run import Run

_MANY = 20_000
"""Rows, times the classes where there are several, from which figures beside the judged ones get fewer resamples."""


def evaluate(
    run: Run,
    rows: Dataset,
    *,
    resamples: int = 1000,
    findings: Sequence[Finding] = (),
    progress: Progress | None = None,
) -> Report:
    """Judge a run.

    Parameters
    ----------
    run : Run
        What training made.
    rows : Dataset
        Untouched rows. ``run.development`` itself means out-of-fold: each row is judged by what never saw it.
    resamples : int
        Of the bootstrap, for the plan's metric, the targets and the best baseline.
    findings : sequence of Finding
        What was seen in the data; drift becomes a worry.
    progress : Progress, optional
        Who watches; default nobody.

    Returns
    -------
    Report
        Figures with intervals, comparisons, slices, worries and the verdict.

    Raises
    ------
    BriefError
        If a target names a class the label does not have.
    """
    watch = progress or Silent()
    held_out = rows is not run.development
    seed = run.plan.brief.seed
    threshold, chosen_by = choose_threshold(run)
    judged, answer = (rows, answers(run, rows)) if held_out else out_of_fold(run)
    crossed = None if held_out else crossed_thresholds(run)
    evidence = Evidence.of(judged, answer, threshold if crossed is None else crossed[0], seed, resamples)
    metric = find_metric(run.plan.metric)
    asked = [target_metric(t, run.plan.schema.classes) for t in run.plan.brief.target]
    estimate, *reached = evidence.estimates([metric, *asked])
    targets = tuple(TargetResult(t, e, met(t, e)) for t, e in zip(run.plan.brief.target, reached, strict=True))
    watch.step(1, 4, "baselines")
    compared = baselines(run, evidence, metric, held_out)
    best = compared[0] if compared else None
    watch.step(2, 4, "importance")
    matters = importance(run, evidence, metric, watch)
    watch.step(3, 4, "slices")
    parts = slices(evidence, metric, matters)
    curve = calibration(evidence)
    others = _others(evidence, metric)
    quantile = metric.name.startswith("pinball@")  # which lies off the mean because that was asked
    values, bias = ((), None) if quantile else predicted_against_actual(evidence)
    below = share_below(evidence) if quantile else None
    held = coverage(run, evidence, held_out)
    worried = worries(
        metric,
        estimate,
        evidence,
        others=others,
        targets=targets,
        baselines=compared,
        slices=parts,
        calibration=curve,
        bounds=held,
        development=run.score if held_out else None,
        below=below,
        findings=findings,
        refits=family_named(run.plan.family).refits,
    )
    trouble = rule_trouble(run)
    return Report(
        run=run.name,
        task=run.plan.schema.task,
        metric=metric.name,
        on="test" if held_out else "out-of-fold",
        rows=len(judged),
        estimate=estimate,
        others=others,
        targets=targets,
        target_met=together(targets, best),
        baselines=compared,
        beats_baseline=beats(best),
        calibration=curve[0],
        confusion=_confusion(evidence, threshold, chosen_by, None if crossed is None else crossed[1]),
        slices=parts,
        importance=matters,
        worries=worried if trouble is None else (*worried, f"Your rule could not be compared: {trouble}"),
        calibration_error=curve[1],
        weighted=evidence.weights is not None,
        values=values,
        bias=bias,
        below=below,
        forecasts=forecasts(run, evidence) if held_out else None,
        bounds=held,
    )


def _others(evidence: Evidence, metric: Metric) -> tuple[Estimate, ...]:
    """Return every other metric of the task that these rows define.

    The plug-in calibration error is left out: of a perfect model it reads .08 on 200 rows. The debiased one is told.
    """
    task, draws = evidence.rows.schema.task, evidence.resamples
    if len(evidence.truth) * (len(evidence.rows.schema.classes) if task == "multiclass" else 1) > _MANY:
        draws = max(200, draws // 5)
    wanted = [m for m in beside(metric, task) if m.name != "ece"]
    return tuple(e for e in evidence.estimates(wanted, draws) if not np.isnan(e.value))


def _confusion(
    evidence: Evidence, threshold: float | None, chosen_by: str, crossed: tuple[float, float] | None
) -> Confusion | None:
    classes = evidence.rows.schema.classes
    if not classes:
        return None
    codes = reading(find_metric("accuracy"), evidence.answers, evidence.threshold).astype(np.int64)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    at = evidence.truth.astype(np.int64), codes
    np.add.at(counts, at, 1)
    weighed = None
    if evidence.weights is not None:
        sums = np.zeros(counts.shape)
        np.add.at(sums, at, evidence.weights)
        weighed = tuple(tuple(float(v) for v in row) for row in sums)
    return Confusion(
        classes, tuple(tuple(int(v) for v in row) for row in counts), threshold, chosen_by, crossed, weighed
    )
