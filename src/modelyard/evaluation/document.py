"""Deliverable 3: the evaluation document."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelyard.core.charts import Series, bars, heatmap, lines
from modelyard.core.markup import (
    Block,
    Details,
    Document,
    Facts,
    Figure,
    Heading,
    Listing,
    Note,
    Table,
    Text,
    literal,
)
from modelyard.data.finding import Finding
from modelyard.evaluation import wording as say
from modelyard.evaluation.bounds_blocks import bounds_blocks
from modelyard.evaluation.forecast_blocks import forecast_blocks
from modelyard.evaluation.importance import REPEATS
from modelyard.evaluation.report import Confusion, Report, Slice
from modelyard.evaluation.values_blocks import predicted_blocks
from modelyard.metrics.find import metric as find_metric
from modelyard.selection.plan import Plan

_KINDS = {"yes": "good", "no": "bad", "inconclusive": "warn"}
_MOST_CLASSES = 15


def evaluation_document(report: Report, findings: Sequence[Finding], plan: Plan) -> Document:
    """Return what the model is worth: the verdict first, then the evidence, then how it was made.

    Parameters
    ----------
    report : Report
        The figures.
    findings : sequence of Finding
        What was seen in the data.
    plan : Plan
        What was asked.
    """
    blocks = [
        *_targets(report),
        *_baselines(report),
        *_others(report),
        *_calibration(report),
        *predicted_blocks(report),
        *bounds_blocks(report),
        *forecast_blocks(report),
        *_confusion(report),
        *_slices(report),
        *_importance(report),
        *_findings(findings),
        *_method(report, plan),
    ]
    return Document(f"Evaluation of {literal(plan.brief.use_case)}", _answer(report, plan), blocks)


def _answer(report: Report, plan: Plan) -> list[Block]:
    kind = {"yes": "good", "no": "bad"}.get(report.target_met, "warn")
    found: list[Block] = [Note(kind, say.verdict(report))]  # type: ignore[arg-type]
    gains = [f"{say.gain(b)} over {literal(b.title)} ({_gap(say.p(b))})" for b in report.baselines[:2]]
    if gains and report.targets:
        found.append(Text(f"{say.title(report.metric)}: {', '.join(gains)}."))
    if report.worries:
        found += [Heading("Worries", 3), Listing([literal(w) for w in report.worries])]
    else:
        found.append(Text("The figures gave no cause for worry."))
    found.append(
        Facts(
            [
                ("Run", f"`{report.run}`"),
                ("Predicts", f"`{plan.schema.label.name}`, {report.task}" if plan.schema.label else report.task),
                ("Judged on", say.rows(report)),
                ("Data", f"{plan.rows:,} rows in all, fingerprint `{plan.fingerprint[:12]}`"),
            ]
        )
    )
    return found


def _targets(report: Report) -> list[Block]:
    if not report.targets:
        return []
    rows = [[say.target(t), say.interval(t.estimate), say.ANSWERS[t.met]] for t in report.targets]
    rule = (
        "Met when the whole interval reaches the target, missed when none of it does; otherwise the rows do not decide."
    )
    return [Heading("Targets"), Table(["Target", "Reached", "Met"], rows, "lrl", rule)]


def _baselines(report: Report) -> list[Block]:
    if not report.baselines:
        return []
    name = say.title(report.metric)
    rows = [["the model", say.interval(report.estimate), "", ""]]
    rows += [
        [literal(b.title), say.interval(b.estimate), say.gain(b), say.p(b).removeprefix("p ").removeprefix("= ")]
        for b in report.baselines
    ]
    estimates = [report.estimate, *(b.estimate for b in report.baselines)]
    picture = bars(
        ["the model", *(b.title.removeprefix("the ") for b in report.baselines)],
        [e.value for e in estimates],
        low=[e.low for e in estimates],
        high=[e.high for e in estimates],
        x=f"{name}, {_way(report.metric)}",
        zero=False,
    )
    best = report.baselines[0]
    said = "is" if report.beats_baseline else "is not certainly"
    return [
        Heading("Against simple predictors"),
        Text(
            f"The model {said} better than {literal(best.title)}: {say.gain(best)} on the same rows, "
            f"{_gap(say.p(best))}. A gain is positive where the model is better."
        ),
        Figure(picture, f"{name} of the model and of {_counted(len(rows) - 1, 'simple predictor')}, with intervals"),
        Table(["Predictor", name, "Gain of the model", "p"], rows, "lrrr", "Paired bootstrap on the same rows."),
    ]


def _others(report: Report) -> list[Block]:
    if not report.others:
        return []
    rows = [
        [say.title(e.metric), say.interval(e), _way(e.metric).split()[0]] for e in (report.estimate, *report.others)
    ]
    note = ""
    if report.confusion is not None and report.confusion.threshold is not None:
        note = f"Metrics of classes are at the threshold {say.judged_at(report.confusion)}."
    return [Heading("Other metrics"), Table(["Metric", "Value", "Better when"], rows, "lrl", note)]


def _calibration(report: Report) -> list[Block]:
    bins, error = report.calibration, report.calibration_error
    if not bins:
        return []
    what = "the positive class" if report.task == "binary" else "the likeliest class"
    points = Series(
        "",
        [b.predicted for b in bins],
        [b.observed for b in bins],
        [b.low for b in bins],
        [b.high for b in bins],
        "points",
    )
    picture = lines([points], x=f"mean predicted probability of {what}", y="share that came true", diagonal=True)
    found: list[Block] = [Heading("Calibration")]
    if error is not None:
        judged = "more than" if error.p_value < 0.05 else "no more than"
        found.append(
            Text(
                f"Debiased calibration error {say.number(error.value)}: {judged} chance shows for a perfectly "
                f"calibrated model on rows like these, which stays under {say.number(error.null)} in 95 % of samples "
                f"({_gap(say.probability(error.p_value))})."
            )
        )
    rows = [
        [say.number(b.predicted), f"{say.number(b.observed)} [{say.number(b.low)}, {say.number(b.high)}]", f"{b.n:,}"]
        for b in bins
    ]
    caption = (
        "About equal counts, 95 % Wilson intervals. On the dotted line predictions come true as often as they say."
    )
    table = Table(["Predicted", "Came true", "Rows"], rows, "rrr")
    return [*found, Figure(picture, "Calibration curve", caption), Details("The bins in figures", [table])]


def _confusion(report: Report) -> list[Block]:
    confusion = report.confusion
    if confusion is None:
        return []
    names, counts = confusion.classes, confusion.counts
    if confusion.threshold is None:
        chosen = "Each row is given its likeliest class."
    else:
        chosen = (
            f"A row is called **{literal(names[-1])}** from a probability of **{confusion.threshold:g}** on: "
            f"{literal(confusion.chosen_by)}."
        )
        if confusion.crossed is not None:
            chosen += f" Here rows are judged at {say.judged_at(confusion)}."
    found: list[Block] = [Heading("Confusion matrix"), Text(chosen)]
    if len(names) <= _MOST_CLASSES:
        picture = heatmap(names, names, counts, x="predicted", y="true", by="row")
        found.append(
            Figure(
                picture,
                "Confusion matrix: rows by true and predicted class",
                "Darker: a larger share of the true class.",
            )
        )
    rows, sums = [], confusion.weighed or counts
    for i, name in enumerate(names):
        true, called = sum(counts[i]), sum(row[i] for row in counts)
        shares = _share(sums[i][i], sum(sums[i])), _share(sums[i][i], sum(row[i] for row in sums))
        rows.append([literal(name), f"{true:,}", f"{called:,}", *shares])
    note = "" if confusion.weighed is None else "Recall and precision are weighted; the matrix and counts are of rows."
    return [*found, Table(["Class", "True", "Predicted", "Recall", "Precision"], rows, "lrrrr", note)]


def _slices(report: Report) -> list[Block]:
    found: list[Block] = []
    for sensitive, title, lead in (
        (True, "Fairness: sensitive columns", "Each group has its count; where rows are too few, no figure is given."),
        (False, "Slices", "By level and by quantile of the features that matter most."),
    ):
        some = [s for s in report.slices if s.sensitive is sensitive]
        if not some:
            continue
        found += [Heading(title), Text(lead)]
        for column in dict.fromkeys(s.column for s in some):
            found += _column(report, column, [s for s in some if s.column == column])
    return found


def _column(report: Report, column: str, slices: list[Slice]) -> list[Block]:
    name = say.title(report.metric)
    known = [s for s in slices if math.isfinite(s.estimate.value)]
    most = say.decimals(report.estimate.high - report.estimate.low)
    rows = [
        [literal(s.level), s.note or say.interval(s.estimate, most), f"{s.estimate.n:,}", f"{100 * s.share:.1f} %"]
        for s in slices
    ]
    found: list[Block] = [Heading(literal(column), 3)]
    if len(known) > 1:
        picture = bars(
            [s.level for s in known],
            [s.estimate.value for s in known],
            low=[s.estimate.low for s in known],
            high=[s.estimate.high for s in known],
            x=f"{name}; dashed: all rows",
            reference=report.estimate.value,
            zero=False,
        )
        found.append(Figure(picture, f"{name} by {column}, with intervals"))
    return [*found, Table(["Level", name, "Rows", "Share"], rows, "lrrr")]


def _importance(report: Report) -> list[Block]:
    shown = report.importance
    if not shown:
        return []
    name = say.title(report.metric)
    picture = bars(
        [i.column for i in shown],
        [i.loss for i in shown],
        low=[i.low for i in shown],
        high=[i.high for i in shown],
        x=f"how much worse {name} gets",
    )
    return [
        Heading("What the model leans on"),
        Text(
            f"How much worse {name} gets when a column is shuffled among the rows, mean of {REPEATS} shuffles. Columns "
            "that say the same thing share their importance, so that each may look small."
        ),
        Figure(
            picture, f"Permutation importance of {len(shown)} columns", "Whiskers: 95 % interval over the shuffles."
        ),
    ]


def _findings(findings: Sequence[Finding]) -> list[Block]:
    if not findings:
        return [Heading("Findings in the data"), Text("None.")]
    rows = [[literal(f.what), literal(f.means), literal(f.do)] for f in findings]
    return [Heading("Findings in the data"), Table(["Seen", "Meaning", "To do"], rows, "lll")]


def _method(report: Report, plan: Plan) -> list[Block]:
    e = report.estimate
    held = (
        "The rows were set aside before any model was fitted and were used once, here."
        if report.on == "test"
        else "No rows were set aside: each row is judged by models that did not learn from it (out-of-fold)."
    )
    unit = "whole groups" if e.unit == "groups" else "rows"
    items = [
        held,
        f"Intervals hold the central {100 * e.level:.0f} % of {e.resamples:,} bootstrap resamples of {unit}; figures "
        "beside the judged ones may rest on fewer, never below 200.",
        "Gains over baselines are paired: both predictors see the same resamples. Baselines learn from development "
        "rows only.",
        f"Every random choice derives from the seed {plan.brief.seed}.",
    ]
    if report.weighted:
        name = next((f"`{c.name}`" for c in plan.schema.columns if c.role == "weight"), "their weight")
        items.append(f"Rows count by {name} in every figure and interval; numbers and shares of rows are plain counts.")
    if report.slices:
        items.append(
            "Slices: fewer than 30 rows, or 10 of either class, count as insufficient data. A slice is called worse "
            "only where chance is ruled out for as many slices as were looked at."
        )
    if report.confusion is not None and report.confusion.threshold is not None:
        items.append(_threshold(report, report.confusion))
    if report.importance and report.on == "out-of-fold":
        items.append("Importance shuffles rows the model has learnt from: read it as what the model uses.")
    return [Heading("How the estimate was made"), Listing(items)]


def _threshold(report: Report, confusion: Confusion) -> str:
    if report.on == "test":
        return "The threshold was chosen on out-of-fold answers, not on the rows that judge it."
    if confusion.crossed is not None:
        return (
            "The threshold that ships was chosen on all out-of-fold answers, which are also the rows here. Metrics of "
            f"classes are therefore taken at {say.judged_at(confusion)}."
        )
    return (
        "The threshold was chosen on these same out-of-fold answers, too few to keep the choice apart from the "
        "judgement: it flatters every metric of classes."
    )


def _way(metric: str) -> str:
    return "higher is better" if find_metric(metric.partition(" on ")[0]).greater_is_better else "lower is better"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def _gap(text: str) -> str:
    return text.replace(" ", "\u00a0")


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
