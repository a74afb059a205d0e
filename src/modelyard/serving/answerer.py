"""Answerer: from rows as they were sent to answers that are counted and logged; every protocol's way to the model."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from modelyard.bundle.runtimes.runtime import Row
from modelyard.core.errors import Problem, RowError
from modelyard.serving.asgi import Scope, head
from modelyard.serving.asked import Asked
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.log import Entry, PredictionLog
from modelyard.serving.predictor import Unanswered
from modelyard.serving.problem import MOST_ERRORS, HttpProblem, NotOffered, bad_fields
from modelyard.serving.router import Router
from modelyard.serving.rows import check_rows
from modelyard.serving.version import Version

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
REQUEST_KEY = "x-request-key"
"""Header whose value keeps a caller on one version."""
_KEY = REQUEST_KEY.encode()
_SLICE = 1_000
"""Rows checked and scored at a time: what scoring takes does not grow with the request."""


class Answered(msgspec.Struct, frozen=True):
    """What a request was answered.

    Attributes
    ----------
    id : str
        Under which the prediction log has it.
    answers : list of dict
        One for each row (see ``Prediction.plain``).
    version : Version
        The one that answered.
    """

    id: str
    answers: list[dict[str, Any]]
    version: Version


class Served(msgspec.Struct):
    """An answered request, to be counted and logged.

    Attributes
    ----------
    rows : list
        Anything that JSON writes as objects.
    answers : list of dict
        One for each row (see ``Prediction.plain``).
    began : float
        ``time.perf_counter()`` when the body was there.
    scope, admitted : mapping, Admitted
        The request's, as ASGI gives it, and who sent it.
    sent, told : bytes or None
        Rows and answers as JSON lists, where they are there as such.
    comparable : bool
        Whether a rollout may compare the time it took: not where another version had failed before.
    """

    rows: list[Any]
    answers: list[dict[str, Any]]
    began: float
    scope: Scope
    admitted: Admitted
    sent: bytes | None = None
    told: bytes | None = None
    comparable: bool = True


class Answerer:
    """Checks rows, scores them, counts and logs.

    Parameters
    ----------
    router : Router
        Which version answers.
    log : PredictionLog, optional
        Where answered requests are written before they are answered; None keeps none.
    seconds : float
        How long an answer may take.

    Attributes
    ----------
    copy : callable or None
        Is given the rows and answers of every answered request: a shadow.
    """

    def __init__(self, router: Router, log: PredictionLog | None = None, seconds: float = 30.0) -> None:
        self.router, self._seconds = router, seconds
        self.copy: Callable[[list[Any], list[dict[str, Any]]], None] | None = None
        self._log = log
        # Of their own: what else goes to threads, such as looking at the registry, does not wait behind requests.
        self._threads = ThreadPoolExecutor(thread_name_prefix="modelyard-score")
        self._start = os.urandom(6).hex()
        self._count = 0

    def next_id(self) -> str:
        """Return an id that no other request has; in their order, so that a store's index grows at its end."""
        self._count += 1
        return f"{self._start}-{self._count:08x}"

    def choose(self, scope: Scope) -> Version:
        """Return the version that is to answer a request."""
        return self.router.choose(head(scope).get(_KEY, b""))

    async def answer(
        self,
        rows: list[Any],
        wanted: Asked,
        scope: Scope,
        admitted: Admitted,
        *,
        version: Version | None = None,
        at: str | None = "/instances",
        began: float | None = None,
    ) -> Answered:
        """Answer the rows of one request, all or none.

        Parameters
        ----------
        rows : list
            As they were sent: dicts of JSON values.
        wanted : Asked
            What is asked beside the predictions.
        scope : mapping
            The request's, as ASGI gives it.
        admitted : Admitted
            Who sent it.
        version : Version, optional
            The one that is to answer, where the request was read by its schema; default: the router's choice.
        at : str or None
            JSON pointer of the list the rows stand in; None where the one row is the body.
        began : float, optional
            ``time.perf_counter()`` when the body was there; default: now.

        Raises
        ------
        HttpProblem
            422 for rows that do not fit the schema, 503 where nothing could answer.
        """
        began = time.perf_counter() if began is None else began
        chosen = self.choose(scope) if version is None else version
        by, answers = await self.scored(chosen, lambda by: self.predict(by, rows, at, wanted), lambda told: told, began)
        (name,) = self.keep(by, [Served(rows, answers, began, scope, admitted, comparable=by is chosen)])
        return Answered(name, answers, by)

    async def scored(
        self,
        version: Version,
        score: Callable[[Version], Awaitable[T]],
        answers: Callable[[T], list[dict[str, Any]]],
        began: float,
    ) -> tuple[Version, T]:
        """Score by a version, or by the one that stands behind it where its model does not answer.

        Parameters
        ----------
        version : Version
            The one that was chosen.
        score : callable
            Scores the request's rows by a version.
        answers : callable
            From what `score` returns to an answer for each row.
        began : float
            See `answer`.

        Returns
        -------
        (Version, object)
            The one that answered, and what `score` returned.

        Raises
        ------
        HttpProblem
            See `answer`.
        """
        try:
            other = self.router.instead(version)
            if other is not None:
                try:
                    found = await score(version)
                    if by_model(answers(found)):
                        return version, found
                except (Unanswered, TimeoutError):
                    pass
                except (RowError, NotOffered):
                    # What the other refuses as well is the caller's fault, and not the candidate's.
                    found = await score(other)
                    self._failed(version, began)
                    return other, found
                self._failed(version, began)
                version = other
            return version, await score(version)
        except RowError as error:
            raise bad_fields(error.problems) from None
        except (Unanswered, TimeoutError) as error:
            self._failed(version, began)
            raise _unanswered(error) from None

    def _failed(self, version: Version, began: float) -> None:
        self.router.seen(version, False, time.perf_counter() - began, None)

    async def predict(self, version: Version, rows: list[Any], at: str | None, wanted: Asked) -> list[dict[str, Any]]:
        """Answer rows by one version, neither counted nor logged.

        Parameters
        ----------
        version, rows, at, wanted
            See `answer`.

        Raises
        ------
        RowError
            If rows do not fit the schema.
        Unanswered, TimeoutError
            If neither its model nor what stands in for it answered, or not in time.
        """
        if len(rows) <= version.inline:
            return _answers(version, rows, at, wanted)
        async with asyncio.timeout(self._seconds):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, _answers, version, rows, at, wanted)

    def keep(self, version: Version, served: Sequence[Served]) -> list[str]:
        """Count and log requests that a version answered, before their answers are sent.

        Returns
        -------
        list of str
            The id of each in the log.
        """
        seconds = [time.perf_counter() - one.began for one in served]
        version.counts.predictions.inc(sum(len(one.rows) for one in served))
        names = [self.next_id() for _ in served]
        if self._log is not None:
            found = zip(names, served, seconds, strict=True)
            written = self._log.append(*[self._entry(version, *one) for one in found])
            version.counts.log_records.inc(written)
            if written < len(served):
                version.counts.log_failures.inc(len(served) - written)
        for one, took in zip(served, seconds, strict=True):
            a_row = took / len(one.rows) if one.comparable else None
            self.router.seen(version, by_model(one.answers), a_row, score_of(one.answers[0]))
            if self.copy is not None:
                self.copy(one.rows, one.answers)
        return names

    def trace(self, scope: Scope) -> str:
        """Return the trace id of a request's ``traceparent``, empty where it has none.

        References
        ----------
        W3C Trace Context, section 3.2: version, trace id, parent id and flags, in hexadecimal.
        """
        sent = head(scope).get(b"traceparent")
        return "" if sent is None or len(sent) < 55 else sent[3:35].decode("latin-1")

    def _entry(self, version: Version, name: str, served: Served, seconds: float) -> Entry:
        return Entry(
            name,
            time.time(),
            version.name,
            version.bundle.hash,
            _encode(served.rows) if served.sent is None else served.sent,
            _encode(served.answers) if served.told is None else served.told,
            len(served.rows),
            1e3 * seconds,
            version.number,
            version.variant,
            served.admitted.key,
            self.trace(served.scope),
        )


