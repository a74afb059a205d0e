"""Whether callers of one schema can go on unchanged with another; of bundles see `modelyard.bundle.compatible`."""

from __future__ import annotations

from modelyard.core.errors import listed
from modelyard.data.column import Column
from modelyard.data.limits import allowed_values, ends
from modelyard.data.schema import Schema

_KINDS = {"number": "a number", "category": "a text", "text": "a text", "boolean": "true or false", "date": "a date"}
_MOST_SHOWN = 10


def breaking(before: Schema, after: Schema) -> tuple[str, ...]:
    """Return what breaks callers who send rows of one schema and read its answers; empty where nothing does.

    A row that was accepted must be accepted, and an answer must be one that was possible. So a column may become
    optional, be added as optional, be allowed more values, or be read no longer as long as it is still known; classes
    keep their names.

    Parameters
    ----------
    before, after : Schema
        Of the release that callers know, and of the one to take its place.
    """
    found = []
    if before.task != after.task:
        return (f"it predicts {after.task}, and answers were {before.task}",)
    known = {column.name: column for column in after.columns}
    asked = {column.name: column for column in after.features}
    sent = {column.name: column for column in before.features}
    for name in sent:
        if name not in known:
            found.append(f"the column '{name}' is removed: rows that bring it would be refused")
    for name, column in asked.items():
        old = sent.get(name)
        if old is None:
            if column.missing == 0.0:
                found.append(f"the column '{name}' is newly required")
            continue
        if column.missing == 0.0 and old.missing > 0.0:
            found.append(f"the column '{name}' may no longer be missing")
        if (was := _written(old)) != (now := _written(column)):
            found.append(f"the column '{name}' was {was} and is {now}")
        elif less := _less(old, column):
            found.append(f"the column '{name}' {less}")
    if (lost := set(before.classes) - set(after.classes)) or set(after.classes) - set(before.classes):
        changed = ", ".join(sorted(lost | (set(after.classes) - set(before.classes))))
        found.append(f"the classes change: {changed}")
    label, other = before.label, after.label
    if before.classes and label is not None and other is not None and label.physical != other.physical:
        found.append(f"the classes were written as {label.physical} and are as {other.physical}")
    return tuple(found)


def _written(column: Column) -> str:
    """Return how a caller writes a value; numbers may be sent for a category that was read from numbers."""
    kind = _KINDS.get(column.kind, column.kind)
    numeric = column.kind == "category" and column.physical in ("integer", "float")
    return f"{kind} or number" if numeric else kind


def _less(old: Column, new: Column) -> str:
    """Return which values were allowed and are so no longer; empty where all are."""
    levels = sorted(set(old.allowed) - set(new.allowed))
    if new.allowed and levels:
        return f"is no longer allowed {listed(levels, _MOST_SHOWN)}"
    (low, high), (least, most) = ends(old), ends(new)
    raised = least is not None and (low is None or least > low)
    if raised or (most is not None and (high is None or most < high)) or (new.allowed and not old.allowed):
        return f"was allowed {allowed_values(old) or 'every value'} and is {allowed_values(new)}"
    return ""
