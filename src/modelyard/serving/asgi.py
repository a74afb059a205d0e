"""ASGI in types, and the few things every path does with a request: its headers, its body, its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
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


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return a request's body.

    Raises
    ------
    HttpProblem
        413 over `limit` bytes.
    ConnectionAbortedError
        If the caller has gone.
    """
    parts = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        part = message.get("body", b"")
        length += len(part)
        if length > limit:
            raise too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(limit: int) -> HttpProblem:
    """Return the problem of a body over `limit` bytes."""
    # The rest of the body is not read, so the connection cannot be used again.
    return HttpProblem(413, f"The body may have {limit:,} bytes; send fewer rows.", headers=[(b"connection", b"close")])


async def reply(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer whole."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
