"""The report of an A/B test: what was registered, whether it can be trusted, and what came of it."""

from __future__ import annotations

from typing import Literal

from modelyard.core.markup import Block, Document, Facts, Heading, Note, Table, Text, literal
from modelyard.serving.rollout.ab import Difference, Outcome
from modelyard.serving.rollout.rollout import TWO_WEEKS, Rollout

_KINDS: dict[str, Literal["good", "warn", "bad", "info"]] = {
    "yes": "good", "no": "bad", "undecided": "warn", "not over": "info", "invalid": "bad",
}  # fmt: skip


def ab_document(rollout: Rollout, found: Outcome) -> Document:
    """Return the report of an A/B test."""
    plan = rollout.plan
    shown = found.adjusted or found.plain
    answer: list[Block] = [
        Note(_KINDS[found.verdict], f"**{found.verdict.capitalize()}**: {found.why}."),
        Facts(
            (
                ("Outcome", f"{literal(plan.metric)} ({plan.goal} is better)"),
                ("Difference b - a", _shown(shown)),
                ("Keys", f"{found.keys[0]:,} in a, {found.keys[1]:,} in b"),
                ("Ran for", f"{found.days:.1f} days of {plan.horizon / 86_400:.1f}"),
            )
        ),
    ]
    rows = [("means, as they are", _shown(found.plain))]
    if found.adjusted is not None:
        rows.append((f"after CUPED, which explains {found.explained:.0%} of the variance", _shown(found.adjusted)))
    blocks: list[Block] = [
        Heading("Can it be trusted?"),
        Table(
            ("check", "found", "asked for"),
            (
                ("sample ratio", f"{found.keys[1] / sum(found.keys):.4f} in b, p = {found.ratio_p:.3g}",
                 f"{found.expected:.4f}, p of .001 or more"),
                ("length", f"{found.days:.1f} days", f"{plan.horizon / 86_400:.1f} days, as registered"),
            ),
            align="lll",
        ),
        Text(
            "A key's arm follows from its hash and this rollout's number. Keys were assigned and not requests, so "
            "outcomes of one key are averaged and count once."
        ),
        Heading("The difference"),
        Text(f"Means: {found.means[0]:.6g} in a, {found.means[1]:.6g} in b."),
        Table(("difference b - a", "estimate and 95 % interval"), rows, align="lr"),
    ]  # fmt: skip
    if plan.horizon < TWO_WEEKS:
        why = f" The reason that was given: {literal(plan.reason)}." if plan.reason else ""
        blocks.append(
            Note("warn", f"It was registered for less than two weeks: weekdays and novelty may weigh on it.{why}")
        )
    blocks += [
        Heading("Registered before the first request"),
        Facts(
            (
                ("Outcome", literal(plan.metric)),
                ("Better", plan.goal),
                ("Least difference worth having", f"{plan.effect:g}"),
                ("Share of b", f"{plan.steps[0]:.0%}"),
                ("End", f"{plan.horizon / 86_400:.1f} days after the start"),
                ("a", f"`{rollout.stable.hash[:12]}`"),
                ("b", f"`{rollout.candidate.hash[:12]}`"),
            )
        ),
    ]
    command = f"modelyard rollout report {rollout.name} OUTCOMES"
    return Document(f"A/B test {rollout.id} of {rollout.name}", answer, blocks, commands=(command,))


def _shown(difference: Difference) -> str:
    return f"{difference.value:.4g} ({difference.low:.4g} to {difference.high:.4g})"
