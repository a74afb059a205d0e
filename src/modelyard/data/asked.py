"""What the brief asks of columns, held against the table once kinds are known: nothing is left out silently."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.brief.brief import Brief
from modelyard.core.errors import BriefError, did_you_mean, listed
from modelyard.data.finding import Finding
from modelyard.data.schema import Schema

_DIRECTED = ("number", "boolean")


def check_asked(schema: Schema, brief: Brief, notes: Sequence[Finding]) -> None:
    """See that every model gets the columns the brief keeps, and that its directions and weights have a meaning.

    Parameters
    ----------
    schema : Schema
        Of the table, settled.
    brief : Brief
        Its ``data.keep`` and ``data.monotone``, whose columns the table has, and ``data.class_weights``.
    notes : sequence of Finding
        What reading noticed: why a column is left out.

    Raises
    ------
    BriefError
        If a column the brief keeps cannot be learnt from, a direction is asked of what is no number, the task has
        classes without an order, or a class that should weigh more is none of them.
    """
    given = {c.name for c in schema.features}
    for name in brief.data.keep:
        if name not in given:
            raise BriefError(
                f"The brief keeps '{name}', and no model can read it.",
                where=f"{brief.source}: data.keep",
                allowed=_why(name, schema, notes),
                do="Take it out of data.keep, or name its type under data.types.",
            )
    if brief.data.class_weights:
        _check_weights(schema, brief)
    if brief.data.monotone:
        _check_directions(schema, brief)


def _check_weights(schema: Schema, brief: Brief) -> None:
    where = f"{brief.source}: data.class_weights"
    if not schema.classes:
        raise BriefError(
            "The label holds numbers, which have no classes to weigh.",
            where=where,
            do="Take data.class_weights out, or name a column of weights: data.weight.",
        )
    for name in brief.data.class_weights if isinstance(brief.data.class_weights, dict) else ():
        if name not in schema.classes:
            raise BriefError(
                f"The label has no class '{name}'.",
                where=where,
                allowed=f"Its classes: {listed(schema.classes, 10)}.",
                do=did_you_mean(name, schema.classes) or "Name one of them.",
            )


def _check_directions(schema: Schema, brief: Brief) -> None:
    where = f"{brief.source}: data.monotone"
    if schema.task not in ("binary", "regression"):
        of = f"{len(schema.classes)} classes" if schema.classes else "a forecast"
        raise BriefError(
            f"Directions have no meaning for {of}.",
            where=where,
            allowed="A label of two classes, whose positive one becomes likelier, or of numbers.",
            do="Take data.monotone out, or make the label one class against the rest.",
        )
    for name in brief.data.monotone:
        kind = schema.column(name).kind
        if kind not in _DIRECTED:
            raise BriefError(
                f"'{name}' is read as {'an' if kind == 'id' else 'a'} {kind}, which has no direction.",
                where=where,
                allowed="Columns of numbers, or of true and false.",
                do=f"If it is a number, write data.types: {{{name}: number}}; otherwise take it out of data.monotone.",
            )


def _why(name: str, schema: Schema, notes: Sequence[Finding]) -> str:
    if schema.task == "forecast":
        return "A forecast reads the series and the time alone."
    told = [f.what for f in notes if f.column == name and f.kind in ("empty", "id", "constant")]
    return told[0] if told else f"It is the {schema.column(name).role}, which no model reads."
