"""What goes wrong with a request, as RFC 9457 problem+json."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from modelyard.core.errors import Problem

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 1_000
"""Bad fields one answer lists: a request of thousands of bad rows would get an answer larger than itself."""


class HttpProblem(Exception):
    """A request that gets no prediction, and why.

    Parameters
    ----------
    status : int
        HTTP status code.
    detail : str
        What was wrong, and what would have been right.
    errors : sequence of Problem
        One for each bad field.
    headers : sequence of (bytes, bytes)
        Headers the answer needs, such as ``Allow``.

    References
    ----------
    RFC 9457, "Problem Details for HTTP APIs"; RFC 6901, "JavaScript Object Notation (JSON) Pointer".
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Problem] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, tuple(errors), tuple(headers)

    def plain(self) -> dict[str, Any]:
        """Return the members of the problem."""
        title = HTTPStatus(self.status).phrase
        plain: dict[str, Any] = {
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            plain["errors"] = [{"pointer": e.pointer, "what": e.what, "allowed": e.allowed} for e in self.errors]
        return plain

    def body(self) -> bytes:
        """Return the problem as JSON."""
        return msgspec.json.encode(self.plain())


class NotOffered(HttpProblem):
    """What was asked is nothing that this version, or this server, does: 501.

    Parameters
    ----------
    detail : str
        See `HttpProblem`.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(501, detail)


def without_values(error: BaseException) -> str:
    """Return an error as the server's own log may show it: its type and where it came from.

    Its message may hold values of a row, which no disk is to hold where columns are kept out of the prediction log.
    """
    return "\n".join([type(error).__name__, *traceback.format_tb(error.__traceback__)]).rstrip()


def bad_fields(errors: Sequence[Problem]) -> HttpProblem:
    """Return the problem of rows that do not fit the schema: 422, with every bad field named."""
    count = len(errors)
    if count > MOST_ERRORS:  # counting stops once there are more than are listed
        detail = f"More than {MOST_ERRORS:,} fields do not fit the schema; the first {MOST_ERRORS:,} are listed."
    else:
        detail = f"{count:,} field{' does' if count == 1 else 's do'} not fit the model's schema."
    return HttpProblem(422, detail, errors[:MOST_ERRORS])
