"""What stands in for a model that fails: its own earlier answer to the same row, the version before it, the rule."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from modelyard.brief.rule import Rule
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.runtime import Row
from modelyard.encoding.encoding import Encoding
from modelyard.serving.asked import NOTHING, Asked
from modelyard.serving.prediction import Prediction
from modelyard.serving.reader import Reader

_KEPT = 1_000
"""Few enough that what is kept stays in the processor's cache: more made every request slower."""


class Source(Protocol):
    """Something that can answer rows."""

    name: str

    def answer(self, rows: Sequence[Row], asked: Asked = NOTHING) -> Sequence[Prediction | None]:
        """Answer checked rows, None where it cannot; RowError when the rows are at fault, anything else when it is.

        What else was asked is answered by a source that can.
        """


class CachedSource:
    """The model's own answers to the rows it answered last.

    The same inputs of the graph have the same answer. Answers are put down as they come and sorted by inputs only
    once somebody asks: while the model is well, keeping one costs next to nothing.

    Parameters
    ----------
    encoding : Encoding
        The layout of the graph's inputs.
    read : Reader or None
        Reads a body.

    Attributes
    ----------
    recent : deque
        What was answered lately: a body and its plain answer, or a checked row and its Prediction.
    """

    name = "cached"

    def __init__(self, encoding: Encoding, read: Reader | None) -> None:
        self._encoding, self._read = encoding, read
        self._held: dict[Any, Prediction] = {}
        self._sorting = threading.Lock()
        self.recent: deque[tuple[Any, Any]] = deque(maxlen=_KEPT)

    def answer(self, rows: Sequence[Row], asked: Asked = NOTHING) -> Sequence[Prediction | None]:
        """Answer the rows that the model answered before."""
        with self._sorting:  # requests in several threads may find their model failing
            self._sort()
            return [self._held.get(self._key(row)) for row in rows]

    def _sort(self) -> None:
        while self.recent:
            asked, answer = self.recent.popleft()
            if isinstance(answer, Prediction):
                self._held[self._key(asked)] = replace(answer, served_by=self.name)
            elif self._read is not None and (read := self._read(asked)) is not None:
                chances = answer.get("probabilities")
                self._held[_key(self._read.inputs([read[1]]))] = Prediction(answer["prediction"], self.name, chances)
        while len(self._held) > _KEPT:
            del self._held[next(iter(self._held))]

    def _key(self, row: Row) -> Any:
        return _key(self._encoding.inputs_of_rows([row]))


def _key(inputs: dict[str, Any]) -> Any:
    return tuple(m.tobytes() if m.dtype != object else tuple(m[0].tolist()) for m in inputs.values())


class PreviousSource:
    """The version that answered before this one."""

    name = "previous"

    def __init__(self, model: Source) -> None:
        self._model = model

    def answer(self, rows: Sequence[Row], asked: Asked = NOTHING) -> Sequence[Prediction | None]:
        """Answer checked rows as the earlier model does."""
        found = self._model.answer(rows, asked)
        return [None if one is None else replace(one, served_by=self.name) for one in found]


class RuleSource:
    """The brief's rule: what the user did before there was a model.

    A truth value answers the positive class of a binary task or the other one; a number answers a task of numbers.
    """

    name = "rule"

    def __init__(self, rule: Rule, bundle: Bundle) -> None:
        self._rule = rule
        self._labels = bundle.classes

    def answer(self, rows: Sequence[Row], asked: Asked = NOTHING) -> Sequence[Prediction | None]:
        """Answer checked rows; None where the rule has no value. A rule has no bounds."""
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> Prediction | None:
        value: Any = self._rule.evaluate(row)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return None
        return Prediction(self._labels[int(bool(value))] if self._labels else float(value), self.name)


def fallback_rule(bundle: Bundle) -> Rule | None:
    """Return the brief's rule if it can stand in for the model: every column it reads is one that rows bring.

    A rule gives a truth value or a number, so it cannot name one of three or more classes.
    """
    text = bundle.manifest.brief.rule
    if text is None or bundle.schema.task == "multiclass":
        return None
    rule = Rule.parse(text)
    brought = {column.name for column in bundle.schema.features}
    return rule if set(rule.columns) <= brought else None
