"""Turn: rows that came in one turn of the event loop, which one call of the model answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from modelyard.serving.asgi import Scope
from modelyard.serving.endpoint import Done
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.quick import Quick
from modelyard.serving.reader import Given
from modelyard.serving.version import Version

MOST = 15
"""Rows answered by one call: fewer than a graph walks in another way, so that an answer is the same to the bit whoever
asks beside it, and none waits long for the others."""


class Waiting(msgspec.Struct):
    """A row that was read, and waits for the model.

    Attributes
    ----------
    version, quick : Version, Quick
        What is to answer it.
    body : bytes
        As it came.
    row, given : object, Given
        See `Reader`.
    began : float
        ``time.perf_counter()`` when its body was there.
    scope, admitted : mapping, Admitted
        The request's.
    done : callable
        Is told the answer.
    """

    version: Version
    quick: Quick
    body: bytes
    row: Any
    given: Given
    began: float
    scope: Scope
    admitted: Admitted
    done: Done


class Turn:
    """Gathers what has come, and answers it as soon as the loop has read every connection that had something to say.

    So nobody waits for anybody who is not there yet; one call for many rows takes a fraction of a call for each: what
    an answer takes is mostly bringing the model's trees back into the processor's memory.

    Parameters
    ----------
    answer : callable
        Answers what has gathered, and never fails.
    """

    def __init__(self, answer: Callable[[list[Waiting]], None]) -> None:
        self._answer = answer
        self._waiting: list[Waiting] = []

    def add(self, waiting: Waiting) -> None:
        """Answer a row at the end of this turn, or now where there are many."""
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self.end)
        elif len(self._waiting) == MOST:
            self.end()

    def end(self) -> None:
        """Answer what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._answer(waiting)
