"""Sent: the rows of a body, whatever protocol it was written in, and how to say where in it a value stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.core.errors import Problem
from modelyard.serving.problem import HttpProblem


@dataclass(frozen=True, slots=True)
class Sent:
    """The rows of one body.

    Attributes
    ----------
    rows : list of dict
        As JSON values, by column.
    pointer : callable
        From a row's number and a column's name ("" for the whole row) to the JSON pointer of the value in the body.
    asked : mapping of str to str
        What the body asks for beside the prediction, as a query would.
    """

    rows: list[Any]
    pointer: Callable[[int, str], str]
    asked: Mapping[str, str]

    def relocated(self, problem: HttpProblem, at: str) -> HttpProblem:
        """Return a problem whose pointers ``/row/column`` below `at` are those of the body."""
        errors = [Problem(self._at(e.pointer.removeprefix(at)), e.what, e.allowed) for e in problem.errors]
        return HttpProblem(problem.status, problem.detail, errors, problem.headers)

    def _at(self, pointer: str) -> str:
        _, row, *column = pointer.split("/", 2)
        return self.pointer(int(row), column[0].replace("~1", "/").replace("~0", "~") if column else "")


def escaped(name: str) -> str:
    """Return a name as it stands in a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
