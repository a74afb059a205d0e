"""Bearer tokens of an OpenID Connect issuer: verified once, and remembered until they expire."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any

from modelyard.core.errors import ServingError
from modelyard.serving.guard.caller import Caller
from modelyard.serving.guard.challenge import invalid
from modelyard.serving.guard.issuer import ALGORITHMS, Issuer
from modelyard.serving.guard.limit import Limit

LEEWAY = 30.0
"""Seconds by which the clocks of issuer and server may differ."""
_LONGEST = 16 * 2**10
_MOST = 10_000
"""Tokens remembered; the first ones go when there are more."""


class Tokens:
    """Finds the caller of a token.

    A token is good if the issuer signed it with a key pair of its own, it is for this audience, and its time has come
    and is not over. Its permissions are its scopes. It is remembered by its hash, so that a signature is checked once.

    Parameters
    ----------
    issuer : Issuer
        Whose tokens.
    audience : str
        Whom they must be for: this server.
    limit : Limit
        Of each subject.
    workers : int
        Processes that divide limits.
    prefix : str
        What the issuer writes before a permission to make a scope of it, such as ``"modelyard:"``.

    References
    ----------
    RFC 7519, "JSON Web Token (JWT)"; RFC 8725, "JSON Web Token Best Current Practices"; RFC 9068, "JWT Profile for
    OAuth 2.0 Access Tokens".
    """

    def __init__(self, issuer: Issuer, audience: str, limit: Limit, workers: int = 1, prefix: str = "") -> None:
        if not audience:
            raise ServingError("Tokens need an audience.", do="Name this server as the issuer does: --audience NAME")
        self._issuer, self._audience, self._prefix = issuer, audience, prefix
        self._limit, self._part = limit, limit.divided(workers)
        self._jwt: Any = issuer.jwt
        self._known: dict[bytes, Caller] = {}
        self.discovery, self.needed = issuer.discovery, issuer.needed

    async def find(self, token: bytes) -> Caller:
        """Return whose token this is.

        Raises
        ------
        HttpProblem
            401 if it is not good, 503 if the issuer's keys cannot be had.
        """
        digest = sha256(token).digest()
        caller = self._known.get(digest)
        if caller is None:
            caller = await self._verified(token)
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[digest] = caller
        elif caller.ends <= time.time():
            del self._known[digest]
            raise invalid("The token has expired.")
        return caller

    async def _verified(self, token: bytes) -> Caller:
        jwt = self._jwt
        if len(token) > _LONGEST:
            raise invalid("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError
            key = await self._issuer.key(str(header.get("kid")))
            if key is None:
                raise invalid("The token is signed with a key that the issuer does not have.")
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._issuer.url,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise invalid(self._why(error)) from None
        subject = claims.get("sub") or claims.get("client_id")
        if not subject or not isinstance(subject, str):
            raise invalid("The token names no subject.")
        return Caller(
            subject,
            f"token:{subject}",
            self._permissions(claims),
            self._limit,
            self._part,
            float(claims["exp"]) + LEEWAY,
        )

    def _permissions(self, claims: dict[str, Any]) -> frozenset[str]:
        """Return a token's scopes, in ``scope`` (RFC 9068) or ``scp`` (some issuers), without their prefix."""
        scopes = claims.get("scope", claims.get("scp", ()))
        listed = scopes.split() if isinstance(scopes, str) else scopes
        found = (s for s in listed if isinstance(s, str)) if isinstance(listed, list | tuple) else ()
        return frozenset(s.removeprefix(self._prefix) for s in found if s.startswith(self._prefix))

    def _why(self, error: Exception) -> str:
        jwt = self._jwt
        told = (
            (jwt.ExpiredSignatureError, "The token has expired."),
            (jwt.ImmatureSignatureError, "The token is not good yet."),
            (jwt.InvalidAudienceError, "The token is for another audience."),
            (jwt.InvalidIssuerError, "The token is from another issuer."),
            (jwt.MissingRequiredClaimError, "The token lacks one of exp, iss and aud."),
            (jwt.InvalidAlgorithmError, "The token is not signed in a way that is accepted."),
            (jwt.InvalidSignatureError, "The token's signature is wrong."),
        )
        return next((text for kind, text in told if isinstance(error, kind)), "The token is not valid.")
