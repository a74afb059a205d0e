"""Accept: which of several workers takes a connection."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, MutableSequence

from modelyard.serving.wire import Wire

NOBODY = 2**62
"""Connections of a worker that has ended or not begun: no other waits for it to take one."""
_WAIT = 0.002
"""Seconds for which a worker leaves a new connection to one that has fewer; then it takes it: that one may hang."""
_HANDSHAKE = 1.0
"""Seconds that a server which ends waits for those it has taken to be there."""
_EXHAUSTED = 1.0
"""Seconds before the next try where the system has no file for a connection."""
_LOGGER = logging.getLogger("modelyard.serving")


class Share:
    """How many connections each worker has.

    Parameters
    ----------
    counts : sequence of int
        Of each worker, `NOBODY` where it takes none, in memory that all of them have.
    place : int
        Where this worker's stands.
    """

    def __init__(self, counts: MutableSequence[int], place: int) -> None:
        self._counts, self._place = counts, place

    def tell(self, count: int) -> None:
        """Tell the others how many connections this one has."""
        self._counts[self._place] = count

    @property
    def another_has_fewer(self) -> bool:
        """Whether a worker has fewer connections than this one."""
        return self._counts[self._place] > min(self._counts)


class Accepting:
    """Takes connections one at a time, and leaves them to workers that have fewer.

    A server of uvloop's takes all that wait at once. Callers that keep their connections, as proxies do, open them
    together: the worker that wakes first would have them all, and the others would have nothing to do.

    Parameters
    ----------
    loop : event loop
        In which connections live.
    listener : socket
        Where they come from; other workers listen on it too.
    protocol : callable
        Makes what answers one.
    held : callable
        Returns how many this worker has.
    share : Share
        What the others have.
    tls : SSLContext, optional
        Of TLS.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        protocol: Callable[[], Wire],
        held: Callable[[], int],
        share: Share,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop, self._listener, self._protocol, self._tls = loop, listener, protocol, tls
        self._held, self._share = held, share
        self._starting: set[asyncio.Task[tuple[asyncio.BaseTransport, Wire]]] = set()
        self._closed = False
        self._waiting: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._tell()
        self._listen()

    def close(self) -> None:
        """Take no more."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._loop.remove_reader(self._listener)
        self._share.tell(NOBODY)
        self._closed = True

    async def wait_closed(self) -> None:
        """Wait for those that were taken and have no protocol yet."""
        if self._starting:
            await asyncio.wait(self._starting, timeout=_HANDSHAKE)

    def _listen(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listener, self._come)

    def _come(self) -> None:
        self._tell()
        if self._share.another_has_fewer:
            self._pause(_WAIT, self._take_and_listen)
        else:
            self._take()

    def _take_and_listen(self) -> None:
        self._listen()
        self._take()

    def _take(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another worker has it, or the caller has gone
            return
        except OSError as error:
            _LOGGER.error("no connection can be accepted: %s", error)
            self._pause(_EXHAUSTED, self._listen)
            return
        connection.setblocking(False)
        start = self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._tls)
        task = self._loop.create_task(start)
        self._starting.add(task)
        task.add_done_callback(self._started)
        self._tell()

    def _tell(self) -> None:
        self._share.tell(self._held() + len(self._starting))

    def _started(self, task: asyncio.Task[tuple[asyncio.BaseTransport, Wire]]) -> None:
        self._starting.discard(task)
        if task.cancelled() or task.exception() is not None:  # a caller that does not speak TLS is nobody's error
            return
        if self._closed:
            task.result()[1].shutdown()

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._listener)
        self._waiting = self._loop.call_later(seconds, then)
