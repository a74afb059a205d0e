"""One ONNX graph, run by ONNX Runtime: encoding, trees, blend and calibration in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl

from modelyard.bundle.runtimes.runtime import Answers, Row
from modelyard.core.errors import BundleError
from modelyard.encoding.encoding import Encoding

FILE = "model.onnx"
CHUNK, CHUNK_OF_TEXTS = 8_192, 256
"""Rows encoded at once: bounds the memory of a large table's strings, and of texts, each of which takes as much as the
longest."""
AT_ONCE = 256
"""Rows given to the graph at once: bounds the memory of its intermediate results, kilobytes a row for trees and
networks, so that they stay in the processor's cache."""


class OnnxRuntime:
    """A graph and its session.

    Parameters
    ----------
    graph : bytes
        The content of ``model.onnx``.
    encoding : Encoding
        The layout of its inputs.
    outputs : int
        Columns its answer must have.
    threads : int
        Threads within one call. One is fastest for single rows, and lets a server start one worker for each core.

    Attributes
    ----------
    run : callable
        The session's own; a server sets one that takes no longer than it may.

    Raises
    ------
    BundleError
        If ONNX Runtime does not accept the graph, or its inputs and output are not those of the encoding.
    """

    def __init__(self, graph: bytes, encoding: Encoding, outputs: int, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Errors are raised too, and told by whoever meets them: here they would quote values of rows, for each request.
        options.log_severity_level = 4
        # A spinning thread burns a core between requests, which the neighbours on the machine need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common base below Exception
            raise BundleError(
                f"The bundle's file '{FILE}' is not a graph that ONNX Runtime {ort.__version__} can run.",
                where=str(error).splitlines()[0],
                do="Update onnxruntime, or pack the model again.",
            ) from error
        self._encoding = encoding
        # The session's own run first checks names that cannot be wrong here, for a tenth of what one row takes.
        self.run: Callable[..., Any] = getattr(self._session, "_sess", self._session).run
        self._outputs = outputs
        self._chunk = CHUNK_OF_TEXTS if encoding.texts else CHUNK
        self._check_interface(outputs)

    def rows(self, rows: Sequence[Row]) -> Answers:
        """Answer checked rows."""
        if len(rows) <= self._chunk:
            return self._rows(rows)
        starts = range(0, len(rows), self._chunk)
        return np.concatenate([self._rows(rows[start : start + self._chunk]) for start in starts])

    def frame(self, frame: pl.DataFrame) -> Answers:
        """Answer a typed frame, in chunks."""
        chunks = [self._frame(part) for part in frame.iter_slices(self._chunk)]
        if not chunks:
            return self._frame(frame)
        return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)

    def answer(self, inputs: dict[str, Any]) -> Answers:
        """Answer rows laid out as the graph's inputs."""
        rows = len(next(iter(inputs.values())))
        if not rows and "texts" in inputs:  # the node that finds words gives no matrix then
            return np.zeros((0, self._outputs), dtype=np.float32)
        if rows <= AT_ONCE:
            return self._at_once(inputs)
        parts = (slice(start, start + AT_ONCE) for start in range(0, rows, AT_ONCE))
        return np.concatenate([self._at_once({name: held[part] for name, held in inputs.items()}) for part in parts])

    def _at_once(self, inputs: dict[str, Any]) -> Answers:
        answer: Answers = self.run(["answer"], inputs, None)[0]
        return answer

    def _rows(self, rows: Sequence[Row]) -> Answers:
        return self.answer(self._encoding.inputs_of_rows(rows))

    def _frame(self, frame: pl.DataFrame) -> Answers:
        return self.answer(self._encoding.inputs_of_frame(frame))

    def _check_interface(self, outputs: int) -> None:
        encoding = self._encoding
        widths = {
            "numbers": ("tensor(float)", len(encoding.given)),
            "moments": ("tensor(int64)", len(encoding.dates)),
            "strings": ("tensor(string)", len(encoding.strings)),
            "texts": ("tensor(string)", len(encoding.texts)),
        }
        expected = {name: (kind, width) for name, (kind, width) in widths.items() if width}
        found = {i.name: (i.type, _width(i.shape)) for i in self._session.get_inputs()}
        answers = {o.name: (o.type, _width(o.shape)) for o in self._session.get_outputs()}
        fits = found.keys() == expected.keys() and all(
            found[name][0] == kind and found[name][1] in (width, None) for name, (kind, width) in expected.items()
        )
        if fits and answers.get("answer") in (("tensor(float)", outputs), ("tensor(float)", None)):
            return
        raise BundleError(
            f"The bundle's file '{FILE}' does not fit its manifest.",
            where=f"It takes {found} and gives {answers}.",
            allowed=f"It takes {expected} and gives 'answer' with {outputs} columns.",
            do="Pack the model again.",
        )


def _width(shape: Sequence[Any]) -> int | None:
    """Return the columns of a matrix, or None when the graph does not say."""
    return shape[1] if len(shape) == 2 and isinstance(shape[1], int) else None
