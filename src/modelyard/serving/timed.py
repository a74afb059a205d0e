"""Timed: a graph that may take so long and no longer, and that rests once it has."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import onnxruntime as ort

SECONDS = 1.0
_REST, _LONGEST_REST = 10.0, 600.0
_LOOK = 0.1


class Overdue(Exception):
    """A model that took too long, or that rests because it did."""


class Timed:
    """Runs a graph, and stops it from another thread when it takes too long.

    ONNX Runtime looks between two nodes whether it is to stop, so that the caller who waits for it has its turn again.
    A model that was stopped is not asked for a while, each time twice as long: what stands in answers at once.

    Parameters
    ----------
    run : callable
        ``InferenceSession.run``.
    seconds : float
        How long one call may take.
    """

    def __init__(self, run: Callable[..., Any], seconds: float) -> None:
        self._run, self.seconds = run, seconds
        self._running: dict[int, tuple[float, Any]] = {}
        self._options: dict[int, Any] = {}
        self._until, self._rest = float("-inf"), _REST
        _watch(self)

    def __call__(self, names: Sequence[str], inputs: dict[str, Any]) -> Any:
        """Run the graph.

        Raises
        ------
        Overdue
            If it took too long, or did lately.
        """
        began = time.monotonic()
        if began < self._until:
            raise Overdue("it took too long, and rests")
        thread = threading.get_ident()
        options = self._options.get(thread)
        if options is None:
            options = self._options[thread] = ort.RunOptions()
        self._running[thread] = began, options
        try:
            found = self._run(names, inputs, options)
        except Exception as error:
            if not options.terminate:
                raise
            options.terminate = False
            now = time.monotonic()
            if now - began < self.seconds:  # meant for the call before, which ended just then
                return self._run(names, inputs, options)
            if now - self._until > _LONGEST_REST:
                self._rest = _REST
            self._until = now + self._rest
            self._rest = min(2 * self._rest, _LONGEST_REST)
            raise Overdue(f"it took more than {self.seconds:g} s") from error
        finally:
            del self._running[thread]
        return found

    def look(self, now: float) -> None:
        """Stop what has taken too long."""
        for began, options in list(self._running.values()):
            if now - began > self.seconds:
                options.terminate = True


_watched: weakref.WeakSet[Timed] = weakref.WeakSet()
_starting = threading.Lock()
_watchers: list[threading.Thread] = []


def _watch(timed: Timed) -> None:
    with _starting:
        _watched.add(timed)
        if not _watchers:
            _watchers.append(threading.Thread(target=_look, daemon=True, name="modelyard-timed"))
            _watchers[0].start()


def _look() -> None:
    while True:
        time.sleep(_LOOK)
        now = time.monotonic()
        for timed in list(_watched):
            timed.look(now)
