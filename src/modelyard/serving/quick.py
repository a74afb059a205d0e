"""Quick: one row's body to its answer in as few steps as there are, where the model plainly answers it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.serving.fallback import CachedSource
from modelyard.serving.reader import Given, Reader

_encode = msgspec.json.Encoder().encode
Decide = Callable[[list[float]], dict[str, Any]]
_ANSWER = ["answer"]
_DIGITS = 1e7
"""Probabilities are rounded through float32's shortest text: 0.1 and not 0.10000000149011612."""


class Quick:
    """Answers bodies of one row.

    Parameters
    ----------
    read : Reader
        Reads a row.
    run : callable
        The session's (see `OnnxRuntime.run`).
    decide : callable
        From the graph's outputs for a row to its answer (see ``Prediction.plain``).
    keep : callable
        Told a body and its answer.
    """

    def __init__(
        self,
        read: Reader,
        run: Callable[..., Any],
        decide: Decide,
        keep: Callable[[tuple[bytes, dict[str, Any]]], None],
    ) -> None:
        self.read, self.keep = read, keep
        self._run, self._decide = run, decide

    def __call__(self, body: bytes) -> tuple[Any, bytes, dict[str, Any]] | None:
        """Return the row as it was sent, its JSON text, and its answer.

        None where the row does not plainly fit, or the model fails: the long way says what is wrong, or finds what
        stands in.
        """
        read = self.read(body)
        if read is None:
            return None
        row, given = read
        (answer,) = self.answer([given])
        if answer is None:
            return None
        self.keep((body, answer))
        return row, self.text(body, row), answer

    def answer(self, given: Sequence[Given]) -> list[dict[str, Any] | None]:
        """Return the answer to each of some rows, None where the model does not plainly answer.

        Parameters
        ----------
        given : sequence of Given
            Rows as `Reader` gives them.
        """
        try:
            outputs = self._run(_ANSWER, self.read.inputs(given), None)[0].tolist()
        except Exception:  # the long way meets it again, and counts it; a row does not stand in for its neighbours
            return [None] if len(given) == 1 else [self.answer([one])[0] for one in given]
        # The sum of anything with NaN or infinity is neither finite.
        return [self._decide(found) if math.isfinite(sum(found)) else None for found in outputs]

    def text(self, body: bytes, row: Any) -> bytes:
        """Return the JSON text of a row that was read from a body."""
        return body if self.read.exact else _encode(row)


def quick(bundle: Bundle, read: Reader | None, cached: CachedSource | None = None) -> Quick | None:
    """Return the quick way of a bundle, None where there is none: a forecast, or another runtime."""
    if read is None or not isinstance(bundle.runtime, OnnxRuntime):
        return None
    decide = _value if bundle.labels is None else _classes(bundle.classes, bundle.schema.classes, bundle.threshold)
    keep = (lambda _: None) if cached is None else cached.recent.append
    return Quick(read, bundle.runtime.run, decide, keep)


def _value(outputs: list[float]) -> dict[str, Any]:
    return {"prediction": outputs[0], "served_by": "model"}


def _classes(labels: Sequence[Any], names: Sequence[str], threshold: float | None) -> Decide:
    if threshold is None:

        def several(outputs: list[float]) -> dict[str, Any]:
            chances = {name: round(chance * _DIGITS) / _DIGITS for name, chance in zip(names, outputs, strict=True)}
            return {"prediction": labels[outputs.index(max(outputs))], "probabilities": chances, "served_by": "model"}

        return several
    least = float(np.float32(threshold))  # the graph's outputs are float32, and compared as such everywhere else

    def two(outputs: list[float]) -> dict[str, Any]:
        against, positive = outputs
        chances = {names[0]: round(against * _DIGITS) / _DIGITS, names[1]: round(positive * _DIGITS) / _DIGITS}
        return {"prediction": labels[positive >= least], "probabilities": chances, "served_by": "model"}

    return two
