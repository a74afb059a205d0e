"""ASGI in types, and the few things every path does with a request: its headers, its body, its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from typing import Any, Protocol

from modelyard.serving.problem import HttpProblem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON: Headers = ((b"content-type", b"application/json"),)
_HEAD = "modelyard.head"


class Asgi(Protocol):
    """An ASGI application, or the part of one that answers a path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""


def head(scope: Scope) -> dict[bytes, bytes]:
    """Return a request's headers by lower-case name, read once; of one sent twice the last counts."""
    found: dict[bytes, bytes] | None = scope.get(_HEAD)
    if found is None:
        found = scope[_HEAD] = dict(scope["headers"])
    return found


def path_of(scope: Scope) -> str:
    """Return a request's path, below where the application is mounted or a proxy has put it (``root_path``)."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        return path[len(root) :]
    return path


async def read_body(receive: Receive, limit: int, seconds: float = 10.0) -> bytes:
    """Return a request's body.

    Parameters
    ----------
    receive : callable
        As ASGI gives it.
    limit : int
        Bytes it may have.
    seconds : float
        How long it may take to arrive.

    Raises
    ------
    HttpProblem
        413 over `limit` bytes, 408 when it takes too long.
    ConnectionAbortedError
        If the caller has gone.
    """
    # Nearly every body is there with its head: no clock is started until one is not.
    steps = receive().__await__()
    try:
        first = next(steps)
    except StopIteration as done:
        message: Message = done.value
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise too_large(limit) from None
            return body
    else:
        message = {"type": "waiting", "step": _Begun(first, steps)}
    try:
        async with asyncio.timeout(seconds):
            return await _rest(message, receive, limit)
    except TimeoutError:
        raise HttpProblem(
            408, f"The body did not arrive within {seconds:g} seconds.", headers=[(b"connection", b"close")]
        ) from None


async def _rest(message: Message, receive: Receive, limit: int) -> bytes:
    if message["type"] == "waiting":
        message = await message["step"]
    parts = []
    length = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        part = message.get("body", b"")
        length += len(part)
        if length > limit:
            raise too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


class _Begun:
    """The rest of something awaited, of which the first step is done."""

    def __init__(self, first: Any, steps: Generator[Any, Any, Any]) -> None:
        self._first, self._steps = first, steps

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            yield self._first
        except BaseException as error:
            return self._steps.throw(error)
        return (yield from self._steps)


def too_large(limit: int) -> HttpProblem:
    """Return the problem of a body over `limit` bytes."""
    # The rest of the body is not read, so the connection cannot be used again.
    return HttpProblem(413, f"The body may have {limit:,} bytes; send fewer rows.", headers=[(b"connection", b"close")])


async def reply(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer whole."""
    if status != 204:
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
