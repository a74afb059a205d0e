"""Columns on ``/v1/predict``: Arrow and Parquet bodies, answered by columns."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from modelyard.data.frame_check import check_frame
from modelyard.serving.answerer import Answerer, Served
from modelyard.serving.asgi import JSON, Receive, Scope, head, read_body
from modelyard.serving.asked import Asked, asked
from modelyard.serving.endpoint import Reply
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.predict import check_json
from modelyard.serving.problem import MOST_ERRORS, HttpProblem
from modelyard.serving.protocols.batch import Batch, answer_batch
from modelyard.serving.protocols.columnar import ARROW, BODY_LIMIT, MEDIA_TYPES, PARQUET, read_columns, write_columns
from modelyard.serving.terms import Terms
from modelyard.serving.version import Version

_SENT = tuple(media_type.encode() for media_type in MEDIA_TYPES)
_MOST = 4
"""Bodies held at a time, of which one is answered: more are told to come again."""


class Columns:
    """Answers Arrow and Parquet bodies.

    Parameters
    ----------
    answerer : Answerer
        Counts and logs.
    terms : Terms
        How long a body and an answer may take; a body of columns has a limit of its own.
    """

    def __init__(self, answerer: Answerer, terms: Terms) -> None:
        self._answerer, self._terms = answerer, terms
        self._turn = asyncio.Semaphore(1)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request."""
        media_type = MEDIA_TYPES[check_json(scope, BODY_LIMIT, _SENT).decode()]
        if self._held >= _MOST:
            raise HttpProblem(503, "Other large bodies are being answered.", headers=[(b"retry-after", b"1")])
        version = self._answerer.choose(scope)
        wanted = asked(scope.get("query_string", b""), version.bundle)
        self._held += 1
        try:
            body = await read_body(receive, BODY_LIMIT, self._terms.body_seconds)
            began = time.perf_counter()
            async with self._turn:
                return await self._answer(body, media_type, wanted, version, scope, admitted, began)
        finally:
            self._held -= 1

    async def _answer(
        self,
        body: bytes,
        media_type: str,
        wanted: Asked,
        version: Version,
        scope: Scope,
        admitted: Admitted,
        began: float,
    ) -> Reply:
        async def score(by: Version) -> tuple[list[dict[str, Any]], Batch]:
            async with asyncio.timeout(self._terms.answer_seconds):
                return await asyncio.to_thread(_scored, body, media_type, wanted, by)

        by, (rows, batch) = await self._answerer.scored(version, score, lambda found: found[1].plain, began)
        (name,) = self._answerer.keep(by, [Served(rows, batch.plain, began, scope, admitted, comparable=by is version)])
        about = {"id": name, **by.about}
        accepted = head(scope).get(b"accept", b"").decode("latin-1")
        form = next((one for one in (ARROW, PARQUET) if one in accepted), None)
        if form is None:
            many = {"id": name, "predictions": batch.plain, **by.about}
            return 200, JSON, await asyncio.to_thread(msgspec.json.encode, many)
        content = await asyncio.to_thread(write_columns, batch.columns, form, about)
        return 200, ((b"content-type", form.encode()),), content


def _scored(body: bytes, media_type: str, wanted: Asked, version: Version) -> tuple[list[dict[str, Any]], Batch]:
    """Return the rows, for the log, and their answers."""
    table, schema = read_columns(body, media_type), version.bundle.schema
    typed = check_frame(schema, table, unknown=version.unknown, most=MOST_ERRORS + 1)
    return typed.to_dicts(), answer_batch(version.bundle, version.predictor, typed, wanted)
