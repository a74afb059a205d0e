"""``/v1/explain``: an answer with what each column did to it, and the reasons of an adverse one."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from modelyard.bundle.explanation import explains
from modelyard.bundle.reasons import ReasonTable, load_reasons
from modelyard.core.errors import BundleError, RowError
from modelyard.serving.answerer import Answerer
from modelyard.serving.asgi import JSON, Receive, Scope, read_body
from modelyard.serving.asked import asked
from modelyard.serving.endpoint import Reply
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.predict import check_json, read_rows
from modelyard.serving.problem import HttpProblem, bad_fields
from modelyard.serving.protocols.explainer import Explainer
from modelyard.serving.rows import check_rows
from modelyard.serving.terms import Terms
from modelyard.serving.version import Version

PATH = "/v1/explain"
MOST_ROWS = 100
"""Rows explained at a time: one takes about a thousand times what predicting it does."""
_MOST_VERSIONS = 2


class Explain:
    """Answers ``/v1/explain``.

    Parameters
    ----------
    answerer : Answerer
        The way to the model: what is explained is answered, counted and logged too, with its reasons.
    terms : Terms
        What a body may be, and how long it may take.
    """

    def __init__(self, answerer: Answerer, terms: Terms) -> None:
        self._answerer, self._limit, self._seconds = answerer, terms.body_limit, terms.body_seconds
        self._explaining: dict[str, tuple[Explainer, ReasonTable | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request."""
        check_json(scope, self._limit)
        version = self._answerer.choose(scope)
        explainer, table = self._of(version)
        wanted = asked(scope.get("query_string", b""), version.bundle)
        body = await read_body(receive, self._limit, self._seconds)
        began = time.perf_counter()
        rows, many, _ = read_rows(body, version)
        if len(rows) > MOST_ROWS:
            raise HttpProblem(413, f"At most {MOST_ROWS} rows are explained at a time.")
        at = "/instances" if many else None
        schema = version.bundle.schema
        try:
            if many:
                checked = check_rows(schema, rows, "/instances", unknown=version.unknown)
            else:
                checked = [schema.check_row(rows[0], unknown=version.unknown)]
        except RowError as error:
            raise bad_fields(error.problems) from None
        explained = await explainer.explain(checked)
        more = [_told(row, one, table, version) for row, one in zip(checked, explained, strict=True)]
        answered = await self._answerer.answer(
            rows, wanted, scope, admitted, version=version, at=at, began=began, more=more
        )
        about: dict[str, Any] = answered.version.about  # of the one that answered, which need not be the one chosen
        if many:
            return 200, JSON, msgspec.json.encode({"id": answered.id, "predictions": answered.answers, **about})
        return 200, JSON, msgspec.json.encode({"id": answered.id, **answered.answers[0], **about})

    def close(self) -> None:
        """End the processes that explain."""
        while self._explaining:
            self._explaining.popitem()[1][0].close()

    def _of(self, version: Version) -> tuple[Explainer, ReasonTable | None]:
        held = self._explaining.get(version.bundle.hash)
        if held is None:
            try:
                explains(version.bundle)
            except BundleError as error:
                raise HttpProblem(501, error.what) from None
            held = self._explaining[version.bundle.hash] = Explainer(version.bundle), load_reasons(version.bundle)
            if len(self._explaining) > _MOST_VERSIONS:
                self._explaining.pop(next(iter(self._explaining)))[0].close()
        return held


def _told(
    row: dict[str, Any], explained: dict[str, Any], table: ReasonTable | None, version: Version
) -> dict[str, Any]:
    contributions = explained["contributions"]
    told: dict[str, Any] = {
        "explanation": {"explained": explained["explained"], "base": explained["base"], "contributions": contributions}
    }
    if table is not None:
        classes = version.bundle.schema.classes
        adverse = version.bundle.classes[classes.index(table.adverse)]
        if explained["prediction"] == adverse:
            told["reasons"] = table.told(row, contributions, positive=table.adverse == classes[-1])
    return told
