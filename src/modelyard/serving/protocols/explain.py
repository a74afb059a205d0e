"""``/v1/explain``: an answer with what each column did to it, and the reasons of an adverse one."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from modelyard.bundle.explanation import explains
from modelyard.bundle.reasons import ReasonTable, load_reasons
from modelyard.core.errors import BundleError
from modelyard.serving.answerer import Answerer, Served
from modelyard.serving.asgi import JSON, Receive, Scope, read_body
from modelyard.serving.asked import Asked, asked
from modelyard.serving.endpoint import Reply
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.predict import check_json, read_rows
from modelyard.serving.problem import HttpProblem, NotOffered
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
        wanted = asked(scope.get("query_string", b""), version.bundle)
        body = await read_body(receive, self._limit, self._seconds)
        began = time.perf_counter()
        rows, many, _ = read_rows(body, version)
        if len(rows) > MOST_ROWS:
            raise HttpProblem(413, f"At most {MOST_ROWS} rows are explained at a time.")
        at = "/instances" if many else None

        async def score(by: Version) -> list[dict[str, Any]]:
            return await self._explained(by, rows, at, wanted)

        by, answers = await self._answerer.scored(version, score, lambda told: told, began)
        # Explaining takes a thousand times what predicting does, which its time would hide.
        (name,) = self._answerer.keep(by, [Served(rows, answers, began, scope, admitted, comparable=False)])
        if many:
            return 200, JSON, msgspec.json.encode({"id": name, "predictions": answers, **by.about})
        return 200, JSON, msgspec.json.encode({"id": name, **answers[0], **by.about})

    def close(self) -> None:
        """End the processes that explain."""
        while self._explaining:
            self._explaining.popitem()[1][0].close()

    async def _explained(
        self, version: Version, rows: list[Any], at: str | None, wanted: Asked
    ) -> list[dict[str, Any]]:
        """Explain rows and answer them, by one version; what stands in for its model is not explained."""
        explainer, table = self._of(version)
        checked = _checked(version, rows, at)
        explained = await explainer.explain(checked)
        answers = await self._answerer.predict(version, rows, at, wanted)
        return [
            {**answer, **_told(row, one, table, version)} if answer["served_by"] == "model" else answer
            for row, one, answer in zip(checked, explained, answers, strict=True)
        ]

    def _of(self, version: Version) -> tuple[Explainer, ReasonTable | None]:
        key = version.bundle.hash
        held = self._explaining.pop(key, None)
        if held is None:
            try:
                explains(version.bundle)
            except BundleError as error:
                raise NotOffered(error.what) from None
            held = Explainer(version.bundle), load_reasons(version.bundle)
        self._explaining[key] = held  # last, as it was asked last
        if len(self._explaining) > _MOST_VERSIONS:
            self._explaining.pop(next(iter(self._explaining)))[0].close()
        return held


def _checked(version: Version, rows: list[Any], at: str | None) -> list[dict[str, Any]]:
    schema = version.bundle.schema
    if at is None:
        return [schema.check_row(rows[0], unknown=version.unknown)]
    return check_rows(schema, rows, at, unknown=version.unknown)


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
