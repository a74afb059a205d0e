"""Rows as a caller of the library gives them: one dict, or many."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.bundle.runtimes.runtime import Row
from modelyard.core.errors import Problem, RowError
from modelyard.data.schema import Schema

_SHOWN = 20
"""Problems one error lists; a request of thousands of bad rows would give an unreadable one."""


def checked_rows(schema: Schema, x: object) -> list[Row] | None:
    """Return the checked rows of a dict or a list of them, and None for a table.

    Raises
    ------
    RowError
        If a row does not fit the schema; pointers begin with the row's number.
    """
    if isinstance(x, Mapping):
        return [schema.check_row(x)]
    if not isinstance(x, list | tuple):
        return None
    rows: list[Row] = []
    problems: list[Problem] = []
    for i, row in enumerate(x):
        if not isinstance(row, Mapping):
            problems.append(Problem(f"/{i}", f"A row is a {type(row).__name__}.", "A dict of column names to values."))
            continue
        try:
            rows.append(schema.check_row(row, pointer=f"/{i}"))
        except RowError as error:
            problems.extend(error.problems)
        if len(problems) >= _SHOWN:
            break
    if problems:
        raise RowError(problems[:_SHOWN])
    return rows


def of_one_row(error: RowError) -> RowError:
    """Leave out the row's number from pointers when the caller gave one row and no list."""
    return RowError([Problem(p.pointer.removeprefix("/0"), p.what, p.allowed) for p in error.problems])
