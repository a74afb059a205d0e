"""Rows as callers send them: checking many at once, and the examples a bundle ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import Problem, RowError, ServingError
from modelyard.data.schema import Schema


def check_rows(
    schema: Schema, rows: Sequence[Any], pointer: str, first: int = 0, unknown: Literal["refuse", "ignore"] = "refuse"
) -> list[dict[str, Any]]:
    """Check many rows; every bad field of every row is named.

    Parameters
    ----------
    schema : Schema
        What rows must fit.
    rows : sequence
        Rows as JSON gives them.
    pointer : str
        JSON pointer of the list they stand in.
    first : int
        Place of the first of them in that list.
    unknown : {"refuse", "ignore"}
        What to do with a field the schema does not know.

    Raises
    ------
    RowError
        If any field of any row does not fit.
    """
    checked: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for i, row in enumerate(rows, first):
        at = f"{pointer}/{i}"
        if not isinstance(row, dict):
            problems.append(Problem(at, "This row is no JSON object", "An object of column names and values."))
            continue
        try:
            checked.append(schema.check_row(row, unknown=unknown, pointer=at))
        except RowError as error:
            problems.extend(error.problems)
    if problems:
        raise RowError(problems)
    return checked


def example_rows(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the rows the bundle ships as examples, as JSON values.

    Raises
    ------
    ServingError
        If there are none.
    """
    path = bundle.path / "examples.json"
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except (OSError, msgspec.MsgspecError) as error:
        raise ServingError("The bundle's example rows cannot be read.", where=f"{path}: {error}") from error
    if not rows:
        raise ServingError("The bundle has no example rows.", where=str(path), do="Pack the model again.")
    return rows
