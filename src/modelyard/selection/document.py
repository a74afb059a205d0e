"""Deliverable 1: the architecture document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelyard.core.markup import (
    Block,
    Diagram,
    Document,
    Facts,
    Heading,
    Listing,
    Note,
    Table,
    Text,
    literal,
)
from modelyard.families.fitted import Candidate, Fitted
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.objective import objective
from modelyard.selection.constraints import constraint_blocks, preset_text
from modelyard.selection.frontier import frontier_blocks
from modelyard.selection.plan import Plan
from modelyard.selection.prices import VARIABLE
from modelyard.selection.show import cost_line, duration, memory, price_text, question, sentence, why

if TYPE_CHECKING:
    from modelyard.evaluation.report import Report
    from modelyard.training.run import Run

_LINKS = {
    "binary": "logistic function: probability",
    "multiclass": "softmax: probabilities",
    "regression": "value",
    "forecast": "forecast",
}
_SEVERAL = {
    "number": "numbers",
    "category": "categories",
    "boolean": "booleans",
    "date": "dates",
    "text": "texts",
    "id": "ids",
}


def architecture_document(
    plan: Plan,
    run: Run | None = None,
    report: Report | None = None,
    facts: Mapping[str, Any] | None = None,
    split: str | None = None,
    measured: float | None = None,
) -> Document:
    """Return which algorithm was chosen and why, how it is put together, and what it costs.

    Parameters
    ----------
    plan : Plan
        What was to be tried.
    run : Run, optional
        What came of it; without one the document speaks of the plan alone.
    report : Report, optional
        What it is worth.
    facts : mapping, optional
        The packed model's facts: trees and nodes.
    split : str, optional
        How the rows were divided and why (see `modelyard.data.dataset.Split`).
    measured : float, optional
        Microseconds one row took in the median through the packed model.
    """
    plan = plan if run is None else run.plan
    blocks: list[Block] = [
        Heading("How it is put together"),
        _diagram(plan, run),
        *frontier_blocks(run, measured),
        *_candidates(plan, run),
        *_left_out(plan),
        *constraint_blocks(plan, facts or {}),
        *_validation(plan, run, split),
        *(() if run is None else _hyperparameters(run)),
        *_cost(plan, run, facts or {}),
        *_doubts(plan),
    ]
    return Document(f"Architecture of {literal(plan.brief.use_case)}", _answer(plan, run, report), blocks)


def shares(run: Run) -> dict[str, float]:
    """Return the share of the blend each algorithm has, by title, largest first."""
    found: dict[str, float] = {}
    for fitted, weight in run.blend.members:
        found[fitted.candidate.title] = found.get(fitted.candidate.title, 0.0) + weight
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def parameter_text(value: object) -> str:
    """Return a hyperparameter as people write it: five figures are enough to read."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _answer(plan: Plan, run: Run | None, report: Report | None) -> list[Block]:
    asked = Text(literal(question(plan)))
    if run is None:
        first = plan.candidates[0]
        others = ", ".join(c.title for c in plan.candidates[1:])
        after = f" Then {others}, and a weighted sum of the best." if others else ""
        return [
            asked,
            Text(f"**First bet: {literal(first.title)}.** {literal(sentence(why(first)))}{literal(after)}"),
            Facts([("Cost", cost_line(plan)), ("Doubts", _count(plan))]),
        ]
    title = find_metric(plan.metric).title
    parts = [f"{literal(name)} {share:.0%}" for name, share in shares(run).items()]
    alone = next(e for e in run.leaderboard if e.weight > 0)
    blocks: list[Block] = [asked]
    if len(run.blend.members) == 1:
        scored = sum(math.isfinite(e.score) for e in run.leaderboard)
        found = "No blend of the candidates does better" if scored > 1 else "Nothing else was fitted"
        text = f"**The model is {parts[0].rsplit(' ', 1)[0]}.** {found}; out-of-fold {title} {run.score:.4g}."
        blocks.append(Text(text))
    else:
        text = f"**The model is a weighted sum of {len(run.blend.members)} fits: {', '.join(parts)}.**"
        best = f"the best of them alone reaches {alone.score:.4g}"
        blocks.append(Text(f"{text} Out-of-fold {title} {run.score:.4g}; {best}."))
    blocks.append(Listing(_reasons(run)))
    if report is not None:
        e = report.estimate
        where = "untouched rows" if report.on == "test" else "rows, out-of-fold"
        worth = f"{title} {e.value:.4g} [{e.low:.4g}, {e.high:.4g}] on {report.rows:,} {where}"
        kind = {"yes": "good", "no": "bad"}.get(report.target_met, "warn")
        asked_of = "Target met" if report.targets else "Better than the best baseline"
        met = {"yes": "yes", "no": "no", "inconclusive": "not decided"}[report.target_met]
        blocks.append(Note(kind, f"{asked_of}: {met}. {worth}."))  # type: ignore[arg-type]
    return blocks


