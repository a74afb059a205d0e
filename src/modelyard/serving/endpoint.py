"""Endpoint: one path of the server; what every path shares stands here, what it answers in its own file."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from modelyard.serving.asgi import Headers, Receive, Scope, Send, reply
from modelyard.serving.guard.admitted import ANYBODY, Admitted, Guard
from modelyard.serving.metrics import Metrics
from modelyard.serving.problem import MEDIA_TYPE, HttpProblem, without_values

Reply = tuple[int, Headers, bytes]
Answer = Callable[[Scope, Receive, Admitted], Awaitable[Reply]]
Done = Callable[[Reply | Exception | None], None]
"""Is told an answer, what went wrong, or None where the request needs the long way; asked for it, or soon after."""
AtOnce = Callable[[Scope, bytes, Admitted, Done], None]

_PROBLEM = (b"content-type", MEDIA_TYPE.encode())
_REFUSALS_EVERY = 1.0
"""Seconds between two lines about refused requests: one tells which fields, the counters how many."""
_SHOWN = 10
_ADMITTED = "modelyard.admitted"
"""Where a request's scope says that it was let in already: no bucket is asked twice."""
_LOGGER = logging.getLogger("modelyard.serving")


class Load:
    """How many requests are under way, and how many may be.

    Parameters
    ----------
    most : int
        One more is answered 503, so that those under way end in time.
    """

    __slots__ = ("count", "most")

    def __init__(self, most: int) -> None:
        self.count, self.most = 0, most


class Refusals:
    """Tells of refused requests in the server's own log: one line in a while, without any of their values.

    Parameters
    ----------
    known : callable
        Returns the names that may be written: the model's columns.
    """

    def __init__(self, known: Callable[[], frozenset[str]]) -> None:
        self._known = known
        self._told, self._untold = -_REFUSALS_EVERY, 0

    def tell(self, problem: HttpProblem) -> None:
        """Write a line about a refused request, or count it for the next line."""
        now = time.monotonic()
        if now - self._told < _REFUSALS_EVERY:
            self._untold += 1
            return
        known = self._known()
        parts = (p.replace("~1", "/").replace("~0", "~") for e in problem.errors for p in e.pointer.split("/"))
        fields = list(dict.fromkeys(part for part in parts if part in known))[:_SHOWN]
        line = {"event": "refused", "status": problem.status, "fields": fields, "unreported_before": self._untold}
        _LOGGER.warning("%s", msgspec.json.encode(line).decode())
        self._told, self._untold = now, 0


class Endpoint:
    """A path that is guarded, counted, and answers problems as RFC 9457 says.

    Parameters
    ----------
    route : str
        Its path, as metrics show it.
    answer : callable
        ``await answer(scope, receive, admitted)`` returns status, headers and body, or raises HttpProblem.
    at_once : callable or None
        ``at_once(scope, body, admitted, done)`` does the same for a whole request that waits for nothing but the model,
        and tells ``done``.
    metrics : Metrics
        Where requests are counted.
    refusals : Refusals
        Where refused requests are told.
    load : Load
        Where requests under way are counted.
    headers : sequence of (bytes, bytes)
        What every answer says; may be changed while it answers.
    guard : Guard, optional
        What lets requests in; None lets everybody in.
    wanted : str
        The permission a request needs.
    methods : sequence of str
        What it takes.
    """

    def __init__(
        self,
        route: str,
        answer: Answer,
        at_once: AtOnce | None,
        metrics: Metrics,
        refusals: Refusals,
        load: Load,
        *,
        headers: Headers = (),
        guard: Guard | None = None,
        wanted: str = "predict",
        methods: Sequence[str] = ("POST",),
    ) -> None:
        self.route = route
        self._answer, self._at_once = answer, at_once
        self._guard, self._wanted, self._methods = guard, wanted, tuple(methods)
        self._observe, self._refusals, self._load, self._headers = metrics.observe, refusals, load, headers

    def at_once(self, scope: Scope, body: bytes, done: Callable[[Reply | None], None]) -> None:
        """Answer a POST that is there whole, within this turn of the event loop; None leaves it to `__call__`.

        A server that has the whole body asks this first: most requests need no more, and what it takes to wait (a task,
        events, messages in and out) takes as long as the answer.

        Parameters
        ----------
        scope : mapping
            Of which the headers are enough.
        body : bytes
            The whole.
        done : callable
            Is told the answer, or None.
        """
        if self._at_once is None or self._load.count >= self._load.most:
            done(None)
            return
        began = time.perf_counter()
        admitted = ANYBODY

        def told(found: Reply | Exception | None) -> None:
            if found is None:
                scope[_ADMITTED] = admitted
                done(None)
            else:
                answer = self._whole(found, admitted)
                self._observe("POST", self.route, answer[0], time.perf_counter() - began)
                done(answer)

        try:
            if self._guard is not None:
                let_in = self._guard.admit_now(scope, self._wanted)
                if let_in is None:
                    done(None)
                    return
                admitted = let_in
            self._at_once(scope, body, admitted, told)
        except Exception as error:
            told(error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        load = self._load
        load.count += 1
        admitted = ANYBODY
        found: Reply | Exception
        try:
            if load.count > load.most:
                raise HttpProblem(503, "The server has all it can do.", headers=[(b"retry-after", b"1")])
            if scope["method"] not in self._methods:
                found = self._options(scope["method"])
            else:
                if self._guard is not None:
                    admitted = scope.get(_ADMITTED) or await self._guard.admit(scope, self._wanted)
                found = await self._answer(scope, receive, admitted)
        except ConnectionAbortedError:
            return
        except Exception as error:
            found = error
        finally:
            load.count -= 1
        status, headers, body = self._whole(found, admitted)
        del found  # an error's trace holds this frame, and through it the body: a cycle that would keep it for long
        await reply(send, status, headers, body)
        self._observe(scope["method"], self.route, status, time.perf_counter() - began)

    def _whole(self, found: Reply | Exception, admitted: Admitted) -> Reply:
        """Return an answer, or what tells of an error, with what every answer says."""
        status, headers, body = self._refuse(found) if isinstance(found, Exception) else found
        if admitted.headers or self._headers:
            headers = [*headers, *admitted.headers, *self._headers]
        return status, headers, body

    def _options(self, method: str) -> Reply:
        allowed = [(b"allow", ", ".join((*self._methods, "OPTIONS")).encode())]
        if method == "OPTIONS":
            return 204, allowed, b""
        raise HttpProblem(405, f"{self.route} takes {' and '.join(self._methods)}.", headers=allowed)

    def _refuse(self, error: Exception) -> tuple[int, Any, bytes]:
        if isinstance(error, HttpProblem):
            if error.status < 500:
                self._refusals.tell(error)
            return error.status, [_PROBLEM, *error.headers], error.body()
        _LOGGER.error("a request failed: %s", without_values(error))
        return 500, [_PROBLEM], HttpProblem(500, "The server failed; its own log says why.").body()
