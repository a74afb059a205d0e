"""From checked rows to predictions: the model first, and behind it whatever can stand in for it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.bundle.runtimes.runtime import Answers, Row
from modelyard.core.errors import BundleError, RowError
from modelyard.serving.asked import NOTHING, Asked
from modelyard.serving.fallback import CachedSource, PreviousSource, RuleSource, Source, fallback_rule
from modelyard.serving.prediction import Prediction
from modelyard.serving.problem import without_values
from modelyard.serving.reader import Reader
from modelyard.serving.timed import Overdue

_COVERAGE = 0.8
_REMEMBERED = 32
_LOGGER = logging.getLogger("modelyard.serving")


class Unanswered(Exception):
    """Every source failed.

    Parameters
    ----------
    detail : str
        What the caller is told.
    again : float, optional
        Seconds after which the same may be answered; None where it would fail again.
    """

    def __init__(
        self, detail: str = "Neither the model nor a fallback could answer.", again: float | None = None
    ) -> None:
        super().__init__(detail)
        self.again = again


class ModelSource:
    """The packed model."""

    name = "model"

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._classes = bundle.schema.classes
        self._ahead = bundle.schema.task == "forecast"

    def answer(self, rows: Sequence[Row], asked: Asked = NOTHING) -> Sequence[Prediction | None]:
        """Answer checked rows; None where the model's answer is not a finite number."""
        answers = self._bundle.predict_rows(rows)
        if self._ahead:
            return self._forecasts(rows, self._bundle.decide(answers).tolist(), asked.coverage or _COVERAGE)
        found = self._tables(answers)
        return found if asked is NOTHING else self._more(rows, answers, found, asked)

    def _tables(self, answers: Answers) -> list[Prediction | None]:
        decided = self._bundle.decide(answers).tolist()
        if not self._classes:
            return [Prediction(v, self.name) if math.isfinite(v) else None for v in decided]
        # Rounded through float32's shortest text: 0.1 and not 0.10000000149011612.
        plain = answers.astype(np.float64).round(7).tolist()
        return [
            Prediction(label, self.name, dict(zip(self._classes, chances, strict=True)))
            if all(map(math.isfinite, chances))
            else None
            for label, chances in zip(decided, plain, strict=True)
        ]

    def _more(
        self, rows: Sequence[Row], answers: Answers, found: list[Prediction | None], asked: Asked
    ) -> list[Prediction | None]:
        """Add what was asked for beside the predictions."""
        more: list[dict[str, Any]] = [{} for _ in rows]
        if asked.coverage is not None and self._classes:
            for one, classes in zip(more, self._bundle.sets(answers, asked.coverage), strict=True):
                one["classes"] = {"classes": classes, "coverage": asked.coverage}
        elif asked.coverage is not None:
            for one, (low, high) in zip(more, self._bundle.intervals(answers, asked.coverage).tolist(), strict=True):
                one["interval"] = {"low": low, "high": high, "coverage": asked.coverage}
        if asked.ood:
            for one, score in zip(more, self._bundle.ood_of_rows(rows).tolist(), strict=True):
                one["ood"] = score
        return [None if p is None else replace(p, **one) for p, one in zip(found, more, strict=True)]

    def _forecasts(self, rows: Sequence[Row], values: Sequence[float], coverage: float) -> Sequence[Prediction | None]:
        try:
            bounds = self._bundle.predict_interval(list(rows), coverage).tolist()
        except BundleError:  # a forecast packed without intervals
            return [Prediction(v, self.name) if math.isfinite(v) else None for v in values]
        return [
            Prediction(v, self.name, None, {"low": low, "high": high, "coverage": coverage})
            if math.isfinite(v)
            else None
            for v, (low, high) in zip(values, bounds, strict=True)
        ]


class Predictor:
    """Sources in order; what one cannot answer, the next is asked.

    Parameters
    ----------
    sources : sequence of Source
        The model, then its fallbacks.
    failed : callable, optional
        Told the name of a source each time it could not answer.

    Attributes
    ----------
    model : Source
        The first of them.
    cached : CachedSource or None
        Where answers of the model are put down.
    """

    def __init__(self, sources: Sequence[Source], failed: Callable[[str], None] | None = None) -> None:
        self._sources = tuple(sources)
        self.model = self._sources[0]
        self.cached = next((source for source in sources if isinstance(source, CachedSource)), None)
        self._failed = failed or (lambda name: None)
        self._reported: set[str] = set()

    def predict(self, rows: Sequence[Row], asked: Asked = NOTHING) -> list[Prediction]:
        """Answer checked rows, in their order, with what else was asked where the model answers.

        Raises
        ------
        RowError
            If rows ask for what the model does not have, such as a series it never saw.
        Unanswered
            If no source could answer every row.
        """
        answers: list[Prediction | None] = [None] * len(rows)
        left = list(range(len(rows)))
        rests: list[float] = []
        for source in self._sources:
            try:
                found = source.answer([rows[i] for i in left], asked)
            except RowError:
                raise
            except Exception as error:
                self._report(source.name, error)
                if isinstance(error, Overdue):
                    rests.append(error.rests)
                continue
            for i, prediction in zip(left, found, strict=True):
                answers[i] = prediction
            left = [i for i in left if answers[i] is None]
            if not left:
                if source is self.model and self.cached is not None and asked is NOTHING and len(rows) <= _REMEMBERED:
                    self.cached.recent.extend(zip(rows, found, strict=True))
                return answers  # type: ignore[return-value]  # no None is left
            if source is self.model:  # of what stands in, nobody expects an answer to every row
                self._report(source.name, None)
        raise Unanswered(again=min(rests, default=None))

    def _report(self, name: str, error: Exception | None) -> None:
        self._failed(name)
        kind = f"{name}:{type(error).__name__}"
        if kind not in self._reported:  # the counter counts them all; one trace of each kind is enough to act on
            self._reported.add(kind)
            why = "not a finite number" if error is None else without_values(error)
            _LOGGER.error("%s could not answer: %s", name, why)


def predictor(
    bundle: Bundle,
    failed: Callable[[str], None] | None = None,
    previous: Predictor | None = None,
    read: Reader | None = None,
) -> Predictor:
    """Return the sources of a bundle: its model, and what its brief has stand in, as far as there is any.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    failed : callable, optional
        See `Predictor`.
    previous : Predictor, optional
        Of the version that answered before.
    read : Reader, optional
        Reads bodies of one row.
    """
    sources: list[Source] = [ModelSource(bundle)]
    rule = fallback_rule(bundle)
    for name in bundle.manifest.brief.fallback:
        if name == "cached" and isinstance(bundle.runtime, OnnxRuntime):
            sources.append(CachedSource(bundle.manifest.encoding, read))
        elif name == "previous" and previous is not None:
            sources.append(PreviousSource(previous.model))
        elif name == "rule" and rule is not None:
            sources.append(RuleSource(rule, bundle))
    return Predictor(sources, failed)
