"""What a careful reader should know, computed from the figures, worst first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

from modelyard.data.finding import Finding
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.report import (
    Baseline,
    Bounded,
    CalibrationBin,
    CalibrationError,
    Estimate,
    Slice,
    TargetResult,
)
from modelyard.evaluation.slices import FEW
from modelyard.evaluation.wording import decimals, interval, number, title
from modelyard.metrics.metric import Metric

_GAP = 0.05  # a difference worth telling: of a share, or of the estimate itself where there is no upper bound
_HALF = 0.1  # an interval this wide, likewise, says little
_FEW_GROUPS, _FEW_POSITIVES = 30, 50


def worries(
    metric: Metric,
    estimate: Estimate,
    evidence: Evidence,
    *,
    others: Sequence[Estimate],
    targets: Sequence[TargetResult],
    baselines: Sequence[Baseline],
    slices: Sequence[Slice],
    calibration: tuple[Sequence[CalibrationBin], CalibrationError | None],
    bounds: Bounded | None,
    development: float | None,
    below: Estimate | None,
    findings: Sequence[Finding],
    refits: bool,
) -> tuple[str, ...]:
    """Return worries, worst first.

    Parameters
    ----------
    metric, estimate, evidence
        The report's metric, its estimate, and what both stand on.
    others, targets, baselines, slices, calibration, bounds
        As in the report.
    development : float or None
        Out-of-fold value, when the rows are untouched ones.
    below : Estimate or None
        As in the report.
    findings : sequence of Finding
        What was seen in the data.
    refits : bool
        Whether what is shipped is fitted again on all rows.
    """
    scale = 1.0 if math.isfinite(metric.low) and math.isfinite(metric.high) else abs(estimate.value)
    found = [
        *_baseline(baselines),
        *_targets(targets),
        *_useless((estimate, *others)),
        *_slices(metric, estimate, slices, scale),
        *_calibration(*calibration),
        *_below(metric, below),
        *_bounds(bounds),
        *_development(metric, estimate, development),
        *_evidence(estimate, evidence, scale, development is None, bounds is not None and bounds.forward, refits),
        *((3.0, f"{f.what} {f.means}") for f in findings if f.kind == "drift" and f.severity != "note"),
    ]
    return tuple(text for _, text in sorted(found, key=lambda pair: pair[0]))


_Worry = tuple[float, str]


def _baseline(baselines: Sequence[Baseline]) -> Iterator[_Worry]:
    if baselines and not baselines[0].gain_low > 0:
        best = baselines[0]
        yield 0.0, f"The model is not certainly better than {best.title}, which reaches {interval(best.estimate)}."


def _targets(targets: Sequence[TargetResult]) -> Iterator[_Worry]:
    for t in targets:
        if t.met == "inconclusive" and t.estimate.n > 0:
            yield 0.5, f"The rows do not decide {t.target}: it lies in {interval(t.estimate)}. More test rows would."


def _useless(estimates: Sequence[Estimate]) -> Iterator[_Worry]:
    for e in estimates:
        if e.metric == "r2" and e.high < 0:
            yield 0.2, f"R² is {interval(e)}: predictions are worse than the mean of these very rows would be."


def _below(metric: Metric, below: Estimate | None) -> Iterator[_Worry]:
    if below is not None and not below.low <= metric.at <= below.high and math.isfinite(below.low):
        yield (
            0.8,
            f"Of the rows, {interval(below)} lie at or below the prediction; a share of {metric.at:g} was asked for.",
        )


def _slices(metric: Metric, estimate: Estimate, slices: Sequence[Slice], scale: float) -> Iterator[_Worry]:
    """Tell the worst slice of each column, where it is worse by more than chance over all the slices looked at."""
    judged = [s for s in slices if s.note != FEW and math.isfinite(s.estimate.low)]
    worst: dict[str, tuple[float, Slice]] = {}
    for s in judged:
        gap = metric.loss(s.estimate.value) - metric.loss(estimate.value)
        error = math.hypot(s.estimate.high - s.estimate.low, estimate.high - estimate.low) / (2 * 1.96)
        p = 1 - NormalDist().cdf(gap / error) if error > 0 else float(gap <= 0)
        if gap >= _GAP * scale and p * len(judged) < 0.05 and gap > worst.get(s.column, (0.0, s))[0]:
            worst[s.column] = gap, s
    name = title(metric.name)
    for gap, s in worst.values():
        kind = "sensitive column, " if s.sensitive else ""
        yield (
            (1.0 if s.sensitive else 1.2) - 0.1 * min(1.0, gap / scale),
            f"{name[:1].upper()}{name[1:]} is {interval(s.estimate)} where {s.column} is {s.level} "
            f"({kind}n = {s.estimate.n:,}), against {interval(estimate)} overall.",
        )
    few = [s for s in slices if s.note == FEW and s.sensitive]
    for column in dict.fromkeys(s.column for s in few):
        count = sum(s.column == column for s in few)
        yield 4.0, f"Fairness by {column}: insufficient data for {count} group{'s' if count > 1 else ''}."


def _calibration(bins: Sequence[CalibrationBin], error: CalibrationError | None) -> Iterator[_Worry]:
    if error is None or error.p_value >= 0.05 or error.value < 0.01:
        return
    off = [b for b in bins if not b.low <= b.predicted <= b.high] or list(bins)
    worst = max(off, key=lambda b: b.n * (b.predicted - b.observed) ** 2)
    way = "low" if worst.observed > worst.predicted else "high"
    yield (
        2.0,
        f"Predictions near {number(worst.predicted, 2)} are too {way}: {number(worst.observed, 2)} "
        f"[{number(worst.low, 2)}, {number(worst.high, 2)}] came true, n = {worst.n:,} "
        f"(calibration error {number(error.value)}, chance alone gives up to {number(error.null)}).",
    )


def _bounds(bounds: Bounded | None) -> Iterator[_Worry]:
    """Tell the coverage that is furthest from its promise, where chance does not explain it."""
    if bounds is None:
        return
    # Sets hold more than they promise wherever the answer alone does, as it did out of fold, and few units err to the
    # safe side by one of them: neither is a fault.
    spare = max(0.01, 1 / bounds.units)
    off = [c for c in bounds.levels if c.high < c.level / 100 or c.low > c.expected + spare]
    if off:
        worst = max(off, key=lambda c: abs(c.share - c.level / 100))
        less = worst.share < worst.level / 100
        why = " Rows that come later are not like those the bounds were made from." if bounds.forward else ""
        yield (
            1.4 if less else 2.7,
            f"{'Intervals' if bounds.kind == 'interval' else 'Sets'} of {worst.level} % hold "
            f"{'less' if less else 'more'} than they promise: {100 * worst.share:.1f} % "
            f"[{100 * worst.low:.1f}, {100 * worst.high:.1f}], n = {worst.n:,}.{why}",
        )


def _development(metric: Metric, estimate: Estimate, development: float | None) -> Iterator[_Worry]:
    if development is None or math.isnan(development) or math.isnan(estimate.low):
        return
    optimistic = estimate.high if metric.greater_is_better else estimate.low
    if metric.better(development, optimistic):
        reached = number(development, decimals(estimate.high - estimate.low))
        yield (
            1.5,
            f"Out-of-fold the model reached {reached}, better than the untouched rows show, {interval(estimate)}: "
            "they differ from the development rows, or the search has fitted those too closely.",
        )


def _evidence(
    estimate: Estimate, evidence: Evidence, scale: float, on_development: bool, forward: bool, refits: bool
) -> Iterator[_Worry]:
    width = estimate.high - estimate.low
    if width > 2 * _HALF * scale:
        yield 2.5, f"The interval is wide, {interval(estimate)} on {estimate.n:,} {_unit(estimate, evidence)}."
    if len(evidence.rows.schema.classes) == 2:
        rare = int(min(np.bincount(evidence.truth.astype(np.int64), minlength=2)))
        if rare < _FEW_POSITIVES:
            yield 2.4, f"Only {rare:,} rows of the rarer class stand behind every figure here."
    if evidence.groups is not None and (units := len(np.unique(evidence.groups))) < _FEW_GROUPS:
        yield 2.6, f"Only {units} groups stand behind the interval; with so few it is likely too narrow."
    if on_development and forward:
        yield (
            3.5,
            "No rows were kept untouched, and all that were scored lie before those to come: forward in time errors of "
            "later rows are often larger than any estimate said.",
        )
    elif on_development:
        yield (
            3.5,
            "No rows were kept untouched: the blend was chosen on these same rows, which flatters it a little.",
        )
    if refits:
        yield 5.0, "What is shipped is fitted again on all rows; the estimate is of the recipe, not of that fit."


def _unit(estimate: Estimate, evidence: Evidence) -> str:
    if estimate.unit == "groups" and evidence.groups is not None:
        return f"rows of {len(np.unique(evidence.groups)):,} groups"
    return "rows"
