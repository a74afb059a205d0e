"""Release: a bundle under a name and a version, and the stage it stands in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Stage = Literal["development", "staging", "production", "archived"]
Action = Literal["register", "promote", "rollback", "archive", "refuse", "deprecate"]
SUNSET_AFTER = timedelta(days=90)
"""How long after its deprecation an interface ends, where nothing else is said."""
STAGES: tuple[Stage, ...] = ("development", "staging", "production", "archived")


@dataclass(frozen=True, slots=True)
class Gate:
    """One question asked before a move: its name, the answer, and the figures behind it."""

    name: str
    answer: Literal["pass", "fail", "inconclusive"]
    why: str


@dataclass(frozen=True, slots=True)
class Release:
    """A bundle under a name and a version.

    Attributes
    ----------
    name : str
        The use case, as a file name.
    version : int
        1, 2, 3, ...
    stage : {"development", "staging", "production", "archived"}
        Where it stands now.
    bundle : str
        Absolute path of the bundle's folder in the workspace.
    hash : str
        The bundle's hash.
    run : str
        Name of the run it comes from.
    created : str
        UTC, ISO 8601.
    deprecated, sunset : str or None
        From when callers are told to leave it, and when it ends (UTC, ISO 8601).
    """

    name: str
    version: int
    stage: Stage
    bundle: str
    hash: str
    run: str
    created: str
    deprecated: str | None = None
    sunset: str | None = None

    @property
    def label(self) -> str:
        """The name and version, as messages have them."""
        return f"'{self.name}' version {self.version}"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history, which is only ever added to: when, who, what, from which stage to which, why."""

    at: str
    by: str
    name: str
    version: int
    action: Action
    before: Stage | None
    after: Stage | None
    note: str
    gates: tuple[Gate, ...]
