"""The model card: what a bundle is for, what it was made from, what it is worth, where it is weak.

References
----------
Mitchell et al. (2019), "Model cards for model reporting", whose sections it follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.core.markdown import join
from modelyard.core.markup import Block, Facts, Heading, Listing, Table, Text, literal
from modelyard.data.finding import Finding
from modelyard.evaluation import wording as say
from modelyard.evaluation.report import Report
from modelyard.evaluation.slices import FEW
from modelyard.selection.plan import Plan

_MOST_SLICES = 40


def model_card(report: Report, plan: Plan, findings: Sequence[Finding]) -> str:
    """Return the card as Markdown; two runs of one recipe give the same text.

    Parameters
    ----------
    report : Report
        What the model is worth.
    plan : Plan
        What was asked, and of which data.
    findings : sequence of Finding
        What was seen in the data.
    """
    blocks: list[Block] = [
        Text(say.verdict(report)),
        Heading("Model details"),
        Facts(_details(report, plan)),
        Heading("Intended use"),
        *_use(plan),
        Heading("Data"),
        *_data(report, plan, findings),
        Heading("Metrics"),
        *_metrics(report),
        Heading("Factors"),
        *_factors(report),
        Heading("Ethical considerations"),
        Listing(_ethics(report, plan)),
        Heading("Caveats"),
        Listing([literal(w) for w in report.worries] or ["The figures gave no cause for worry."]),
    ]
    return f"# Model card: {join([Text(literal(plan.brief.use_case))])}\n{join(blocks)}"


def _details(report: Report, plan: Plan) -> list[tuple[str, str]]:
    label = plan.schema.label.name if plan.schema.label else "-"
    classes = f" ({', '.join(map(literal, plan.schema.classes))})" if plan.schema.classes else ""
    facts = [
        ("Use case", literal(plan.brief.use_case)),
        ("Task", report.task),
        (
            "Predicts",
            f"`{label}`{classes}",
        ),
        ("Family", f"{plan.family}; considered: {', '.join(literal(c.title) for c in plan.candidates) or 'none'}"),
        ("Optimised for", say.title(plan.metric)),
    ]
    if report.confusion is not None and report.confusion.threshold is not None:
        facts.append(("Threshold", f"{report.confusion.threshold:g}, {literal(report.confusion.chosen_by)}"))
    return facts


def _use(plan: Plan) -> list[Block]:
    features = plan.schema.features
    label = plan.schema.label.name if plan.schema.label else "the label"
    items = [
        f"Made to predict `{label}` for rows like those it was trained on: the same {len(features)} columns, gathered "
        "the same way, known when the prediction is made.",
        "Out of scope: other populations or periods than the data cover, and rows whose columns mean something else.",
    ]
    directed = [f"{c.monotone} with `{c.name}`" for c in plan.schema.features if c.monotone is not None]
    if directed:
        items.append(f"Its answers are {', '.join(directed)}, all else equal: a bundle that is not so is never packed.")
    if plan.brief.rule is not None:
        items.append(f"Where it cannot answer, the present rule stands: `{plan.brief.rule.replace('`', '')}`.")
    return [Listing(items)]


def _data(report: Report, plan: Plan, findings: Sequence[Finding]) -> list[Block]:
    sensitive = [c.name for c in plan.schema.columns if c.sensitive]
    missing = sum(c.missing for c in plan.schema.features) / max(1, len(plan.schema.features))
    facts = [
        ("Rows", f"{plan.rows:,}, of which the estimate stands on {say.rows(report)}"),
        ("Features", f"{len(plan.schema.features)}, on average {100 * missing:.1f} % missing"),
        ("Sensitive columns", ", ".join(f"`{c}`" for c in sensitive) or "none named"),
        ("Fingerprint", f"`{plan.fingerprint}`"),
    ]
    found: list[Block] = [Facts(facts)]
    if told := [f for f in findings if f.severity != "note"]:
        found.append(Listing([f"{literal(f.what)} {literal(f.means)}" for f in told]))
    return found


def _metrics(report: Report) -> list[Block]:
    rows = [[say.title(e.metric), say.interval(e), f"{e.n:,}"] for e in (report.estimate, *report.others)]
    found: list[Block] = [Table(["Metric", "Value with 95 % interval", "Rows"], rows, "lrr")]
    if report.targets:
        asked = [[say.target(t), say.interval(t.estimate), say.ANSWERS[t.met]] for t in report.targets]
        found.append(Table(["Target", "Reached", "Met"], asked, "lrl"))
    if report.baselines:
        gains = [[literal(b.title), say.interval(b.estimate), say.gain(b)] for b in report.baselines]
        found.append(Table(["Baseline", say.title(report.metric), "Gain of the model"], gains, "lrr"))
    if report.weighted:
        found.append(Text("Rows count by their weight in every figure; the numbers of rows are plain counts."))
    if report.bias is not None:
        found.append(Text(f"Mean of predicted less actual: {say.interval(report.bias)}."))
    if report.below is not None:
        found.append(Text(say.below(report, report.below)))
    if (error := report.calibration_error) is not None:
        found.append(
            Text(
                f"Debiased calibration error {say.number(error.value)}; a perfectly calibrated model stays under "
                f"{say.number(error.null)} in 95 % of such samples."
            )
        )
    return found


def _factors(report: Report) -> list[Block]:
    if not report.slices:
        return [Text("No slices were made.")]
    shown = sorted(report.slices, key=lambda s: not s.sensitive)[:_MOST_SLICES]
    rows = [
        [literal(s.column), literal(s.level), s.note or say.interval(s.estimate), f"{s.estimate.n:,}"] for s in shown
    ]
    return [Table(["Column", "Level", say.title(report.metric), "Rows"], rows, "llrr")]


def _ethics(report: Report, plan: Plan) -> list[str]:
    sensitive = [c for c in plan.schema.columns if c.sensitive]
    items = []
    for column in sensitive:
        slices = [s for s in report.slices if s.column == column.name]
        few = sum(s.note == FEW for s in slices)
        known = [s for s in slices if s.note != FEW]
        used = "is a feature of the model" if column.role == "feature" else "is not a feature of the model"
        text = f"`{column.name}` {used}."
        if len(known) == 1:
            only = known[0]
            text += (
                f" {say.title(report.metric)} is {say.interval(only.estimate)} for {literal(only.level)} "
                f"(n = {only.estimate.n:,}), the only group with enough data."
            )
        elif known:
            by = sorted(known, key=lambda s: s.estimate.value)
            text += (
                f" {say.title(report.metric)} runs from {say.interval(by[0].estimate)} ({literal(by[0].level)}, "
                f"n = {by[0].estimate.n:,}) to {say.interval(by[-1].estimate)} ({literal(by[-1].level)}, "
                f"n = {by[-1].estimate.n:,})."
            )
        if few:
            text += f" For {few} group{'s' if few > 1 else ''} there is insufficient data."
        items.append(text)
    if not sensitive:
        items.append("The brief names no sensitive columns, so fairness was not looked at.")
    if report.slices:
        items.append("Slices show where errors fall, not why.")
    items.append("A column that is left out may still speak through others.")
    return items
