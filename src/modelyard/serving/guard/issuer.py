"""The issuer of tokens: where its public keys are, fetched when they are needed and kept while they are good."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from modelyard.core.errors import ServingError
from modelyard.core.optional import need
from modelyard.serving.guard.challenge import unavailable
from modelyard.serving.guard.needed import Needed

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a key pair, and no others: what verifies a token must not be able to make one."""
_DISCOVERY = "/.well-known/openid-configuration"
_FRESH = 300.0
"""Seconds after which keys are fetched again beside the requests."""
_STALE = 3_600.0
"""Seconds for which keys are used while the issuer cannot be reached."""
_PAUSE = 10.0
"""Seconds between two fetches: tokens with made-up key ids must not become requests to the issuer."""
_TIMEOUT = 5.0
_MOST = 2**20
LOCAL = ("localhost", "127.0.0.1", "::1")


class Issuer:
    """An OpenID Connect issuer.

    Parameters
    ----------
    url : str
        As in its tokens' ``iss``. The place of its keys is read from its discovery document.

    Raises
    ------
    ServingError
        If it is not an https address; http may be used on this machine alone.
    MissingExtra
        If PyJWT is not installed.

    References
    ----------
    OpenID Connect Discovery 1.0; RFC 7517, "JSON Web Key (JWK)".
    """

    def __init__(self, url: str) -> None:
        _check(url, "issuer")
        self.url = url
        self.discovery = url.rstrip("/") + _DISCOVERY
        self.jwt: Any = need("jwt", "auth", "Checking tokens")
        need("cryptography", "auth", "Checking tokens")
        self._keys: dict[str, Any] = {}
        self._fetched = self._tried = -math.inf
        self.needed = Needed("issuer")
        self._lock = asyncio.Lock()
        self._behind: asyncio.Task[None] | None = None

    async def key(self, id: str) -> Any | None:
        """Return the public key of that id, or None if the issuer has none.

        Raises
        ------
        HttpProblem
            503, if the issuer's keys cannot be had.
        """
        age = time.monotonic() - self._fetched
        if id not in self._keys or age > _STALE:
            await self._fetch()
            if time.monotonic() - self._fetched > _STALE:
                raise unavailable("The issuer of tokens cannot be reached.")
        elif age > _FRESH and (self._behind is None or self._behind.done()):
            self._behind = asyncio.create_task(self._fetch())
        return self._keys.get(id)

    async def _fetch(self) -> None:
        async with self._lock:
            if time.monotonic() - self._tried < _PAUSE:
                return  # somebody else just did, or it is too soon
            self._tried = time.monotonic()
            try:
                self._keys = await asyncio.to_thread(self._read)
                self._fetched = time.monotonic()
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.needed.gone(error)
            else:
                self.needed.back()

    def _read(self) -> dict[str, Any]:
        """Return the issuer's signing keys by id.

        Raises
        ------
        OSError, ValueError, HTTPException
            If they cannot be had.
        """
        described = _get(self.discovery)
        if described.get("issuer") != self.url:
            raise ValueError(f"{self.url} calls itself {described.get('issuer')!r}")
        place = str(described.get("jwks_uri"))
        try:
            _check(place, "issuer's key set")
        except ServingError as error:
            raise ValueError(str(error)) from error
        found = {}
        listed = _get(place).get("keys")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict) and one.get("kty") != "oct" and one.get("use", "sig") == "sig" and "kid" in one:
                try:
                    key = self.jwt.PyJWK(one)
                except self.jwt.PyJWTError:  # of a kind that cannot be used here; the others can
                    continue
                if key.algorithm_name in ALGORITHMS:
                    found[str(one["kid"])] = key
        if not found:
            raise ValueError(f"{place} holds no signing key with an id")
        return found


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: keys come from where the issuer says they are."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _get(url: str) -> Mapping[str, Any]:
    opener = urllib.request.build_opener(_Unmoved())
    with opener.open(url, timeout=_TIMEOUT) as answer:
        content = answer.read(_MOST + 1)
    found = json.loads(content) if len(content) <= _MOST else None
    if not isinstance(found, dict):
        raise ValueError(f"{url} does not answer with a JSON object")
    return found


def _check(url: str, what: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise ServingError(
            f"The {what} is not an https address.",
            where=url,
            allowed="https://...; http on this machine alone.",
        )
