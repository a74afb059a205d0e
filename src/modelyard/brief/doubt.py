"""Doubt: something about the brief that is better said before compute is spent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is doubtful, what it means, and what to do about it."""

    what: str
    means: str
    do: str
