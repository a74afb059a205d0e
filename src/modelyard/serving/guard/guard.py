"""The guard of a server: a bearer credential in the request's head, a permission, a limit."""

from __future__ import annotations

import time
from typing import Literal

from modelyard.serving.asgi import Scope, head
from modelyard.serving.guard import challenge
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.guard.buckets import Buckets
from modelyard.serving.guard.caller import Caller
from modelyard.serving.guard.key import PREFIX
from modelyard.serving.guard.keyring import KeyRing
from modelyard.serving.guard.limit import Limit, SharedLimits, Unreachable
from modelyard.serving.guard.needed import Needed
from modelyard.serving.guard.tokens import Tokens

Otherwise = Literal["local", "deny"]
_HEADER = b"authorization"
_KEY = PREFIX.encode()
_AGAIN = 1.0
"""Seconds for which shared limits that could not be asked are not asked again."""


class BearerGuard:
    """Lets in who brings a good key or token, may do what is wanted, and has requests left.

    Parameters
    ----------
    keys : KeyRing, optional
        Whose keys are good.
    tokens : Tokens, optional
        Whose tokens are good; with both, what begins as a key does is a key.
    shared : SharedLimits, optional
        Buckets shared with other machines; None counts in this process.
    otherwise : {"local", "deny"}
        When those cannot be asked: count in this process, or answer 503.

    References
    ----------
    RFC 6750, "The OAuth 2.0 Authorization Framework: Bearer Token Usage".
    """

    def __init__(
        self,
        keys: KeyRing | None = None,
        tokens: Tokens | None = None,
        *,
        shared: SharedLimits | None = None,
        otherwise: Otherwise = "local",
    ) -> None:
        self._keys, self._tokens = keys, tokens
        self._shared, self._otherwise = shared, otherwise
        self._buckets = Buckets()
        self._limits = Needed("limits")
        self._again = 0.0

    async def admit(self, scope: Scope, wanted: str) -> Admitted:
        """Let a request in, as `Guard.admit` says."""
        credential = _credential(scope)
        caller = self._holder(credential)
        if caller is None and self._tokens is not None:
            caller = await self._tokens.find(credential)
        if caller is None:
            raise challenge.missing()
        _check(caller, wanted)
        if self._shared is None:
            return self._take(caller)
        return _admitted(caller, *await self._ask(caller, self._shared))

    def admit_now(self, scope: Scope, wanted: str) -> Admitted | None:
        """Let in a request with a key whose limit is counted here, as `Guard.admit_now` says."""
        if self._shared is not None:
            return None
        caller = self._holder(_credential(scope))
        if caller is None:
            return None
        _check(caller, wanted)
        return self._take(caller)

    @property
    def schemes(self) -> dict[str, dict[str, str]]:
        """The ways to say who one is, as security schemes of OpenAPI."""
        found = {}
        if self._keys is not None:
            found["key"] = {"type": "http", "scheme": "bearer", "description": f"An API key: {PREFIX}..."}
        if self._tokens is not None:
            found["token"] = {"type": "openIdConnect", "openIdConnectUrl": self._tokens.discovery}
        return found

    @property
    def needs(self) -> tuple[Needed, ...]:
        """What it needs from elsewhere."""
        keys, tokens = self._keys, self._tokens
        return (self._limits, *([keys.needed] if keys else []), *([tokens.needed] if tokens else []))

    def close(self) -> None:
        """Close the file of keys and the connections to shared limits."""
        if self._keys is not None:
            self._keys.close()
        if self._shared is not None:
            self._shared.close()

    def _holder(self, credential: bytes) -> Caller | None:
        """Return whose key it is, None for what is no key."""
        if self._keys is None or (self._tokens is not None and not credential.startswith(_KEY)):
            return None
        return self._keys.find(credential)

    def _take(self, caller: Caller) -> Admitted:
        return _admitted(caller, caller.part, self._buckets.take(caller.bucket, caller.part))

    async def _ask(self, caller: Caller, shared: SharedLimits) -> tuple[Limit, int]:
        now = time.monotonic()
        if not self._limits.lost or now >= self._again:
            self._again = now + _AGAIN  # where they are lost one request finds out; those beside it do not wait for it
            try:
                spare = await shared.take(caller.bucket, caller.limit)
            except Unreachable as error:
                self._limits.gone(error, instead=self._otherwise)
            else:
                self._limits.back()
                return caller.limit, spare
        if self._otherwise == "deny":
            raise challenge.unavailable("Limits cannot be counted at the moment.")
        return caller.part, self._buckets.take(caller.bucket, caller.part)


def _check(caller: Caller, wanted: str) -> None:
    if wanted not in caller.permissions:
        raise challenge.forbidden(wanted)


def _admitted(caller: Caller, limit: Limit, spare: int) -> Admitted:
    if spare < 0:
        raise challenge.too_many(limit, -spare)
    return Admitted(caller.id, limit.headers(spare // limit.interval))


def _credential(scope: Scope) -> bytes:
    """Return what the request's head brings.

    Raises
    ------
    HttpProblem
        401 if it brings nothing, 400 if it brings two.
    """
    by_name = head(scope)
    if len(by_name) < len(scope["headers"]) and [name for name, _ in scope["headers"]].count(_HEADER) > 1:
        # A proxy before this server may have looked at the other one.
        raise challenge.malformed("The header Authorization is sent twice.")
    found = by_name.get(_HEADER)
    if found is None or found[:7].lower() != b"bearer ":
        raise challenge.missing()
    return found[7:].strip()
