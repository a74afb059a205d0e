"""Admitted: who sent a request, once the guard has let it in."""

from __future__ import annotations

from typing import Protocol

import msgspec

from modelyard.serving.asgi import Scope

PERMISSIONS = ("predict", "explain", "labels", "metrics", "admin")
"""What a key or a token may be allowed; none includes another."""


class Admitted(msgspec.Struct, frozen=True):
    """A request that was let in.

    A Struct and not a dataclass: one is made for each request, and a frozen dataclass takes four times as long.

    Attributes
    ----------
    key : str
        Id of the API key, or subject of the token; empty without a guard.
    headers : tuple of (bytes, bytes)
        What the answer says about the caller's limit, such as ``RateLimit``.
    """

    key: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


ANYBODY = Admitted()
"""Whoever asks a server without a guard."""


class Guard(Protocol):
    """What lets requests in."""

    @property
    def schemes(self) -> dict[str, dict[str, str]]:
        """The ways to say who one is, as security schemes of OpenAPI."""

    async def admit(self, scope: Scope, wanted: str) -> Admitted:
        """Let a request in.

        Parameters
        ----------
        scope : mapping
            As ASGI gives it; `modelyard.serving.asgi.head` has its headers by name.
        wanted : str
            The permission it takes: one of `PERMISSIONS`.

        Raises
        ------
        HttpProblem
            400 or 401 without a valid key or token, 403 without the permission, 429 over the limit, 503 where that
            cannot be found out.
        """

    def admit_now(self, scope: Scope, wanted: str) -> Admitted | None:
        """Do the same without waiting; None where something has to be waited for."""

    def close(self) -> None:
        """Close files and connections."""
