"""``/v1/predict``: one row as an object, or many as instances."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from itertools import groupby
from typing import Any

import msgspec

from modelyard.serving.answerer import Answerer, Served
from modelyard.serving.asgi import JSON, Receive, Scope, head, read_body, too_large
from modelyard.serving.asked import NOTHING, Asked, asked
from modelyard.serving.endpoint import Answer, Done, Reply
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.horizon import asks_ahead, forecasts, rows_ahead
from modelyard.serving.problem import HttpProblem
from modelyard.serving.terms import Terms
from modelyard.serving.turn import Turn, Waiting
from modelyard.serving.version import Version

PATH = "/v1/predict"
LARGE = 2**16
_LARGE_AT_ONCE = 2
"""A body over `LARGE` bytes takes many times its length once parsed, so that only so many are answered at a time; the
others wait as the bytes they came in."""
_CHOSEN = "modelyard.version"
"""Where a request's scope says which version could not answer it at once. Chance chooses once: a second choice would
give nearly every failure of a candidate with a small share to the other version, and it would be counted nowhere."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Predict:
    """Answers ``/v1/predict``.

    Parameters
    ----------
    answerer : Answerer
        The way to the model.
    terms : Terms
        What a body may be, and how long it may take.

    Attributes
    ----------
    turn : Turn
        Where rows wait for the model that came whole.
    slots : Semaphore
        How many large bodies are answered at a time.
    also : dict of bytes to callable
        What answers bodies of other media types.
    """

    def __init__(self, answerer: Answerer, terms: Terms) -> None:
        self._answerer, self._limit, self._seconds = answerer, terms.body_limit, terms.body_seconds
        self.turn = Turn(self._together)
        self.slots = asyncio.Semaphore(_LARGE_AT_ONCE)
        self.also: dict[bytes, Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request."""
        if (other := self.also.get(head(scope).get(b"content-type", b""))) is not None:
            return await other(scope, receive, admitted)
        check_json(scope, self._limit)
        met: Version | None = scope.get(_CHOSEN)
        version = self._answerer.choose(scope) if met is None else met
        query = scope.get("query_string")
        wanted = asked(query, version.bundle) if query else NOTHING
        body = await read_body(receive, self._limit, self._seconds)
        began = time.perf_counter()
        if len(body) <= LARGE:
            if met is None and not query and version.quick is not None and (found := version.quick(body)) is not None:
                row, sent, answer = found
                served = _served(row, sent, answer, began, scope, admitted)
                (name,) = self._answerer.keep(version, [served])
                return _reply(name, served, version)
            return await self._answer(*read_rows(body, version), wanted, scope, admitted, version, began)
        async with self.slots:
            rows, many, steps = await asyncio.to_thread(read_rows, body, version)
            return await self._answer(rows, many, steps, wanted, scope, admitted, version, began)

    def at_once(self, scope: Scope, body: bytes, admitted: Admitted, done: Done) -> None:
        """Answer a request without a query whose body is one row that plainly fits; any other needs `__call__`.

        Rows that are there at the same time are answered by one call of the model. While two versions share the
        requests each is answered alone: their times are compared.
        """
        began = time.perf_counter()
        sent = head(scope)
        plain = (
            sent.get(b"content-type", b"application/json") == b"application/json" and b"content-encoding" not in sent
        )
        if not plain or len(body) > min(LARGE, self._limit):
            done(None)
            return
        version = self._answerer.choose(scope)
        quick = version.quick
        scope[_CHOSEN] = version
        if quick is None or (found := quick.read(body)) is None:
            done(None)
            return
        waiting = Waiting(version, quick, body, *found, began, scope, admitted, done)
        if self._answerer.router.compares:
            self._score([waiting])
        else:
            self.turn.add(waiting)

    def _together(self, waiting: list[Waiting]) -> None:
        for _, some in groupby(waiting, lambda one: id(one.version)):
            self._score(list(some))

    def _score(self, waiting: list[Waiting]) -> None:
        version, quick = waiting[0].version, waiting[0].quick
        try:
            answers = quick.answer([one.given for one in waiting])
            served = []
            for one, answer in zip(waiting, answers, strict=True):
                if answer is not None:
                    quick.keep((one.body, answer))
                    text = quick.text(one.body, one.row)
                    served.append(_served(one.row, text, answer, one.began, one.scope, one.admitted))
            told = zip(self._answerer.keep(version, served), served, strict=True)
        except Exception as error:
            for one in waiting:
                one.done(error)
            return
        for one, answer in zip(waiting, answers, strict=True):
            one.done(None if answer is None else _reply(*next(told), version))

    async def _answer(
        self,
        rows: list[Any],
        many: bool,
        steps: int,
        wanted: Asked,
        scope: Scope,
        admitted: Admitted,
        version: Version,
        began: float,
    ) -> Reply:
        at = "/instances" if many else None
        answered = await self._answerer.answer(rows, wanted, scope, admitted, version=version, at=at, began=began)
        about = answered.version.about  # of the one that answered, which need not be the one that was chosen
        if steps:
            told = forecasts(rows, answered.answers, steps, version.bundle)
            return 200, JSON, _encode({"id": answered.id, "forecasts": told, **about})
        if many:
            return 200, JSON, _encode({"id": answered.id, "predictions": answered.answers, **about})
        return 200, JSON, _encode({"id": answered.id, **answered.answers[0], **about})


def _served(row: Any, sent: bytes, answer: dict[str, Any], began: float, scope: Scope, admitted: Admitted) -> Served:
    return Served([row], [answer], began, scope, admitted, b"[%b]" % sent, b"[%b]" % _encode(answer))


def _reply(name: str, served: Served, version: Version) -> Reply:
    told = served.told or b"[{}]"
    return 200, JSON, b'{"id":"%b",%b,%b' % (name.encode(), told[2:-2], version.told[1:])


def check_json(scope: Scope, limit: int, also: Collection[bytes] = ()) -> bytes:
    """Refuse what the request's head already shows to be wrong.

    Parameters
    ----------
    scope : mapping
        The request's, as ASGI gives it.
    limit : int
        Bytes its body may have.
    also : collection of bytes
        Media types it may have beside JSON.

    Returns
    -------
    bytes
        The one it has.

    Raises
    ------
    HttpProblem
        413 and 415.
    """
    sent = head(scope)
    kind = sent.get(b"content-type", b"application/json")
    if kind != b"application/json":
        kind = kind.split(b";", 1)[0].strip().lower()
        if kind != b"application/json" and not kind.endswith(b"+json") and kind not in also:
            shown = kind.decode("latin-1")
            allowed = b" or ".join((b"application/json", *also)).decode()
            raise HttpProblem(415, f"The body is sent as {shown}; send it with Content-Type: {allowed}.")
    if sent.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
        raise HttpProblem(415, "The body is compressed; send it as it is.", headers=[(b"accept-encoding", b"identity")])
    if int(sent.get(b"content-length", 0)) > limit:
        raise too_large(limit)
    return kind


def json_object(body: bytes | memoryview, shape: str) -> dict[str, Any]:
    """Return a body that is one JSON object.

    Parameters
    ----------
    body : bytes
        What was sent.
    shape : str
        What should have been, for the error.

    Raises
    ------
    HttpProblem
        400 if it is not.
    """
    try:
        held = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HttpProblem(400, f"The body is not valid JSON: {error}.") from None
    if not isinstance(held, dict):
        raise HttpProblem(400, f"The body must be {shape}.")
    return held


def read_rows(body: bytes, version: Version) -> tuple[list[Any], bool, int]:
    """Return the rows of a body as they were sent, whether they came as a list, and steps where it names a horizon."""
    sent = json_object(body, 'one row as an object, or {"instances": [row, ...]}')
    if "horizon" in sent and asks_ahead(sent, version.bundle):
        return rows_ahead(sent, version.bundle), True, sent["horizon"]
    if "instances" not in sent or "instances" in version.columns:
        return [sent], False, 0
    rows = sent["instances"]
    if len(sent) > 1 or not isinstance(rows, list) or not rows:
        raise HttpProblem(400, 'Many rows are sent as {"instances": [row, ...]}: one or more, and nothing else.')
    return rows, True, 0
