"""Admitted: a request that may be answered, whose it is, and what it tells its sender of their limit."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple, Protocol

Scope = MutableMapping[str, Any]

PERMISSIONS = ("predict", "explain", "labels", "metrics", "admin")
"""What a key or a token may be allowed; none includes another."""


class Admitted(NamedTuple):
    """A request that may be answered: one is made for each, and a tuple is made sooner than a frozen dataclass.

    Attributes
    ----------
    key : str
        Id of the key, or the token's subject; empty without a guard.
    headers : tuple of (bytes, bytes)
        What the answer says of the limit.
    """

    key: str
    headers: tuple[tuple[bytes, bytes], ...]


ANONYMOUS = Admitted("", ())


class Guard(Protocol):
    """What stands before the paths of a server."""

    async def admit(self, scope: Scope, wanted: str) -> Admitted:
        """Let a request in, or raise the problem that says why not.

        Parameters
        ----------
        scope : mapping
            The request, as ASGI gives it.
        wanted : str
            The permission its path asks for.

        Raises
        ------
        HttpProblem
            400 or 401 where it does not say who sends it, 403 where they may not do this, 429 where their limit is
            used up, 503 where that cannot be found out.
        """
