"""What the brief limits and demands of the model beside its target: how each is kept, and what packing saw of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.brief.brief import MODEL_SHARE, Brief
from modelyard.brief.presets import settled
from modelyard.core.errors import listed
from modelyard.core.markup import Block, Heading, Table, Text, literal
from modelyard.data.column import Column
from modelyard.data.limits import allowed_values, is_limited
from modelyard.selection.plan import Plan

_NAMED = 12
_LATER = "when it is packed"
_NOTE = (
    "Directions hold all else equal; a missing value stands outside the order. A sum of members that each keep to a "
    "direction keeps to it, and so does the calibration, whose slope is positive."
)


def preset_text(brief: Brief) -> str:
    """Return the preset, and what it settled."""
    return f"{brief.presets}: {', '.join(settled(brief)) or 'the brief settles everything itself'}"


def constraint_lines(plan: Plan) -> list[str]:
    """Return each limit and demand of the brief in a line; none where there is none."""
    brief = plan.brief
    lines = []
    if brief.latency is not None:
        lines.append(f"{brief.latency} an answer, of which the model may take {MODEL_SHARE:.0%}")
    if brief.size is not None:
        lines.append(f"{brief.size} the model's file")
    for direction, columns in _directions(plan).items():
        lines.append(
            f"answers {direction} with {listed(columns, _NAMED)}: every model is held to it, and packing checks"
        )
    if plan.brief.data.class_weights:
        lines.append(f"in every fit {_class_weights(plan)}; probabilities and scores keep to the data")
    for column in _limited(plan):
        alone = "" if column in plan.schema.features else " in training alone, as no model reads it"
        lines.append(f"{column.name} {allowed_values(column)}: other values are refused{alone}")
    if brief.data.keep:
        lines.append(f"given to every model: {listed(brief.data.keep, _NAMED)}")
    if brief.data.drop:
        lines.append(f"kept from every model: {listed(brief.data.drop, _NAMED)}")
    return lines


def constraint_blocks(plan: Plan, facts: Mapping[str, Any]) -> list[Block]:
    """Return a section on the brief's limits and demands; none where there is none.

    Parameters
    ----------
    plan : Plan
        What was asked.
    facts : mapping
        The packed model's: its bytes, its columns, and what moving columns over their range showed. Empty before
        packing.
    """
    brief = plan.brief
    rows = []
    if brief.latency is not None:
        how = f"trees are counted in microseconds; the model may take {MODEL_SHARE:.0%} of it"
        rows.append([literal(str(brief.latency)), how, "timed in the deployment document"])
    if brief.size is not None:
        how = "members are chosen by their reckoned bytes"
        rows.append([f"model's file {literal(str(brief.size))}", how, _size(brief, facts)])
    for column in plan.schema.features:
        if column.monotone is not None:
            checked = _direction(facts, column.name) if facts else _LATER
            rows.append([f"{column.monotone} with {_code(column.name)}", "no member may go the other way", checked])
    if plan.brief.data.class_weights:
        how = "every member is fitted so; blend, calibration and scores keep to the data"
        rows.append([literal(_class_weights(plan)), how, "among every member's parameters"])
    for column in _limited(plan):
        read = column in plan.schema.features
        sent = "refused in rows that are sent too" if read else "no model reads it, so rows sent may have others"
        allowed = f"{_code(column.name)} {literal(allowed_values(column))}"
        rows.append([allowed, f"other values stop training; {sent}", "every row of the table is within"])
    for names, demand, how, seen in (
        (brief.data.keep, "given to every model", "no finding leaves it out", True),
        (brief.data.drop, "kept from every model", "left out when the table is read", False),
    ):
        given = facts.get("columns", ())
        for held in (True, False):  # a column that is not as asked stands in a row of its own kind
            told = [_code(name) for name in names if (name in given) is held] if facts else list(map(_code, names))
            said = "an input of the packed model" if held else "no input of the packed model"
            said = f"{said}{'' if held is seen else ': **not kept**'}" if facts else _LATER
            if told and (facts or held):
                rows.append([f"{', '.join(told)} {demand}", how, said])
    if not rows:
        return []
    note = _NOTE if _directions(plan) else ""
    return [
        Heading("Limits and demands of the brief"),
        Table(["Asked", "How it is kept", "Seen"], rows, "lll"),
        *([Text(note)] if note else []),
    ]


def _class_weights(plan: Plan) -> str:
    asked = plan.brief.data.class_weights
    if isinstance(asked, str):
        return "all classes weigh the same"
    named = listed([f"{name} {weight:g}" for name, weight in asked.items()], _NAMED)
    rest = ", others 1" if set(plan.schema.classes) - set(asked) else ""
    return f"classes weigh: {named}{rest}"


def _directions(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column in plan.schema.features:
        if column.monotone is not None:
            found.setdefault(column.monotone, []).append(column.name)
    return found


def _limited(plan: Plan) -> list[Column]:
    return [column for column in plan.schema.columns if is_limited(column)]


def _direction(facts: Mapping[str, Any], name: str) -> str:
    seen = facts.get("directions", {}).get(name)
    if seen is None:
        return "not checked"
    thresholds = ", every threshold of its trees among them" if facts.get("trees") else ""
    return (
        f"{seen['rows']:,} rows moved over {seen['points']:,} values in the packed model{thresholds}: none goes the "
        f"other way (largest step {seen['largest']:g}, rounding allows {seen['limit']:g}); the answer of "
        f"{seen['changed']:,} changes at all"
    )


def _size(brief: Brief, facts: Mapping[str, Any]) -> str:
    if brief.size is None or "bytes" not in facts:
        return _LATER
    kept = "" if facts["bytes"] < brief.size.bytes else ": **over the limit**"
    return f"{facts['bytes'] / 1e6:.3g} MB{kept}"


def _code(name: str) -> str:
    return f"`{name.replace('`', '')}`"
