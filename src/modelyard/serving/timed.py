"""Timed: a graph that may take so long and no longer, and that rests once it has."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import onnxruntime as ort

SECONDS = 1.0
"""What a call may take at most, where nothing else is asked for."""
_LEAST, _TIMES = 0.02, 10.0
"""What a row may take at least, and how many times what it usually takes: what is slow for once does not hang."""
_REST, _LONGEST_REST = 10.0, 600.0
_LOOK = 0.01


class Overdue(Exception):
    """A model that took too long, or that rests because it did.

    Parameters
    ----------
    detail : str
        Which of the two.
    rests : float
        Seconds until it is asked again.
    """

    def __init__(self, detail: str, rests: float) -> None:
        super().__init__(detail)
        self.rests = rests


class Timed:
    """Runs a graph, and stops it from another thread when it takes too long.

    ONNX Runtime looks between two nodes whether it is to stop, so that the caller who waits for it has its turn again.
    A model that was stopped is not asked for a while, each time twice as long: what stands in answers at once.

    What counts is the processor's time that the thread has used, where the system tells it: a call that waits for its
    turn on a busy machine, or in a container that has used up its share, does not hang.

    Parameters
    ----------
    run : callable
        ``InferenceSession.run``.
    seconds : float, optional
        How long one call may take; default: `SECONDS`, and for few rows less once it is known what to `expect`.

    Attributes
    ----------
    usual : float
        Seconds that a row takes, once they were measured; 0 until then.
    """

    def __init__(self, run: Callable[..., Any], seconds: float | None = None) -> None:
        self._run, self._asked = run, seconds
        self.usual = 0.0
        self._most = self._a_row = SECONDS if seconds is None else seconds
        self._running: dict[int, tuple[float, dict[str, Any]]] = {}
        self._threads: dict[int, tuple[Any, int]] = {}
        self._seen: dict[int, tuple[float, float]] = {}
        self._stopped: dict[int, float] = {}
        self._until, self._rest = float("-inf"), _REST
        _watch(self)

    def __call__(self, names: Sequence[str], inputs: dict[str, Any], _: None = None) -> Any:
        """Run the graph.

        Raises
        ------
        Overdue
            If it took too long, or did lately.
        """
        began = time.monotonic()
        if began < self._until:
            raise Overdue("it took too long, and rests", self._until - began)
        thread = threading.get_ident()
        known = self._threads.get(thread)
        if known is None:
            known = self._threads[thread] = ort.RunOptions(), _clock(thread)
        options = known[0]
        self._running[thread] = began, inputs
        try:
            found = self._run(names, inputs, options)
        except Exception as error:
            if not options.terminate:
                raise
            options.terminate = False
            if self._stopped[thread] != began:  # meant for the call before, which ended just then
                return self._run(names, inputs, options)
            now = time.monotonic()
            if now - self._until > _LONGEST_REST:
                self._rest = _REST
            rest, self._rest = self._rest, min(2 * self._rest, _LONGEST_REST)
            self._until = now + rest
            raise Overdue("it took too long, and was stopped", rest) from error
        finally:
            del self._running[thread]
        return found

    def expect(self, usual: float, share: float | None) -> None:
        """Let a row take no longer than the model's share of what an answer may: others wait behind it for theirs.

        Parameters
        ----------
        usual : float
            Seconds that a row takes. A model that is slow is not stopped for it: ten times as long is allowed.
        share : float or None
            Seconds of the brief's limit that are the model's; None where it has none, and a row may take what a call
            may.
        """
        self.usual = usual
        if self._asked is None and share is not None:
            self._a_row = max(_LEAST, share, _TIMES * usual)

    def look(self) -> None:
        """Stop what has taken too long."""
        for thread, (began, inputs) in list(self._running.items()):
            options, clock = self._threads[thread]
            try:
                used = time.clock_gettime(clock)
            except OSError:  # the thread has ended
                continue
            # From when it was seen first: asking the clock before each call would cost every request.
            call, since = self._seen.get(thread, (began, used))
            if call != began:
                since = used
            self._seen[thread] = began, since
            if used - since > min(self._most, self._a_row * len(next(iter(inputs.values())))):
                self._stopped[thread] = began
                options.terminate = True


def _clock(thread: int) -> int:
    """Return the clock of the processor's time that a living thread uses; that of the wall where there is none."""
    return time.pthread_getcpuclockid(thread) if hasattr(time, "pthread_getcpuclockid") else time.CLOCK_MONOTONIC


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
        with _starting:  # one that comes in between would end this thread, and with it every limit
            watched = list(_watched)
        for timed in watched:
            timed.look()
