"""Every error a user can meet, in one tree.

::

    ModelyardError            exit 1
    |-- BriefError            the brief says something that cannot be
    |-- DataError             the table cannot be read or used
    |   `-- RowError          rows sent for prediction do not fit the schema
    |-- SplitError            no honest split of this table exists
    |-- FamilyError           a model family cannot fit, predict or export
    |-- TrainingError         no candidate could be trained
    |-- BundleError           a bundle is damaged, tampered with or of an unknown format
    |-- RegistryError         no such release, or a move the stages do not allow
    |-- ServingError          the server cannot start
    |-- WorkspaceError        the workspace cannot be read or written (full disk, read-only, ...)
    |-- MissingExtra          an optional package is not installed
    |-- GateFailed            exit 2: a gate or a target said no
    |   `-- FindingsOpen      exit 2: a finding must be answered by the brief first
    `-- Undecided             exit 3: the evidence does not decide it

Each error says the same four things: what was wrong, where, what was allowed, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import ClassVar


class ModelyardError(Exception):
    """What was wrong, where, what was allowed and what to do.

    Parameters
    ----------
    what : str
        One sentence: what was wrong.
    where : str, optional
        File, line, column, row: the place the user can go to.
    allowed : str, optional
        What would have been accepted.
    do : str, optional
        The next thing to do, as an instruction.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, where: str | None = None, allowed: str | None = None, do: str | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.allowed, self.do = what, where, allowed, do

    def render(self) -> str:
        """Return the error as the lines a terminal shows, without the word "error"."""
        lines = [self.what, *(f"  {part}" for part in (self.where, self.allowed, self.do) if part)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


class BriefError(ModelyardError):
    """The brief says something that cannot be."""


class DataError(ModelyardError):
    """The table cannot be read or used."""


class RowError(DataError):
    """Rows sent for prediction do not fit the schema.

    Parameters
    ----------
    problems : sequence of Problem
        One for each bad field, with a JSON pointer (RFC 6901), what was wrong and what was allowed.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(
            f"{first.what}{more}",
            where=first.pointer,
            allowed=first.allowed,
            do="Send the field as the schema asks.",
        )


class Problem:
    """One bad field of a row: where it is, what is wrong, what was allowed."""

    __slots__ = ("allowed", "pointer", "what")

    def __init__(self, pointer: str, what: str, allowed: str) -> None:
        self.pointer, self.what, self.allowed = pointer, what, allowed


class SplitError(ModelyardError):
    """No honest split of this table exists."""


class FamilyError(ModelyardError):
    """A model family cannot fit, predict or export."""


class TrainingError(ModelyardError):
    """No candidate could be trained."""


class BundleError(ModelyardError):
    """A bundle is damaged, tampered with or of an unknown format."""


class RegistryError(ModelyardError):
    """No such release, or a move the stages do not allow."""


class ServingError(ModelyardError):
    """The server cannot start."""


class WorkspaceError(ModelyardError):
    """The workspace cannot be read or written."""


class MissingExtra(ModelyardError):
    """An optional package is not installed."""


class GateFailed(ModelyardError):
    """A gate, a finding or a target said no."""

    exit_code = 2


class FindingsOpen(GateFailed):
    """Findings that the brief must answer before anything is trained; `findings` holds them."""

    def __init__(
        self, what: str, findings: Sequence[object], *, where: str | None = None, do: str | None = None
    ) -> None:
        super().__init__(what, where=where, do=do)
        self.findings = tuple(findings)


class Undecided(ModelyardError):
    """The evidence does not decide it."""

    exit_code = 3


def listed(names: Sequence[str], most: int) -> str:
    """Return the first `most` names with commas between them, and ", ..." where there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """Return "Did you mean 'x'?" for the nearest of the known words, or None when none is near.

    Parameters
    ----------
    word : str
        What the user wrote.
    known : sequence of str
        What would have been accepted.
    """
    near = get_close_matches(word.lower(), [k.lower() for k in known], n=1, cutoff=0.6)
    if not near:
        return None
    return f"Did you mean '{next(k for k in known if k.lower() == near[0])}'?"
