"""Bodies: how many bytes of requests a worker holds at once, so that neither many nor slow ones fill its memory."""

from __future__ import annotations

from modelyard.serving.asgi import Message, Receive
from modelyard.serving.problem import HttpProblem


class Bodies:
    """The bytes of bodies that a worker holds, and how many it may.

    Parameters
    ----------
    most : int
        What would be more is answered 503.
    """

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.held, self.most = 0, most


class Counted:
    """Receives one request's body and counts it, until the request is answered: bodies wait for their turn whole.

    Parameters
    ----------
    receive : callable
        As ASGI gives it.
    bodies : Bodies
        Where it is counted.
    """

    __slots__ = ("_bodies", "_length", "_receive")

    def __init__(self, receive: Receive, bodies: Bodies) -> None:
        self._receive, self._bodies, self._length = receive, bodies, 0

    async def __call__(self) -> Message:
        """Return the next message.

        Raises
        ------
        HttpProblem
            503 for a part of a body that there is no room for.
        """
        message = await self._receive()
        length = len(message.get("body", b""))
        self._length += length
        self._bodies.held += length
        if self._bodies.held > self._bodies.most:
            # The rest of the body is not read, so the connection cannot be used again.
            fields = [(b"retry-after", b"1"), (b"connection", b"close")]
            raise HttpProblem(503, "The server holds as many bodies as it can; send it again later.", headers=fields)
        return message

    def release(self) -> None:
        """Count the body no more."""
        self._bodies.held -= self._length
