"""Caller: who sends a request, what they may do, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.serving.guard.limit import Limit


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a credential belongs to.

    Attributes
    ----------
    id : str
        Id of the key, or the token's subject.
    bucket : str
        What their requests are counted under: no token's subject is the same as a key's id.
    permissions : frozenset of str
        See `admitted.PERMISSIONS`.
    limit : Limit
        Theirs, over all processes and machines.
    part : Limit
        What one process admits where each counts by itself.
    ends : float
        When the credential ends, seconds since 1970.
    """

    id: str
    bucket: str
    permissions: frozenset[str]
    limit: Limit
    part: Limit
    ends: float
