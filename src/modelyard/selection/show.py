"""What a terminal shows of a plan."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from modelyard.families.fitted import Candidate, Cost
from modelyard.selection.constraints import constraint_lines, preset_text
from modelyard.selection.plan import Plan, Price

_WIDTH = 11


def plan_lines(plan: Plan, split: str) -> list[str]:
    """Return a plan as a terminal shows it: question, limits, preset, split, candidates, cost, doubts.

    Parameters
    ----------
    plan : Plan
        What will be tried.
    split : str
        How the table was divided, and why (the split's reason).
    """
    titles = max(len(c.name) for c in plan.candidates) + 2
    tried = [f"{i} {c.name:<{titles}} {why(c)}" for i, c in enumerate(plan.candidates, start=1)]
    if plan.left_out:
        tried.append("left out: " + ", ".join(f"{one.title} ({one.reason})" for one in plan.left_out))
    doubts = [f"{doubt.what} {doubt.do}" for doubt in plan.doubts] or ["none"]
    limits = constraint_lines(plan)
    return [
        *_block("Question", [question(plan)]),
        *(_block("Limits", limits) if limits else ()),
        *_block("Preset", [preset_text(plan.brief)]),
        *_block("Split", [split]),
        *_block("Plan", tried, indent=titles + 3),
        *_block("Cost", [cost_line(plan)]),
        *_block("Doubts", doubts),
    ]


def question(plan: Plan) -> str:
    """Return what is asked, in one line."""
    brief, label = plan.brief, plan.schema.label
    asked = [
        f"{brief.use_case}: {label.name if label else 'label'} ({plan.schema.task}, "
        f"{plan.rows:,} rows x {len(plan.schema.features)} columns)"
    ]
    targets = ", ".join(str(target) for target in brief.target)
    asked.append(f"target {targets}" if targets else f"no target, {plan.metric} is optimised")
    if brief.latency is not None:
        asked.append(str(brief.latency))
    if brief.size is not None:
        asked.append(f"{brief.size} of file")
    if brief.infrastructure:
        asked.append(f"on {brief.infrastructure}")
    return ", ".join(asked)


def cost_line(plan: Plan) -> str:
    """Return what the run takes here and what it costs elsewhere, in one line."""
    cores = f"{plan.cores} core{'s' if plan.cores > 1 else ''}"
    said = "up to" if plan.cost.seconds >= plan.fitting else "about"  # the search takes what is left
    parts = [f"{said} {duration(plan.cost.seconds)} of fitting{_rest(plan)} on this machine ({cores})"]
    parts += [f"{price_text(price)} on {price.machine}" for price in plan.prices[:1]]
    return f"{', '.join(parts)}; peak memory {memory(plan.cost)}"


def _rest(plan: Plan) -> str:
    """Return what the run takes beside fits."""
    return f" and {duration(plan.before + plan.after)} of all else" if plan.after else ""


def price_text(price: Price) -> str:
    """Return a price as people write it, with the date of the list it comes from."""
    dollars = "under $0.01" if price.dollars < 0.01 else f"${price.dollars:.2f}"
    return f"{dollars} (list price of {price.dated})"


def duration(seconds: float) -> str:
    """Return a time as people write it, rounded: ``0.4 s``, ``45 s``, ``6 min``, ``1 h 20 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def memory(cost: Cost) -> str:
    """Return peak memory as people write it: ``80 MB``, ``1.1 GB``."""
    return f"{cost.megabytes:.0f} MB" if cost.megabytes < 1000 else f"{cost.megabytes / 1000:.1f} GB"


def why(candidate: Candidate) -> str:
    """Return why a candidate is tried, and what holds its size."""
    return "; ".join(said for said in (candidate.reason, candidate.size) if said)


def sentence(text: str) -> str:
    """Return a reason as a sentence: a capital letter first, a full stop last."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _block(name: str, items: Sequence[str], indent: int = 0) -> list[str]:
    lines: list[str] = []
    for item in items:
        room = textwrap.wrap(item, 118, initial_indent=" " * _WIDTH, subsequent_indent=" " * (_WIDTH + indent))
        lines += room or [""]
    lines[0] = f"{name:<{_WIDTH}}" + lines[0][_WIDTH:]
    return lines
