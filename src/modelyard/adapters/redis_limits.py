"""Token buckets in Redis, for several machines that share their limits.

It speaks to Redis by itself, in one pipelined connection: that takes a quarter to a third of the processor's time that
redis-py takes, and needs no package.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast
from urllib.parse import unquote, urlsplit

from modelyard.core.errors import ServingError
from modelyard.serving.guard.limit import Limit, Unreachable

_TAKE = b"""
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, depth = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = tonumber(redis.call('GET', KEYS[1]) or 0)
-- Full later than an empty bucket is: the clock went back, and nothing it said holds any more.
if held > now + depth then held = 0 end
local full = math.max(held, now) + interval
local spare = depth - full + now
if spare >= 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return spare
"""
"""`Buckets.take` in microseconds of Redis' own clock, in one step and one round trip: machines need no common clock.
Numbers are whole and below 2 ** 53; "%.0f" because Lua writes 14 digits by itself."""
SECONDS, SHORTLY = 0.25, 0.05
"""What a request waits for Redis at most, and where it may be counted in its process instead."""
_OPENING_SECONDS = 5.0
_PORT = 6379


class RedisLimits:
    """`SharedLimits` in a Redis server.

    Parameters
    ----------
    url : str
        ``redis://HOST:PORT/DB``, ``rediss://`` with TLS, or ``unix://PATH``; before the host may stand
        ``USER:PASSWORD@``.
    seconds : float
        What a request waits for it at most.

    Raises
    ------
    ServingError
        If it is no address of a Redis.

    References
    ----------
    Redis serialization protocol specification (RESP2).
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        try:
            self._at = urlsplit(url)
            port, database = self._at.port, self._at.path.strip("/")
            known = self._at.scheme in ("redis", "rediss") and self._at.hostname is not None
            if not (self._at.scheme == "unix" and self._at.path) and not (known and (database or "0").isdigit()):
                raise ValueError
        except ValueError:
            # What was given may hold a password: it is not repeated.
            raise ServingError(
                "This is no address of a Redis.", allowed="redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix://PATH"
            ) from None
        self._port, self._database = port or _PORT, database
        self._opening: asyncio.Task[_Connection] | None = None
        self._connection: _Connection | None = None

    async def take(self, bucket: str, limit: Limit) -> int:
        """Take one request from a bucket, as `SharedLimits.take` says."""
        interval = -(-limit.interval // 1_000)
        key = f"modelyard:limit:{bucket}".encode()
        connection = self._connection
        try:
            async with asyncio.timeout(self._seconds):
                if connection is None or connection.lost:
                    connection = await self._connected()
                spare = await connection.ask(
                    b"EVAL", _TAKE, b"1", key, b"%d" % interval, b"%d" % (interval * limit.burst)
                )
                return int(spare) * 1_000
        except (OSError, ValueError) as error:  # a timeout is an OSError
            if connection is not None:
                connection.close()  # what it may still answer belongs to nobody
            raise Unreachable(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close the connection; taking opens another."""
        if self._opening is not None:
            self._opening.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _connected(self) -> _Connection:
        """Return a connection that is opened beside the requests: one that waits no longer does not end it."""
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # seen, if by nobody else
        return await asyncio.shield(self._opening)

    async def _open(self) -> _Connection:
        loop, at = asyncio.get_running_loop(), self._at
        async with asyncio.timeout(_OPENING_SECONDS):
            if at.scheme == "unix":
                _, made = await loop.create_unix_connection(_Connection, at.path)
            else:
                secure = ssl.create_default_context() if at.scheme == "rediss" else None
                _, made = await loop.create_connection(_Connection, at.hostname or "", self._port, ssl=secure)
            try:
                if at.password:
                    name = [unquote(at.username).encode()] if at.username else []
                    await made.ask(b"AUTH", *name, unquote(at.password).encode())
                if at.scheme != "unix" and self._database:
                    await made.ask(b"SELECT", self._database.encode())
            except BaseException:
                made.close()
                raise
        self._connection = made
        return made


class _Connection(asyncio.Protocol):
    """Commands whose answers are one line each, in the order they were sent."""

    def __init__(self) -> None:
        self.lost = False
        self._loop = asyncio.get_running_loop()
        self._asked: deque[asyncio.Future[bytes]] = deque()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, *words: bytes) -> asyncio.Future[bytes]:
        """Send a command; its answer, without its type, comes later."""
        answer = self._loop.create_future()
        self._asked.append(answer)
        self._transport.write(b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(w), w) for w in words]))
        return answer

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if not self._asked:
                self.close()  # whatever this is, it is no Redis
                return
            answer = self._asked.popleft()
            if answer.done():  # whoever asked no longer waits
                continue
            if line.startswith(b"-"):
                answer.set_exception(ConnectionError(line.decode(errors="replace")))
            else:
                answer.set_result(line[1:])

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(ConnectionError("Redis closed the connection"))
        self._asked.clear()

    def close(self) -> None:
        """Close it; what is not answered fails."""
        self.lost = True
        self._transport.close()
