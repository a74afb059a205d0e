"""Callers at a steady rate, whatever comes back: ``python load.py < ASKED.json`` until a line ``stop`` follows.

Requests are due at even distances, and their time counts from then (see ``serving/generator.py``). A caller behaves as
a sane one does: connections are kept, live five seconds and are used in turn; a request whose connection breaks or is
refused is tried again, three times at most; one that is answered, with whatever status, is not. Every try is kept.
"""

from __future__ import annotations

import gc
import heapq
import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AGAIN = (0.02, 0.1, 0.5)
"""Seconds before a request is tried for the second, third and fourth time."""
PATIENCE = 10.0
"""Seconds to wait for an answer."""
_LIFE, _KEEP = 5.0, 0.05
_MOST = 500
_END = b"\r\n\r\n"


@dataclass(slots=True)
class Call:
    """A request, and what became of it.

    Attributes
    ----------
    number, row : int
        Which request, and which of the rows it sends.
    due, done : float
        When it was due and when it was answered or given up, as `time.monotonic` counts.
    status : int
        Of its answer; 0 where there was none.
    tries : list of (float, float, str, str)
        When each began and ended; "answered", "refused" (no connection), "broken" (it was closed before the answer) or
        "silent" (no answer in `PATIENCE`); and the id of the last answer that came over the same connection.
    answer : str
        Its body.
    """

    number: int
    row: int
    due: float
    done: float = 0.0
    status: int = 0
    tries: list[tuple[float, float, str, str]] = field(default_factory=list)
    answer: str = ""

    def plain(self) -> list[Any]:
        """Return it as JSON has it."""
        return [self.number, self.row, self.due, self.done, self.status, self.tries, self.answer]


class Connection:
    """A connection, and the request that is on its way over it."""

    __slots__ = ("before", "born", "buffer", "call", "sent", "socket")

    def __init__(self, address: tuple[str, int], now: float) -> None:
        self.socket = socket.create_connection(address, timeout=1.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.born, self.sent, self.before = now, 0.0, ""
        self.buffer = b""
        self.call: Call | None = None


class Callers:
    """All callers, in one thread.

    Parameters
    ----------
    address : (str, int)
        Of the server.
    requests : sequence of (bytes, bytes)
        What stands before and after a request's number.
    rate : float
        Requests due a second.
    connections : int
        That are kept open.
    """

    def __init__(
        self, address: tuple[str, int], requests: list[tuple[bytes, bytes]], rate: float, connections: int
    ) -> None:
        self._address, self._requests, self._rate, self._kept = address, requests, rate, connections
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._free: deque[Connection] = deque()
        self._waiting: list[tuple[float, int, Call]] = []
        self._kept_at = 0.0
        self.calls: list[Call] = []
        self.closed_idle = 0

    def run(self) -> None:
        """Call until told to stop, and wait for what is on its way."""
        stdin, clock = sys.stdin.fileno(), time.monotonic
        self._poll.register(stdin, select.EPOLLIN)
        began, stopping = clock(), False
        while True:
            now = clock()
            if now - self._kept_at > _KEEP:
                self._keep(now)
            while not stopping and (due := began + len(self.calls) / self._rate) <= now:
                number = len(self.calls)
                call = Call(number, number % len(self._requests), due)
                self.calls.append(call)
                self._send(call, now)
            while self._waiting and self._waiting[0][0] <= now:
                self._send(heapq.heappop(self._waiting)[2], now)
            busy = [c for c in self._open.values() if c.call is not None]
            if stopping and not busy and not self._waiting:
                return
            for connection in busy:
                if now - connection.sent > PATIENCE:
                    self._lose(connection, now, "silent")
            following = began + len(self.calls) / self._rate if not stopping else now + 0.1
            if self._waiting:
                following = min(following, self._waiting[0][0])
            for file, _ in self._poll.poll(max(0.0, following - clock())):
                if file == stdin:
                    stopping = True
                    self._poll.unregister(stdin)
                elif file in self._open:
                    self._read(self._open[file])

    def _send(self, call: Call, now: float) -> None:
        if len(self._open) >= _MOST and not self._free:
            heapq.heappush(self._waiting, (now + _KEEP, call.number, call))  # the callers' own bound, and no try
            return
        connection = self._connection(now)
        if connection is None:
            self._again(call, (now, now, "refused", ""))
            return
        head, rest = self._requests[call.row]
        connection.call, connection.sent = call, now
        try:
            connection.socket.send(b"%b%032x%b" % (head, call.number + 1, rest))
        except OSError:
            self._lose(connection, now, "broken")

    def _connection(self, now: float) -> Connection | None:
        while self._free:
            connection = self._free.popleft()
            if connection.socket.fileno() < 0:
                continue
            if now - connection.born <= _LIFE:
                return connection
            self._close(connection)
        return self._opened(now)

    def _keep(self, now: float) -> None:
        """Open as many connections as are kept."""
        self._kept_at = now
        while len(self._open) < self._kept and (connection := self._opened(now)) is not None:
            self._free.append(connection)

    def _opened(self, now: float) -> Connection | None:
        try:
            connection = Connection(self._address, now)
        except OSError:
            return None
        file = connection.socket.fileno()
        self._open[file] = connection
        self._poll.register(file, select.EPOLLIN)
        return connection

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65_536)
        except OSError:
            data = b""
        now, call = time.monotonic(), connection.call
        if call is None:
            self.closed_idle += 1
            self._close(connection)
            return
        connection.buffer += data
        if not data:
            self._lose(connection, now, "broken")
            return
        head, found, body = connection.buffer.partition(_END)
        if not found:
            return
        fields = head.lower()
        at = fields.find(b"content-length:")
        if len(body) < int(fields[at + 15 :].split(b"\r\n", 1)[0]):
            return
        call.status, call.done, call.answer = int(head[9:12]), now, body.decode("latin-1")
        call.tries.append((connection.sent, now, "answered", connection.before))
        connection.call, connection.buffer = None, b""
        if call.status == 200:
            connection.before = call.answer[7 : call.answer.index('"', 7)]
        if b"connection: close" in fields:
            self._close(connection)
        else:
            self._free.append(connection)

    def _lose(self, connection: Connection, now: float, how: str) -> None:
        call = connection.call
        self._close(connection)
        if call is not None:
            self._again(call, (connection.sent, now, how, connection.before))

    def _again(self, call: Call, tried: tuple[float, float, str, str]) -> None:
        call.tries.append(tried)
        if len(call.tries) > len(AGAIN) or tried[2] == "silent":
            call.done = tried[1]
        else:
            heapq.heappush(self._waiting, (tried[1] + AGAIN[len(call.tries) - 1], call.number, call))

    def _close(self, connection: Connection) -> None:
        file = connection.socket.fileno()
        if file >= 0:
            self._poll.unregister(file)
            del self._open[file]
            connection.socket.close()
        connection.call = None


def main() -> None:
    """Read what is asked, call until told to stop, and write what was found."""
    asked = json.loads(sys.stdin.readline())
    requests = [(before.encode(), after.encode()) for before, after in asked["requests"]]
    callers = Callers(tuple(asked["address"]), requests, asked["rate"], asked["connections"])
    gc.disable()  # of the generator's own pauses none is to look like the server's
    callers.run()
    found = {"calls": [call.plain() for call in callers.calls], "closed_idle": callers.closed_idle}
    Path(asked["into"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
