"""Protocols of rows: what they share is the way from a body to the Answerer and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from modelyard.serving.answerer import Answered, Answerer
from modelyard.serving.asgi import JSON, Headers, Receive, Scope, head, path_of, read_body
from modelyard.serving.asked import asked_of
from modelyard.serving.endpoint import Reply
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.predict import LARGE, check_json
from modelyard.serving.problem import HttpProblem
from modelyard.serving.protocols import invocations, open_inference
from modelyard.serving.protocols.sent import Sent
from modelyard.serving.terms import Terms
from modelyard.serving.version import Version

T = TypeVar("T")
_AT = "/rows"
_CSV, _BYTES = b"text/csv", b"application/octet-stream"


class RowsProtocol:
    """What protocols of rows share.

    Parameters
    ----------
    answerer : Answerer
        The way to the model.
    slots : Semaphore
        How many large bodies are answered at a time, over all protocols.
    terms : Terms
        What a body may be, and how long it may take.
    """

    def __init__(self, answerer: Answerer, slots: asyncio.Semaphore, terms: Terms) -> None:
        self.answerer, self._slots = answerer, slots
        self.limit, self._seconds = terms.body_limit, terms.body_seconds

    async def ask(
        self,
        scope: Scope,
        receive: Receive,
        admitted: Admitted,
        version: Version,
        read: Callable[[bytes, Version], tuple[Sent, T]],
    ) -> tuple[T, Answered]:
        """Read a body and answer its rows; pointers of what does not fit are those of the body.

        Parameters
        ----------
        scope, receive, admitted
            The request.
        version : Version
            What answers it.
        read : callable
            From the body to its rows, and to what the answer's form hangs on.
        """
        body = await read_body(receive, self.limit, self._seconds)
        began = time.perf_counter()
        large = len(body) > LARGE
        async with self._slots if large else nullcontext():
            sent, form = await asyncio.to_thread(read, body, version) if large else read(body, version)
            pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
            wanted = asked_of([*pairs, *sent.asked.items()], version.bundle)
            try:
                answered = await self.answerer.answer(
                    sent.rows, wanted, scope, admitted, version=version, at=_AT, began=began
                )
            except HttpProblem as problem:
                raise sent.relocated(problem, _AT) from None
        return form, answered


class Infer(RowsProtocol):
    """Answers the inference endpoint of the Open Inference Protocol."""

    async def __call__(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request."""
        return await self.by(self.answerer.choose(scope), scope, receive, admitted)

    async def by(self, version: Version, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request by one version."""
        try:
            check_json(scope, self.limit, (_BYTES,))
            length = _header_bytes(scope)
            request, answered = await self.ask(
                scope, receive, admitted, version, lambda body, by: open_inference.read(body, length, by.bundle)
            )
        except HttpProblem as problem:
            raise InferProblem(problem) from None
        by = answered.version  # need not be the one that was chosen
        body, json_bytes = open_inference.write(request, answered.answers, by.bundle, answered.id, by.number)
        return 200, JSON if json_bytes is None else _binary(json_bytes), body


class InferVersion:
    """Answers the paths of a version by its number: metadata, readiness and inference of the one that is stable.

    Parameters
    ----------
    infer : Infer
        What answers an inference.
    route : str
        What the paths begin with.
    ready : callable
        Returns whether the server is.
    """

    def __init__(self, infer: Infer, route: str, ready: Callable[[], bool]) -> None:
        self._infer, self._route, self._ready = infer, route, ready

    async def __call__(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request."""
        number, _, verb = path_of(scope).removeprefix(self._route).partition("/")
        stable = self._infer.answerer.router.stable
        if number != stable.number or verb not in ("", "ready", "infer"):
            raise InferProblem(HttpProblem(404, f"There is nothing here. Versions: {stable.number}."))
        method = "POST" if verb == "infer" else "GET"
        if scope["method"] != method:
            raise InferProblem(HttpProblem(405, f"This path takes {method}.", headers=[(b"allow", method.encode())]))
        if verb == "infer":
            return await self._infer.by(stable, scope, receive, admitted)
        if verb == "ready":
            ready = self._ready()
            return 200 if ready else 503, JSON, msgspec.json.encode({"name": stable.name, "ready": ready})
        return 200, JSON, msgspec.json.encode(open_inference.metadata(stable.bundle, [stable.number]))


class InferProblem(HttpProblem):
    """A problem with the protocol's own member ``error`` beside those of RFC 9457."""

    def __init__(self, problem: HttpProblem) -> None:
        super().__init__(problem.status, problem.detail, problem.errors, problem.headers)

    def plain(self) -> dict[str, Any]:
        """Return the members of the problem."""
        first = f" {self.errors[0].pointer}: {self.errors[0].what}." if self.errors else ""
        return {**super().plain(), "error": self.detail + first}


class Invocations(RowsProtocol):
    """Answers ``/invocations``."""

    async def __call__(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request."""
        version = self.answerer.choose(scope)
        read = _csv if check_json(scope, self.limit, (_CSV,)) == _CSV else _json
        if scope.get("query_string"):
            raise HttpProblem(400, "/invocations takes no query; /v1/predict answers with intervals and scores.")
        probabilities, answered = await self.ask(scope, receive, admitted, version, read)
        by = answered.version  # need not be the one that was chosen
        about = {"id": answered.id, **by.about}
        return 200, JSON, invocations.write(answered.answers, about, probabilities, by.bundle)


def _csv(body: bytes, version: Version) -> tuple[Sent, bool]:
    return invocations.read_csv(body, version.bundle, version.unknown), False


def _json(body: bytes, version: Version) -> tuple[Sent, bool]:
    return invocations.read_json(body, version.bundle)


def _header_bytes(scope: Scope) -> int | None:
    said = head(scope).get(b"inference-header-content-length")
    if said is None:
        return None
    if not said.isdigit() or len(said) > 12:
        raise HttpProblem(400, "Inference-Header-Content-Length is no whole number.")
    return int(said)


def _binary(json_bytes: int) -> Headers:
    return ((b"content-type", _BYTES), (b"inference-header-content-length", b"%d" % json_bytes))
