"""``/v1/labels``: what came true, sent in when it is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from modelyard.core.errors import ModelyardError, Problem, RowError
from modelyard.serving.asgi import JSON, Receive, Scope, read_body
from modelyard.serving.endpoint import Reply
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.log import PredictionLog
from modelyard.serving.predict import LARGE, check_json, json_object
from modelyard.serving.predictions.label_check import LabelCheck
from modelyard.serving.predictions.record import Label
from modelyard.serving.problem import MOST_ERRORS, HttpProblem, bad_fields
from modelyard.serving.terms import Terms

PATH = "/v1/labels"
Known = Callable[[Sequence[str]], Awaitable[set[str]]]
_RETRY = [(b"retry-after", b"5")]

_encode = msgspec.json.Encoder().encode


class Labels:
    """Answers ``/v1/labels``: one label as an object, or many as ``labels``, all or none.

    They are written as the predictions are, before the answer is sent, and met with their predictions when the log is
    loaded. The same label again changes nothing; another one for the same row is a correction, and both are kept.

    Parameters
    ----------
    check : callable
        Returns what labels are checked by at that time.
    log : PredictionLog
        Where they are written.
    terms : Terms
        What a body may be, and how long it may take.
    known : callable, optional
        ``await known(ids)`` returns those of the ids that predictions have: labels of others are then refused. None
        keeps them until their prediction comes.
    """

    def __init__(
        self,
        check: Callable[[], LabelCheck],
        log: PredictionLog,
        terms: Terms,
        known: Known | None = None,
    ) -> None:
        self._check, self._log, self._known = check, log, known
        self._limit, self._seconds = terms.body_limit, terms.body_seconds

    async def __call__(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Answer one request."""
        check_json(scope, self._limit)
        body = await read_body(receive, self._limit, self._seconds)
        if len(body) <= LARGE:
            labels, many = self._checked(body, admitted.key)
        else:  # health checks are not kept waiting
            labels, many = await asyncio.to_thread(self._checked, body, admitted.key)
        if self._known is not None:
            await self._refuse_unknown(self._known, labels, many)
        if not self._log.append(labels):
            raise HttpProblem(503, "The labels could not be written; send them again later.", headers=_RETRY)
        return 202, JSON, _encode({"labels": len(labels)})

    def _checked(self, body: bytes, key: str) -> tuple[list[Label], bool]:
        sent, many = _labels(body)
        check, received = self._check(), time.time()
        labels: list[Label] = []
        first: dict[tuple[str, int], Label] = {}
        problems: list[Problem] = []
        for i, one in enumerate(sent):
            pointer = _pointer(i, many)
            try:
                label = check(one, pointer, received=received, key=key)
            except RowError as error:
                problems += error.problems
                continue
            labels.append(label)
            if first.setdefault((label.id, label.row), label) != label:
                problems.append(Problem(f"{pointer}/label", "This row has another label already", "One label a row."))
        if problems:
            raise bad_fields(problems)
        return labels, many

    async def _refuse_unknown(self, known: Known, labels: Sequence[Label], many: bool) -> None:
        try:
            found = await known([label.id for label in labels])
        except ModelyardError:
            raise HttpProblem(503, "The predictions cannot be looked up now; try again.", headers=_RETRY) from None
        strange = [
            Problem(f"{_pointer(i, many)}/id", "No prediction has this id", "The id of the prediction's answer.")
            for i, label in enumerate(labels)
            if label.id not in found
        ]
        if strange:
            raise HttpProblem(422, f"{len(strange):,} of the labels are of no prediction.", strange[:MOST_ERRORS])


def _pointer(number: int, many: bool) -> str:
    return f"/labels/{number}" if many else ""


def _labels(body: bytes) -> tuple[list[Any], bool]:
    sent = json_object(body, 'one label as an object, or {"labels": [label, ...]}')
    if "labels" not in sent:
        return [sent], False
    if len(sent) > 1 or not isinstance(sent["labels"], list) or not sent["labels"]:
        raise HttpProblem(400, 'Many labels are sent as {"labels": [label, ...]}: one or more, and nothing else.')
    return sent["labels"], True
