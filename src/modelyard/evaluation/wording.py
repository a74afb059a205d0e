"""How figures are written: as many decimals as the interval deserves, and never a figure without it."""

from __future__ import annotations

import math

from modelyard.evaluation.report import Answer, Baseline, Confusion, Estimate, Report, TargetResult
from modelyard.metrics.find import metric as find_metric

ANSWERS: dict[Answer, str] = {"yes": "Yes", "no": "No", "inconclusive": "Not decided"}


def title(name: str) -> str:
    """Return a metric's name as people write it; "recall on defects" keeps its class."""
    plain, on, label = name.partition(" on ")
    return find_metric(plain).title + on + label


def decimals(width: float) -> int:
    """Return the decimals that show two figures of an interval's width."""
    if not math.isfinite(width) or width <= 0:
        return 3
    return max(0, min(6, 1 - math.floor(math.log10(width))))


def number(value: float, digits: int = 3) -> str:
    """Return one value, an en dash when undefined."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def interval(estimate: Estimate, most: int = 6) -> str:
    """Return "0.826 [0.811, 0.840]", or the value alone where there is no interval; `most` limits the decimals."""
    low, high = estimate.low, estimate.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(estimate.value)
    d = min(most, decimals(high - low))
    return f"{number(estimate.value, d)} [{number(low, d)}, {number(high, d)}]"


def gain(baseline: Baseline) -> str:
    """Return "+0.147 [+0.120, +0.173]"."""
    d = decimals(baseline.gain_high - baseline.gain_low)
    if not math.isfinite(baseline.gain_low):
        return number(baseline.gain)
    return f"{baseline.gain:+,.{d}f} [{baseline.gain_low:+,.{d}f}, {baseline.gain_high:+,.{d}f}]"


def probability(value: float) -> str:
    """Return "p = 0.004", or "p < 0.001" below it."""
    return "p = –" if math.isnan(value) else "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def p(baseline: Baseline) -> str:
    """Return "p = 0.004", or "p <= 0.002" where no resample lay on the other side: more of them might go lower."""
    value, draws = baseline.p_value, baseline.estimate.resamples
    # One resample on the other side gives twice the least p; a few undefined ones move neither that far.
    least = draws > 0 and value < min(1.0, 4 / (draws + 1) * (1 - 1e-9))
    return f"p <= {value:.3f}" if least and value >= 0.001 else probability(value)


def below(report: Report, share: Estimate) -> str:
    """Return how many rows lie at or below a predicted quantile, and whether that is what was asked."""
    level = find_metric(report.metric).at
    fits = "and it agrees" if share.low <= level <= share.high else "too many" if share.value > level else "too few"
    return f"Share of the rows at or below the prediction: {interval(share)}; {level:g} was asked for, {fits}."


def rows(report: Report) -> str:
    """Return on what the estimate stands."""
    counted = f"{report.rows:,} untouched rows" if report.on == "test" else f"{report.rows:,} rows, out-of-fold"
    return f"{counted}, weighted" if report.weighted else counted


def judged_at(confusion: Confusion) -> str:
    """Return the threshold rows were judged at; for each half of them the one chosen on the other."""
    if confusion.crossed is None:
        return f"{confusion.threshold:g}"
    one, other = confusion.crossed
    return f"{one:g} for one half of them and {other:g} for the other, each chosen on the half it does not judge"


def target(result: TargetResult) -> str:
    """Return a target as the brief writes it, with the metric's usual name."""
    t = result.target
    return f"{title(t.metric)} {t.comparison} {t.value:g}" + (f" on {t.label}" if t.label else "")


def verdict(report: Report) -> str:
    """Return the answer in one sentence: the first target that decides it, or the gain over the best baseline."""
    answer = ANSWERS[report.target_met]
    if report.targets:
        deciding = next((t for t in report.targets if t.met == report.target_met), report.targets[0])
        asked = f"target\u00a0{deciding.target.comparison}\u00a0{deciding.target.value:g}"
        others = len(report.targets) - 1
        more = f"; {others} more target{'s' if others > 1 else ''} below" if others else ""
        shown = f"{title(deciding.estimate.metric)} {interval(deciding.estimate)} on {rows(report)}"
        return f"**{answer}**: {shown}, {asked}{more}."
    shown = f"{title(report.metric)} {interval(report.estimate)} on {rows(report)}"
    if not report.baselines:
        return f"**{answer}**: {shown}, no target and no baseline to compare with."
    best = report.baselines[0]
    said = {"yes": "better than", "no": "no better than", "inconclusive": "not certainly better than"}
    return f"**{answer}**: {shown}, {said[report.target_met]} {best.title} ({gain(best)})."
