"""Rows as a caller of the library gives them: one dict, or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.bundle.runtimes.runtime import Row
from modelyard.core.errors import Problem, RowError
from modelyard.data.schema import Schema

_FEW = 16
"""Rows up to which a table is quicker read row by row."""
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


def few_rows(schema: Schema, x: object) -> list[Row] | None:
    """Return the checked rows of a table of a few; None where it has more, or where a row does not fit as it stands.

    A table is converted column by column, which costs milliseconds however few its rows. What is refused here goes that
    way, which reads more and names what is wrong by the table's own rows.
    """
    table: Any = x
    try:
        names = list(table.column_names if hasattr(table, "to_pylist") else table.columns)
        whole = len(set(names)) == len(names) and set(names).issuperset(c.name for c in schema.features)
        if not whole or not 0 < len(table) <= _FEW:
            return None
        if hasattr(table, "to_pylist"):  # pyarrow
            rows = table.to_pylist()
        elif hasattr(table, "to_dicts"):  # polars
            rows = table.to_dicts()
        else:  # pandas, whose own to_dict takes milliseconds
            rows = [dict(zip(names, values, strict=True)) for values in table.to_numpy(dtype=object).tolist()]
        return [schema.check_row(row, unknown="ignore") for row in rows]
    except (AttributeError, TypeError, ValueError, RowError):
        return None


def of_one_row(error: RowError) -> RowError:
    """Leave out the row's number from pointers when the caller gave one row and no list."""
    return RowError([Problem(p.pointer.removeprefix("/0"), p.what, p.allowed) for p in error.problems])
