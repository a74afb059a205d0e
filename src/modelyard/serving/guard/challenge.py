"""The refusals of a guard: who are you, you may not, not now."""

from __future__ import annotations

from modelyard.serving.guard.limit import Limit
from modelyard.serving.problem import HttpProblem

_REALM = 'Bearer realm="modelyard"'
_SECOND = 10**9


def missing() -> HttpProblem:
    """Return the problem of a request that does not say who sends it."""
    return _challenge(401, "Send a key or a token: 'Authorization: Bearer ...'.")


def malformed(detail: str) -> HttpProblem:
    """Return the problem of a request that says it in a way nobody can read."""
    return _challenge(400, detail, "invalid_request")


def invalid(detail: str) -> HttpProblem:
    """Return the problem of a key or token that is not valid; `detail` holds none of it."""
    return _challenge(401, detail, "invalid_token")


def forbidden(wanted: str) -> HttpProblem:
    """Return the problem of a caller who may not do this."""
    return _challenge(403, f"This needs the permission '{wanted}'.", "insufficient_scope", f', scope="{wanted}"')


def too_many(limit: Limit, wait: int) -> HttpProblem:
    """Return the problem of a caller whose limit is used up, for so many nanoseconds."""
    seconds = -(-wait // _SECOND)
    detail = f"The limit of {limit.burst:,} requests in {limit.window:,} s is used up."
    return HttpProblem(429, detail, headers=[(b"retry-after", b"%d" % seconds), *limit.headers(0, seconds)])


def unavailable(detail: str) -> HttpProblem:
    """Return the problem of a request of which it cannot be found out whether it may be answered."""
    return HttpProblem(503, detail, headers=[(b"retry-after", b"1")])


def _challenge(status: int, detail: str, error: str = "", more: str = "") -> HttpProblem:
    """Return a problem with the header of RFC 6750, section 3.

    A request without a credential is told no error code, as the RFC asks.
    """
    said = f'{_REALM}, error="{error}", error_description="{detail}"{more}' if error else _REALM
    return HttpProblem(status, detail, headers=[(b"www-authenticate", said.encode())])