def _reasons(run: Run) -> list[str]:
    """Return why each algorithm with a share was tried, and the members that were made of it."""
    tried = {c.title: c.reason for c in reversed(run.plan.candidates)}
    lines = []
    for title in shares(run):
        members = [fitted for fitted, _ in run.blend.members if fitted.candidate.title == title]
        reason = tried.get(title, members[0].candidate.reason)
        made = ", ".join(f"`{m.candidate.name}`{_grown(m)}" for m in members)
        lines.append(f"**Why {literal(title)}:** {literal(sentence(reason))} In the model: {made}.")
    return lines


def _grown(member: Fitted) -> str:
    if len(member.whole) > 1:
        return f" ({len(member.whole)} models of {member.whole[0]} rounds each)"
    rounds = member.whole or member.rounds
    return f" of {_counts(rounds)} rounds" if rounds else ""


def _counts(rounds: Sequence[int]) -> str:
    """Return how many rounds the fits of a member have."""
    if not rounds:
        return "–"
    return f"{min(rounds)} to {max(rounds)}" if len(set(rounds)) > 1 else str(rounds[0])


def _diagram(plan: Plan, run: Run | None) -> Diagram:
    kinds: dict[str, int] = {}
    for column in plan.schema.features:
        kinds[column.kind] = kinds.get(column.kind, 0) + 1
    columns = ", ".join(f"{n} {kind if n == 1 else _SEVERAL[kind]}" for kind, n in kinds.items())
    nodes = [("data", f"{plan.rows:,} rows\n{columns}")]
    edges: list[tuple[str, str, str]] = []
    before = "data"
    if plan.schema.task != "forecast":
        nodes.append(("encoding", "Encoding\nnumbers and categories"))
        edges.append(("data", "encoding", ""))
        before = "encoding"
    if run is None:
        members = [(c.title, c.name, "") for c in plan.candidates]
    else:
        members = [(f.candidate.title, f.candidate.name, f"{w:.0%}") for f, w in run.blend.members]
    for number, (title, name, share) in enumerate(members):
        key = f"m{number}"
        nodes.append((key, title if len({m[0] for m in members}) == len(members) else f"{title}\n{name}"))
        edges += [(before, key, ""), (key, "blend", share)]
    nodes.append(("blend", "Weighted sum\nof raw scores"))
    last = "blend"
    calibrated = run is None or run.blend.scale != 1.0 or any(run.blend.offset)
    aim = objective(find_metric(plan.metric)) if plan.schema.task == "regression" else None
    exponential = (aim is not None and aim.positive) if run is None else run.blend.link == "log"
    shifted = exponential or (aim is not None and aim.name == "pinball")
    if calibrated and (shifted or plan.schema.classes):
        slope, shift = (
            ("", "") if run is None else (f"\nslope {run.blend.scale:.3g}", f"\nshift {run.blend.offset[0]:.3g}")
        )
        nodes.append(("calibration", f"Calibration{shift if shifted else slope}"))
        edges.append((last, "calibration", ""))
        last = "calibration"
    nodes.append(("answer", "exponential\nvalue" if exponential else _LINKS[plan.schema.task].replace(": ", "\n")))
    edges.append((last, "answer", ""))
    what = "Shares are the members' weights." if run is not None else "Weights are found by training."
    return Diagram(nodes, edges, f"From a row to an answer. {what}")


def _candidates(plan: Plan, run: Run | None) -> list[Block]:
    real = {} if run is None else {e.name: e for e in run.leaderboard}
    columns = ["#", "Candidate", "Why it is tried", "Planned"]
    columns += ["Took", "Out-of-fold", "Share"] if run is not None else []
    rows = []
    for number, candidate in enumerate(plan.candidates, start=1):
        row = [str(number), _named(candidate), literal(why(candidate)), duration(candidate.cost.seconds)]
        entry = real.get(candidate.name)
        if run is not None and entry is not None:
            score = f"{entry.score:.4g}" if math.isfinite(entry.score) else "–"
            row += [duration(entry.seconds), score, f"{entry.weight:.0%}"]
        elif run is not None:
            row += ["–", "–", "–"]
        rows.append(row)
    trials = 0 if run is None else sum(bool(e.base) for e in run.leaderboard)
    searched = f" The search then made {trials} trials around the best; they are in the training document."
    return [
        Heading("Candidates"),
        Text("In the order they are fitted; the probe's word on time decides which fit into the budget."),
        Table(columns, rows, "rllrrrr"[: len(columns)]),
        *([Text(searched.strip())] if trials else []),
    ]


