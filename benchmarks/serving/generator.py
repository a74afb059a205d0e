"""HTTP load from one process: as fast as answers come (closed loop), or at a fixed rate whatever comes (open loop).

    python generator.py < ASKED.json > FIGURES.json

A latency of the open loop counts from the moment a request was due, not from the moment it could be sent: what waits
behind a stalled answer has waited too, and is not left out. One thread, plain sockets and `select`, whose time-out is
fine enough for microseconds; nothing but the standard library, so that it costs little of the two cores it shares.

References
----------
Tene, G. (2015). How NOT to measure latency; wrk2, github.com/giltene/wrk2: coordinated omission and its correction.
"""

from __future__ import annotations

import gc
import json
import math
import re
import select
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

BASE = 1.02
"""Ratio of neighbouring buckets of a histogram: percentiles are right to 2 %."""
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding:[ \t]*chunked")


class Connection:
    """A kept-alive connection and the request in flight on it."""

    __slots__ = ("address", "buffer", "due", "sent", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.buffer = b""
        self.due = self.sent = 0.0
        self.socket = self._open()

    def fileno(self) -> int:
        """Return the descriptor `select` waits for."""
        return self.socket.fileno()

    def reopen(self) -> None:
        """Replace a connection that the server closed."""
        self.socket.close()
        self.buffer, self.socket = b"", self._open()

    def _open(self) -> socket.socket:
        made = socket.create_connection(self.address)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


@dataclass
class Found:
    """What one load found; times in seconds.

    Attributes
    ----------
    latencies : list of float
        From the moment each request was due to its whole answer; of those never answered, to the end of the wait.
    services : list of float
        From the moment each answered request was sent: what a naive client would report.
    lags : list of float
        From due to sent, of requests that found a free connection: how late the generator itself was.
    refused, unanswered : int
        Answers other than 200 and broken connections; requests without an answer at the end.
    """

    latencies: list[float] = field(default_factory=list)
    services: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    refused: int = 0
    unanswered: int = 0
    seconds: float = 0.0


def load(
    connections: Sequence[Connection],
    requests: Sequence[bytes],
    seconds: float,
    rate: float | None = None,
    patience: float = 5.0,
) -> Found:
    """Send requests for a while and wait for their answers.

    Parameters
    ----------
    connections : sequence of Connection
        Each carries one request at a time.
    requests : sequence of bytes
        Whole HTTP requests, sent in turn.
    seconds : float
        How long requests are due.
    rate : float, optional
        Requests due a second, evenly spaced; None sends the next as soon as a connection is free.
    patience : float
        Seconds to wait for answers after the last request was due.
    """
    found = Found()
    clock, wait = time.perf_counter, select.select
    total = math.inf if rate is None else int(rate * seconds)
    free, busy = list(connections), set[Connection]()
    count, idle = 0, True
    began = now = clock()
    end, limit = began + seconds, began + seconds + patience
    while now < limit:
        pause = limit - now
        while free:
            if rate is None:
                if now >= end:
                    break
                due = now
            else:
                if count >= total:
                    break
                due = began + count / rate
                if due > now:
                    pause = due - now
                    break
            connection = free.pop()
            connection.due, connection.sent = due, now
            connection.socket.send(requests[count % len(requests)])
            busy.add(connection)
            count += 1
            if idle:
                found.lags.append(now - due)
            now = clock()
        if not busy and (count >= total or (rate is None and now >= end)):
            break
        idle = bool(free)
        ready, _, _ = wait(busy, (), (), pause)
        now = clock()
        for connection in ready:
            good = _answered(connection)
            if good is None:
                continue
            now = clock()
            busy.remove(connection)
            free.append(connection)
            if good:
                found.latencies.append(now - connection.due)
                found.services.append(now - connection.sent)
            else:
                found.refused += 1
    found.seconds = clock() - began
    found.unanswered = len(busy) + (0 if rate is None else int(total) - count)
    if rate is not None:
        found.latencies += [now - (began + i / rate) for i in range(count, int(total))]
    found.latencies += [now - connection.due for connection in busy]
    for connection in busy:
        connection.reopen()
    return found


def _answered(connection: Connection) -> bool | None:
    """Read what came; say whether the answer is whole and 200, None while it is not whole."""
    try:
        data = connection.socket.recv(65536)
    except ConnectionError:
        data = b""
    if not data:
        connection.reopen()
        return False
    connection.buffer += data
    if not whole(connection.buffer):
        return None
    good = connection.buffer[9:12] == b"200"
    connection.buffer = b""
    return good


def whole(answer: bytes) -> bool:
    """Say whether the bytes of an HTTP/1.1 answer are all of it."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = _LENGTH.search(answer, 0, head)
    if length:
        return len(answer) >= head + 4 + int(length[1])
    if not _CHUNKED.search(answer, 0, head):
        raise ValueError(f"an answer of unknown length: {answer[:head].decode('latin-1')}")
    at = head + 4
    while (line := answer.find(b"\r\n", at)) >= 0:
        size = int(answer[at:line].split(b";")[0], 16)
        at = line + 4 + size
        if not size:
            return len(answer) >= at
    return False


def cpu(pids: Iterable[int]) -> float:
    """Return the seconds of processor time that processes have used, to the microsecond and all threads included."""
    # The clock of another process, as clock_getcpuclockid(3) names it; the ticks of /proc are 10 ms.
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids) / 1e9


def histogram(seconds: Iterable[float]) -> dict[int, int]:
    """Return how many lie in each bucket, by the power of `BASE` microseconds that it ends at."""
    counts: dict[int, int] = {}
    for value in seconds:
        place = math.ceil(math.log(max(1e-6, value) * 1e6) / math.log(BASE))
        counts[place] = counts.get(place, 0) + 1
    return counts


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Warm a server up, load it, and return what was found.

    Parameters
    ----------
    asked : dict
        ``address`` (host and port), ``requests`` (as Latin-1), ``connections``, ``seconds``, ``warm``, ``rate`` (or
        None), ``patience``, and ``pids`` of the server's processes.
    """
    requests = [text.encode("latin-1") for text in asked["requests"]]
    connections = [Connection(tuple(asked["address"])) for _ in range(asked["connections"])]
    start = cpu(asked["pids"])
    load(connections, requests, asked["warm"], asked["rate"], asked["patience"])
    gc.collect()
    gc.freeze()
    gc.disable()
    before, own = cpu(asked["pids"]), time.process_time()
    found = load(connections, requests, asked["seconds"], asked["rate"], asked["patience"])
    used, own = cpu(asked["pids"]) - before, time.process_time() - own
    for connection in connections:
        connection.socket.close()
    return {
        "answered": len(found.services),
        "refused": found.refused,
        "unanswered": found.unanswered,
        "seconds": found.seconds,
        "server_s": used,
        "generator_s": own,
        "server_all_s": cpu(asked["pids"]) - start,
        "generator_all_s": time.process_time(),
        "latency": histogram(found.latencies),
        "service": histogram(found.services),
        "lag": histogram(found.lags),
    }


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
