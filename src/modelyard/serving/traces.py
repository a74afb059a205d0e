"""Traces: what the way of a sampled request leaves behind; who collects it stands behind a protocol.

A server without traces holds none of this: its endpoints and its answerer are the plain ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from modelyard.serving.answerer import Answerer, Served
from modelyard.serving.asgi import Message, Receive, Scope, Send
from modelyard.serving.endpoint import Endpoint, Reply
from modelyard.serving.version import Version

_SPAN, _SAMPLED = "modelyard.span", "modelyard.sampled"
"""Where a request's scope holds its span, and whether it is to have one."""


class Span(Protocol):
    """One sampled request.

    Attributes
    ----------
    trace : str
        Its trace id, 32 hexadecimal digits.
    """

    trace: str

    def note(self, facts: Mapping[str, str | int]) -> None:
        """Say something of the request; no value of a row and no secret."""

    def part(self, name: str, began: float, ended: float) -> None:
        """Add a child span, between two readings of ``time.perf_counter``."""

    def end(self, status: int) -> None:
        """End it with the answer's status, 0 where the caller left before there was one."""


class Traces(Protocol):
    """Where spans go."""

    def sampled(self, scope: Scope) -> bool:
        """Say whether a request is sampled; asked once of each."""

    def begin(self, scope: Scope, route: str) -> Span:
        """Begin the span of a sampled request; never fails and never waits."""

    def close(self) -> None:
        """Send what is left, and wait a few seconds for that at most."""


class Traced:
    """An endpoint whose sampled requests each leave a span.

    Parameters
    ----------
    endpoint : Endpoint
        What answers.
    route : str
        Its path, as metrics show it.
    traces : Traces
        Where spans go.
    """

    def __init__(self, endpoint: Endpoint, route: str, traces: Traces) -> None:
        self._endpoint, self._route, self._traces = endpoint, route, traces

    def at_once(self, scope: Scope, body: bytes, done: Callable[[Reply | None], None]) -> None:
        """Answer a whole request that is not sampled, as `Endpoint.at_once` does."""
        sampled = scope[_SAMPLED] = self._traces.sampled(scope)
        if sampled:
            done(None)
        else:
            self._endpoint.at_once(scope, body, done)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Answer one request; one that is not sampled goes straight to the endpoint, with no step between."""
        sampled = scope[_SAMPLED] if _SAMPLED in scope else self._traces.sampled(scope)
        return self._sampled(scope, receive, send) if sampled else self._endpoint(scope, receive, send)

    async def _sampled(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = self._traces.begin(scope, self._route)
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope[_SPAN] = span
        try:
            await self._endpoint(scope, receive, watched)
        finally:
            span.end(status)


class TracedAnswerer(Answerer):
    """An answerer that says of sampled requests what answered, and logs them under the trace of their span."""

    def choose(self, scope: Scope) -> Version:
        """Return the version that is to answer a request."""
        version = super().choose(scope)
        span: Span | None = scope.get(_SPAN)
        if span is not None:  # now: a request that fails has no other moment
            span.note(_names(version))
        return version

    def keep(self, version: Version, served: Sequence[Served]) -> list[str]:
        """Count and log answered requests, as `Answerer.keep` says."""
        ended = time.perf_counter()
        names = super().keep(version, served)
        for name, one in zip(names, served, strict=True):
            span: Span | None = one.scope.get(_SPAN)
            if span is not None:
                served_by = ",".join(dict.fromkeys(answer["served_by"] for answer in one.answers))
                span.part("model", one.began, ended)
                span.note(
                    {
                        **_names(version),
                        "modelyard.id": name,
                        "modelyard.rows": len(one.rows),
                        "modelyard.served_by": served_by,
                    }
                )
        return names

    def trace(self, scope: Scope) -> str:
        """Return the trace id of a request's span; where it has none, that of its ``traceparent``."""
        span: Span | None = scope.get(_SPAN)
        return super().trace(scope) if span is None else span.trace


def _names(version: Version) -> dict[str, str | int]:
    return {
        "modelyard.model": version.name,
        "modelyard.version": version.number,
        "modelyard.variant": version.variant,
    }
