"""Entities: a column that looks like the name of something that repeats, and was not named as the group."""

from __future__ import annotations

import numpy as np
import polars as pl

from modelyard.brief.brief import Brief
from modelyard.core.seeds import derive_seed
from modelyard.data.column import Column
from modelyard.data.dataset import Dataset
from modelyard.data.finding import Finding
from modelyard.data.infer import PERSONS, named_like_id

_LEAST_ENTITIES = 20
_MOST_REPEATS = 200.0
_LEAST_REPEATS = 1.05
_OWN = 0.95
_COMMON = 0.9
_MOST_ROWS = 50_000
_MOST_COLUMNS = 200
_MOST_FOUND = 3


def entities(data: Dataset, brief: Brief) -> list[Finding]:
    """Look for columns that name an entity which repeats, where the brief names no group.

    A column is one when it is named like an identifier, or ends in "id", and other columns stay the same within its
    values (the sex of a patient) though they vary between them.

    Returns
    -------
    list of Finding
        The likeliest first.
    """
    if brief.data.group is not None or data.schema.label is None:
        return []
    candidates = [c for c in data.schema.columns if _could_be(c, len(data))]
    if not candidates:
        return []
    others = [c.name for c in data.schema.columns if c.role == "feature" and c.missing < 0.5][:_MOST_COLUMNS]
    rng = np.random.default_rng(derive_seed(brief.seed, "entity"))
    ranked = []
    for column in candidates:
        own = _own_columns(data.frame, column.name, [n for n in others if n != column.name], rng)
        if own or named_like_id(column.name):
            person = any(word in column.name.lower() for word in PERSONS)
            ranked.append((not person, -len(own), -column.distinct, column, own))
    ranked.sort(key=lambda r: r[:3])
    return [_finding(column, own, len(data)) for *_, column, own in ranked[:_MOST_FOUND]]


def _could_be(column: Column, rows: int) -> bool:
    if column.role not in ("feature", "ignored") or column.kind not in ("number", "category", "id"):
        return False
    if column.physical not in ("integer", "string") or column.missing > 0.05:
        return False
    named = named_like_id(column.name) or column.name.lower().endswith("id")
    repeats = rows / max(column.distinct, 1)
    return named and column.distinct >= _LEAST_ENTITIES and _LEAST_REPEATS <= repeats <= _MOST_REPEATS


def _own_columns(frame: pl.DataFrame, entity: str, others: list[str], rng: np.random.Generator) -> list[str]:
    """Return the columns that are the same in rows of one entity, and not in rows at large."""
    table = frame.select(entity, *others).sort(entity)
    if table.height > _MOST_ROWS:
        table = table.head(_MOST_ROWS)
    same_entity = (table[entity] == table[entity].shift(1)).fill_null(False).to_numpy()
    if not same_entity.any():
        return []
    shuffled = table.select(others)[rng.permutation(table.height)]
    own = []
    for name in others:
        within = (table[name] == table[name].shift(1)).fill_null(False).to_numpy()[same_entity].mean()
        at_large = (shuffled[name] == shuffled[name].shift(1)).fill_null(False).to_numpy().mean()
        if within >= _OWN and at_large <= _COMMON:
            own.append(name)
    return own


def _finding(column: Column, own: list[str], rows: int) -> Finding:
    name = column.name
    of = f"; {', '.join(own[:3])} never change within one" if own else ""
    return Finding(
        "entity",
        "warn",
        name,
        f"{name} repeats ({rows:,} rows, {column.distinct:,} different){of}.",
        "Rows of one entity on both sides of a split are learnt by heart, and the estimate is flattered.",
        f"Write data.group: {name}, or drop the column if it names nothing that repeats.",
    )
