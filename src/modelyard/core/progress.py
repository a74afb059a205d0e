"""How long work tells where it stands; the command line draws it, libraries get silence."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where the work stands."""

    def stage(self, name: str) -> None:
        """Begin a stage; the one before it is done."""

    def step(self, done: float, total: float, note: str = "") -> None:
        """Say how much of the present stage is done, and what is going on."""

    def say(self, text: str) -> None:
        """Tell one thing worth a line of its own."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str) -> None:
        """Do nothing."""

    def step(self, done: float, total: float, note: str = "") -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""
