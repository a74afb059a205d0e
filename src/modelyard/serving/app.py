"""The server: one raw ASGI callable on the request path, and a FastAPI application for everything else."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import Problem, RowError
from modelyard.serving.asked import NOTHING, Asked, asked
from modelyard.serving.log import PredictionLog, Record
from modelyard.serving.metrics import Metrics
from modelyard.serving.predictor import Predictor, Row, Unanswered, predictor
from modelyard.serving.problem import MEDIA_TYPE, MOST_ERRORS, HttpProblem, bad_fields
from modelyard.serving.rest import ROUTES, rest
from modelyard.serving.rows import check_rows, example_rows

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH = "/v1/predict"
BODY_LIMIT = 2**20
_JSON = [(b"content-type", b"application/json")]
_WARM = 50
_INLINE = 32
"""Rows up to which a request is answered at once; more go to a thread, so that health checks are not kept waiting."""
_LARGE = 2**16
_LARGE_AT_ONCE = 2
"""A body over `_LARGE` bytes takes many times its length once parsed, so that only so many are answered at a time; the
others wait as the bytes they came in."""
_SLICE = 1_000
"""Rows checked and scored at a time: what scoring takes does not grow with the request."""
_REFUSALS_EVERY = 1.0
"""Seconds between two lines about refused requests: one tells which fields, the counters how many."""
_SHOWN = 10

_LOGGER = logging.getLogger("modelyard.serving")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class App:
    """A bundle behind HTTP, as an ASGI application.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    log : PredictionLog, optional
        Where answered requests are written before they are answered; None keeps none.
    body_limit : int
        Bytes a request's body may have.
    version, variant : str, optional
        Labels of the metrics: the release's version (default: the bundle's short hash), and the arm of a rollout.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        log: PredictionLog | None = None,
        body_limit: int = BODY_LIMIT,
        version: str | None = None,
        variant: str = "stable",
    ) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.ready = False
        self._schema = bundle.schema
        self._log = log
        self._body_limit = body_limit
        self._about = {"model": manifest.name, "bundle": bundle.hash[:12]}
        limit = manifest.brief.latency
        self.metrics = Metrics(
            manifest.name, version or bundle.hash[:12], variant, None if limit is None else limit.milliseconds / 1e3
        )
        self._predictor: Predictor = predictor(bundle, self.metrics.source_failed)
        self._instances = "instances" not in {c.name for c in bundle.schema.columns}
        self._start = os.urandom(6).hex()
        self._count = 0
        self._reported, self._unreported = -_REFUSALS_EVERY, 0
        self._slots = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._rest = rest(self)

    def warm(self) -> dict[str, Any]:
        """Answer example rows until the first caller finds everything loaded; return the answer to the first one."""
        rows = [self._schema.check_row(row) for row in example_rows(self.bundle)]
        for i in range(_WARM):
            self._predictor.predict([rows[i % len(rows)]])
        return {"id": self._next(), **self._predictor.predict(rows[:1])[0].plain(), **self._about}

    def drain(self) -> None:
        """Stop being ready: load balancers send no more, requests that still come are answered."""
        self.ready = False

    def close(self) -> None:
        """Close the prediction log."""
        if self._log is not None:
            self._log.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event, as ASGI says."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
        elif scope["path"] == PATH:
            await self._predict(scope, receive, send)
        else:
            await self._other(scope, receive, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            status, headers, body = 200, _JSON, await self._answer(scope, receive)
        except HttpProblem as problem:
            status, body = problem.status, problem.body()
            if status < 500:
                self._report(problem)
            headers = [(b"content-type", MEDIA_TYPE.encode()), *problem.headers]
        except ConnectionAbortedError:
            return
        except Exception:
            _LOGGER.exception("a request failed")
            status, body = 500, HttpProblem(500, "The server failed; its own log says why.").body()
            headers = [(b"content-type", MEDIA_TYPE.encode())]
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})
        self.metrics.observe(scope["method"], PATH, status, time.perf_counter() - began)

    def _report(self, problem: HttpProblem) -> None:
        """Write one line about a refused request, without any of its values, and at most one in a while."""
        now = time.monotonic()
        if now - self._reported < _REFUSALS_EVERY:
            self._unreported += 1
            return
        known = {column.name for column in self._schema.columns}
        parts = (p.replace("~1", "/").replace("~0", "~") for e in problem.errors for p in e.pointer.split("/"))
        fields = list(dict.fromkeys(part for part in parts if part in known))[:_SHOWN]
        line = {"event": "refused", "status": problem.status, "fields": fields, "unreported_before": self._unreported}
        _LOGGER.warning("%s", _encode(line).decode())
        self._reported, self._unreported = now, 0

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        _check_head(scope, self._body_limit)
        query = scope.get("query_string")
        wanted = asked(query, self.bundle) if query else NOTHING
        body = await _body(receive, self._body_limit)
        began = time.perf_counter()
        if len(body) <= _LARGE:
            return await self._reply(*self._rows(body), wanted, began)
        async with self._slots:
            return await self._reply(*await asyncio.to_thread(self._rows, body), wanted, began)

    async def _reply(self, rows: list[Any], many: bool, wanted: Asked, began: float) -> bytes:
        try:
            if len(rows) > _INLINE:
                answers = await asyncio.to_thread(self._answers, rows, many, wanted)
            else:
                answers = self._answers(rows, many, wanted)
        except RowError as error:
            raise bad_fields(error.problems) from None
        except Unanswered:
            raise HttpProblem(503, "Neither the model nor a fallback could answer.") from None
        self.metrics.predictions.inc(len(rows))
        name = self._next()
        self._write(name, rows, answers, time.perf_counter() - began)
        if many:
            return _encode({"id": name, "predictions": answers, **self._about})
        return _encode({"id": name, **answers[0], **self._about})

    def _rows(self, body: bytes) -> tuple[list[Any], bool]:
        """Return the rows of a body as they were sent, and whether they came as a list."""
        try:
            sent = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise HttpProblem(400, f"The body is not valid JSON: {error}.") from None
        if not isinstance(sent, dict):
            raise HttpProblem(400, 'The body must be one row as an object, or {"instances": [row, ...]}.')
        if not self._instances or "instances" not in sent:
            return [sent], False
        rows = sent["instances"]
        if len(sent) > 1 or not isinstance(rows, list) or not rows:
            raise HttpProblem(400, 'Many rows are sent as {"instances": [row, ...]}: one or more, and nothing else.')
        return rows, True

    def _answers(self, rows: Sequence[Any], many: bool, wanted: Asked) -> list[dict[str, Any]]:
        if not many:
            return self._score([self._schema.check_row(rows[0])], "", wanted)
        answers: list[dict[str, Any]] = []
        problems: list[Problem] = []
        for first in range(0, len(rows), _SLICE):
            try:
                checked = check_rows(self._schema, rows[first : first + _SLICE], "/instances", first)
                if not problems:  # the request is refused; the other rows are still checked, and not scored
                    answers += self._score(checked, "/instances", wanted, first)
            except RowError as error:
                problems += error.problems
                if len(problems) > MOST_ERRORS:
                    break  # more than an answer lists
        if problems:
            raise RowError(problems)
        return answers

    def _score(self, checked: Sequence[Row], pointer: str, wanted: Asked, first: int = 0) -> list[dict[str, Any]]:
        try:
            return [prediction.plain() for prediction in self._predictor.predict(checked, wanted)]
        except RowError as error:
            # The model counts the rows it was given from 0; the caller's pointers begin at the body's root.
            for problem in error.problems:
                _, number, rest = problem.pointer.split("/", 2)
                problem.pointer = f"{pointer}/{first + int(number)}/{rest}" if pointer else f"/{rest}"
            raise

    def _write(self, name: str, rows: list[Any], answers: list[dict[str, Any]], seconds: float) -> None:
        if self._log is None:
            return
        about = self._about
        record = Record(name, time.time(), about["model"], self.bundle.hash, rows, answers, 1e3 * seconds)
        # Before the answer is sent: what a caller was told is always in the log.
        if self._log.append(record):
            self.metrics.log_records.inc()
        else:
            self.metrics.log_failures.inc()

    def _next(self) -> str:
        self._count += 1
        return f"{self._start}-{self._count:x}"

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._rest(scope, receive, watched)
        finally:
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self.metrics.observe(scope["method"], route, status, time.perf_counter() - began)


def _check_head(scope: Scope, limit: int) -> None:
    """Refuse what the request's head already shows to be wrong."""
    if scope["method"] != "POST":
        raise HttpProblem(405, f"{PATH} takes POST.", headers=[(b"allow", b"POST")])
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.split(b";", 1)[0].strip().lower()
            if kind != b"application/json" and not kind.endswith(b"+json"):
                shown = kind.decode("latin-1")
                raise HttpProblem(415, f"The body is sent as {shown}; send it with Content-Type: application/json.")
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise HttpProblem(
                415, "The body is compressed; send it as it is.", headers=[(b"accept-encoding", b"identity")]
            )
        elif name == b"content-length" and int(value) > limit:
            raise _too_large(limit)


async def _body(receive: Receive, limit: int) -> bytes:
    parts = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        part = message.get("body", b"")
        length += len(part)
        if length > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> HttpProblem:
    # The rest of the body is not read, so the connection cannot be used again.
    return HttpProblem(413, f"The body may have {limit:,} bytes; send fewer rows.", headers=[(b"connection", b"close")])