def _unanswered(error: Unanswered | TimeoutError) -> HttpProblem:
    """Return a 503; it says when to come again where that may help, as where the model rests or was waited for."""
    known = error if isinstance(error, Unanswered) else Unanswered(again=1.0)
    after = [] if known.again is None else [(b"retry-after", b"%d" % math.ceil(known.again))]
    return HttpProblem(503, str(known), headers=after)


def _answers(version: Version, rows: Sequence[Any], at: str | None, wanted: Asked) -> list[dict[str, Any]]:
    schema = version.bundle.schema
    if at is None:
        return _score_rows(version, [schema.check_row(rows[0], unknown=version.unknown)], "", wanted)
    answers: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for first in range(0, len(rows), _SLICE):
        try:
            checked = check_rows(schema, rows[first : first + _SLICE], at, first, version.unknown)
            if not problems:  # the request is refused; the other rows are still checked, and not scored
                answers += _score_rows(version, checked, at, wanted, first)
        except RowError as error:
            problems += error.problems
            if len(problems) > MOST_ERRORS:
                break  # more than an answer lists
    if problems:
        raise RowError(problems)
    return answers


def _score_rows(
    version: Version, checked: Sequence[Row], at: str, wanted: Asked, first: int = 0
) -> list[dict[str, Any]]:
    try:
        return [prediction.plain() for prediction in version.predictor.predict(checked, wanted)]
    except RowError as error:
        # The model counts the rows it was given from 0; the caller's pointers begin at the body's root.
        for problem in error.problems:
            _, number, rest = problem.pointer.split("/", 2)
            problem.pointer = f"{at}/{first + int(number)}/{rest}" if at else f"/{rest}"
        raise


def by_model(answers: Sequence[dict[str, Any]]) -> bool:
    """Return whether the model gave every answer, and nothing stood in for it."""
    if len(answers) == 1:
        return bool(answers[0]["served_by"] == "model")
    return all(answer["served_by"] == "model" for answer in answers)


def score_of(answer: dict[str, Any]) -> float | None:
    """Return the number a drift of scores is watched by."""
    chances = answer.get("probabilities")
    if chances is not None:
        return float(next(reversed(chances.values())))
    value = answer["prediction"]
    return float(value) if isinstance(value, (int, float)) else None
