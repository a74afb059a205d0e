"""Key: a named caller with a secret of which only the hash is kept.

A secret is 256 random bits, so that its SHA-256 says nothing about it and one hash is enough. bcrypt and its like
slow down the guessing of what people choose; nobody guesses 256 bits, and the server would pay 50 ms for each request.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "modelyard_"
"""Secrets begin with it, so that scanners of code and logs recognise one."""
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_ID = 8
ID = slice(len(PREFIX), len(PREFIX) + _ID)
"""Where a secret says which key it is of."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A hash that lets its key in.

    Attributes
    ----------
    digest : bytes
        SHA-256 of the whole secret.
    created : float
        Seconds since 1970.
    ends : float or None
        When it ends, set when another took its place.
    """

    digest: bytes
    created: float
    ends: float | None


@dataclass(frozen=True, slots=True)
class Key:
    """A named caller.

    Attributes
    ----------
    id : str
        Eight letters and digits, part of each of its secrets; logs and limits know the caller by it.
    name : str
        What a person calls it; one key that is not revoked has it.
    permissions : tuple of str
        See `admitted.PERMISSIONS`.
    rate, burst : int or None
        Its own limit; None takes the server's.
    created, expires, revoked : float or None
        Seconds since 1970.
    by : str
        Who made it.
    secrets : tuple of Secret
        Newest first.
    """

    id: str
    name: str
    permissions: tuple[str, ...]
    rate: int | None
    burst: int | None
    created: float
    by: str
    expires: float | None
    revoked: float | None
    secrets: tuple[Secret, ...]

    def state(self, now: float) -> str:
        """Return "live", "rotating" (an older secret still lets it in), "expired" or "revoked"."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        return "rotating" if sum(s.ends is None or s.ends > now for s in self.secrets) > 1 else "live"


def new_id() -> str:
    """Return a new key's id."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID))


def new_secret(id: str) -> str:
    """Return a new secret of a key: prefix, id, 256 random bits."""
    return f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"


def digest(secret: bytes) -> bytes:
    """Return what is kept of a secret."""
    return sha256(secret).digest()
