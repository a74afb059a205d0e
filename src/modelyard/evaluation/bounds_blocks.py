"""The section of the evaluation document that says whether conformal intervals and sets hold."""

from __future__ import annotations

from modelyard.core.markup import Block, Details, Heading, Table, Text, literal
from modelyard.evaluation import wording as say
from modelyard.evaluation.report import Bounded, BoundedPart, Coverage, Report

_MOST_CLASSES = 15
_MORE = 0.01
_HEADS = {"past": "Rows"}


def bounds_blocks(report: Report) -> list[Block]:
    """Return how often the bounds of each coverage held, and on which rows; nothing for a forecast."""
    if report.task == "forecast":
        return []
    found = report.bounds
    heading = Heading("Intervals" if report.task == "regression" else "Sets of classes")
    if found is None:
        return [heading, Text("There are none to judge: too few out-of-fold rows support a bound.")]
    sets = found.kind == "set"
    head = ["Promised", "Held", *(["Out of fold", "Classes", "One class"] if sets else ["Mean width"]), "Rows"]
    table = Table(head, [_row(c, sets) for c in found.levels], "r" * len(head), _note(found))
    return [heading, Text(_lead(found)), table, *_certain(found), *_parts(found)]


def _row(c: Coverage, sets: bool) -> list[str]:
    cells = [f"{c.level} %", _held(c)]
    if sets:
        cells += [f"{100 * c.expected:.1f} %", say.number(c.width, 2), f"{100 * c.alone:.1f} %"]
    else:
        cells.append(say.number(c.width, say.decimals(c.width)))
    return [*cells, f"{c.n:,}"]


def _lead(found: Bounded) -> str:
    what = "intervals" if found.kind == "interval" else "sets"
    unit = f"{found.rows:,} out-of-fold rows"
    if found.grouped:
        unit += f" of {found.units:,} groups, each counted once"
    made = f"The {what} that ship are made from {unit}"
    made += ", the latest half of them." if found.forward else "."
    if not found.crossed:
        judged = "Here they are judged on the untouched rows."
    elif found.forward:
        judged = "No rows are untouched: here the latest third is judged by bounds made likewise from what came before."
    else:
        judged = "No rows are untouched: here each fifth of them is judged by bounds made likewise from the others."
    return f"{made} {judged} {_kept(found)}"


def _kept(found: Bounded) -> str:
    if found.forward:
        return (
            "Over time a promise is no guarantee: it would take rows to come that are like those the bounds were made "
            f"from.{_past(found)}"
        )
    unit = "a new group" if found.grouped else "a new row"
    return (
        f"The promise is for {unit} like these; it errs a little to the safe side, since the models of the folds, "
        "which learnt from fewer rows, are wrong by a little more than the mean of models of every row, which answers."
    )


def _past(found: Bounded) -> str:
    shares = [
        f"{100 * min(held):.0f} to {100 * max(held):.0f} % where they promise {c.level} %"
        for c in found.levels
        if (held := [p.share for p in found.parts if p.by == "past" and p.level == c.level])
    ]
    if not shares:
        return ""
    said = ", ".join(shares)
    return f" Of single fifths of the out-of-fold rows, bounds made likewise from what came before held {said}."


def _note(found: Bounded) -> str:
    note = "95 % intervals for chance in these rows and in those the bounds were made from."
    if found.kind == "interval":
        return f"{note} Width in units of the label."
    return (
        f"{note} Out of fold: what they held of the rows they were made from. A set holds the answer, and each further "
        "class from that class's own threshold on."
    )


def _certain(found: Bounded) -> list[Block]:
    more = [f"{c.level} %" for c in found.levels if c.expected > c.level / 100 + _MORE]
    if not more:
        return []
    return [
        Text(
            f"At {' and '.join(more)} sets hold more than promised, as they did out of fold: the promise is kept for "
            "each class, and in some class the answer, which is always in the set, is right more often than that."
        )
    ]


def _parts(found: Bounded) -> list[Block]:
    blocks: list[Block] = []
    for by, title in (("time", "By time"), ("past", "Out of fold, by what came before"), ("class", "By class")):
        levels = [c.level for c in found.levels]
        some = [p for p in found.parts if p.by == by and p.level in levels]
        names = list(dict.fromkeys(p.name for p in some))
        if not names:
            continue
        at = {(p.name, p.level): p for p in some}
        rows = [_part(name, [at.get((name, level)) for level in levels]) for name in names[:_MOST_CLASSES]]
        head = [_HEADS.get(by, by.capitalize()), *(f"{level} % held" for level in levels), "Rows"]
        blocks.append(Details(title, [Table(head, rows, "l" + "r" * (len(head) - 1))]))
    return blocks


def _part(name: str, parts: list[BoundedPart | None]) -> list[str]:
    n = next(p.n for p in parts if p is not None)
    return [literal(name), *("" if p is None else _held(p) for p in parts), f"{n:,}"]


def _held(c: Coverage | BoundedPart) -> str:
    return f"{100 * c.share:.1f} % [{100 * c.low:.1f}, {100 * c.high:.1f}]"