def _named(candidate: Candidate) -> str:
    return f"{literal(candidate.title)} (`{candidate.name}`)"


def _left_out(plan: Plan) -> list[Block]:
    if not plan.left_out:
        return []
    return [
        Heading("Left out, and why"),
        Listing([f"**{literal(one.title)}**: {literal(one.reason)}" for one in plan.left_out]),
    ]


def _validation(plan: Plan, run: Run | None, split: str | None) -> list[Block]:
    asked = plan.brief.validation
    chosen = asked.strategy if asked.strategy != "auto" else "chosen from the table"
    rows = [("Strategy", chosen if split is None else literal(split))]
    if asked.folds is not None:
        rows.append(("Folds", str(asked.folds)))
    if run is not None:
        kept = plan.rows - len(run.development)
        rows.append(("Untouched", f"{kept:,} of {plan.rows:,} rows ({kept / max(plan.rows, 1):.0%})"))
    elif asked.test_fraction is not None:
        rows.append(("Untouched", f"{asked.test_fraction:.0%} of the rows"))
    rows.append(("Seed", str(plan.brief.seed)))
    return [Heading("Validation"), Facts(rows)]


def _hyperparameters(run: Run) -> list[Block]:
    fits = [(fitted.candidate, fitted.whole or fitted.rounds, weight) for fitted, weight in run.blend.members]
    names = list(dict.fromkeys(name for candidate, _, _ in fits for name in candidate.parameters))
    rows = []
    for candidate, rounds, weight in fits:
        values = [literal(parameter_text(candidate.parameters.get(name, "–"))) for name in names]
        rows.append([f"`{candidate.name}`", f"{weight:.1%}", _counts(rounds), *values])
    return [
        Heading("Hyperparameters of the members"),
        Table(["Member", "Share", "Rounds", *names], rows),
    ]


def _cost(plan: Plan, run: Run | None, facts: Mapping[str, Any]) -> list[Block]:
    rows = [("Time here", f"planned {duration(plan.cost.seconds)} of fitting on {plan.cores} cores")]
    if run is not None:
        rows[0] = (rows[0][0], f"{rows[0][1]}, took {duration(run.seconds)} with starting and saving")
    budget = duration(plan.brief.budget.seconds)
    if plan.after:
        around = f"about {duration(plan.before)} before the fits and {duration(plan.after)} after them"
        budget += f" for the whole run: {around}, {duration(plan.fitting)} or so for fits"
    rows.append(("Budget", budget))
    rows.append(("Preset", preset_text(plan.brief)))
    rows.append(("Peak memory", f"planned {memory(plan.cost)}"))
    if facts.get("trees"):
        nodes = f", {facts['nodes']:,} nodes" if facts.get("nodes") else ""
        held = f", {facts['bytes'] / 1e6:.3g} MB" if facts.get("bytes") else ""
        rows.append(("Size", f"{facts['trees']:,} trees{nodes}{held}"))
    blocks: list[Block] = [Heading("Size and cost"), Facts(rows)]
    if plan.prices:
        table = [
            [literal(p.machine), str(p.cores), f"${p.dollars_per_hour:.4f}", duration(p.seconds), price_text(p)]
            for p in plan.prices
        ]
        blocks.append(Table(["Machine", "Cores", "An hour", "Time", "This run"], table, "lrrrl"))
        why = "Time is that of this machine, longer where a machine has fewer cores; further cores are not counted on."
        blocks.append(Text(f"On-demand list prices, dated; set `{VARIABLE}` to a file of your own. {why}"))
    return blocks


def _doubts(plan: Plan) -> list[Block]:
    if not plan.doubts:
        return [Heading("Doubts"), Text("None: the target is one the table may support.")]
    rows = [[literal(d.what), literal(d.means), literal(d.do)] for d in plan.doubts]
    return [Heading("Doubts"), Table(["What", "What it means", "What to do"], rows)]


def _count(plan: Plan) -> str:
    return f"{len(plan.doubts)}, below" if plan.doubts else "none"
