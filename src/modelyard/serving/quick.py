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
from modelyard.serving.reader import Reader

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
        Reads the row.
    run : callable
        The session's (see `OnnxRuntime.run`).
    decide : callable
        From the graph's outputs for a row to its answer (see ``Prediction.plain``).
    keep : callable
        Told the body and the answer.
    """

    def __init__(
        self,
        read: Reader,
        run: Callable[..., Any],
        decide: Decide,
        keep: Callable[[tuple[bytes, dict[str, Any]]], None],
    ) -> None:
        self._read, self._run, self._decide, self._keep = read, run, decide, keep

    def __call__(self, body: bytes) -> tuple[Any, bytes, dict[str, Any]] | None:
        """Return the row as it was sent, its JSON text, and its answer.

        None where the row does not plainly fit, or the model fails: the long way says what is wrong, or finds what
        stands in.
        """
        read = self._read(body)
        if read is None:
            return None
        row, inputs = read
        try:
            outputs = self._run(_ANSWER, inputs, None)[0][0].tolist()
        except Exception:  # the long way meets it again, and counts it
            return None
        # The sum of anything with NaN or infinity is neither finite.
        if not math.isfinite(sum(outputs)):
            return None
        answer = self._decide(outputs)
        self._keep((body, answer))
        return row, body if self._read.exact else _encode(row), answer


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
