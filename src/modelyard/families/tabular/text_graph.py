"""Texts in the graph: words by a regular expression, their numbers and those of pairs by look-up, figures by sums.

No row becomes as wide as the vocabulary: each word of a text takes its few figures from a table, and they are summed.
The one node that is not of the ONNX standard, Tokenizer, is among those every build of ONNX Runtime brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.families.tabular.draft import Draft
from modelyard.families.tabular.layout import TextColumn
from modelyard.families.tabular.texts import PAD, UNKNOWN, WORD

TOKENS = "com.microsoft"
"""The domain of Tokenizer."""


def add_texts(draft: Draft, columns: Sequence[TextColumn]) -> list[str]:
    """Add the figures of every text column of the input ``texts``; return their names, each [n, width]."""
    return [_Column(draft, column, number).add() for number, column in enumerate(columns)]


class _Column:
    """The nodes of one column; arrays are [n, words of the longest text, ...]."""

    def __init__(self, draft: Draft, column: TextColumn, number: int) -> None:
        self._draft, self._column, self._number = draft, column, number
        self._kinds = need("onnx", "train", "The ONNX export").TensorProto
        self._axis = self._constant("axis", np.array([1], dtype=np.int64))

    def add(self) -> str:
        text = self._node("Gather", ["texts", self._constant("of", np.array(self._number))], "text", axis=1)
        numbers = self._numbers(text)
        parts = [self._words(numbers)]
        if self._column.figures:
            parts.append(self._sums(numbers))
        figures = self._node("Concat", parts, "some", axis=1) if len(parts) > 1 else parts[0]
        gap = self._look_up(text, "gap", keys_strings=[""], values_floats=[float("nan")], default_float=0.0)
        gap = self._node("Unsqueeze", [gap, self._axis], "gap_by_row")
        return self._node("Add", [figures, gap], "figures")

    def _numbers(self, text: str) -> str:
        words = self._node(
            "Tokenizer", [text], "words", domain=TOKENS, mark=0, mincharnum=1, pad_value="", tokenexp=WORD
        )
        forms = {"": PAD, **self._column.vocabulary.forms()}
        return self._look_up(
            words,
            "numbers",
            keys_strings=list(forms),
            values_int64s=list(forms.values()),
            default_int64=UNKNOWN,
        )

    def _words(self, numbers: str) -> str:
        word = self._node("Cast", [numbers], "number", to=self._kinds.FLOAT)
        one = self._constant("one", np.ones(1, dtype=np.float32))
        each = self._node("Min", [word, one], "each")
        return self._node("ReduceSum", [each, self._axis], "count", keepdims=1)

    def _sums(self, numbers: str) -> str:
        column = self._column
        places = numbers if not column.vocabulary.pairs else self._with_pairs(numbers)
        table = np.stack([*column.weights, *column.squares], axis=1)
        held = self._node("Gather", [self._constant("table", table), places], "held")
        exact = self._node("Cast", [held], "exact", to=self._kinds.DOUBLE)
        sums = self._node("ReduceSum", [exact, self._axis], "sums", keepdims=0)
        order = sorted(column.figures, key=lambda key: column.figures[key])
        weights = np.array([w for w, _ in order], dtype=np.int64)
        squares = np.array([len(column.weights) + s for _, s in order], dtype=np.int64)
        total = self._node("Gather", [sums, self._constant("weights", weights)], "total", axis=1)
        square = self._node("Gather", [sums, self._constant("squares", squares)], "square", axis=1)
        least = self._node("Max", [square, self._constant("least", np.ones(1))], "not_nothing")
        size = self._node("Sqrt", [least], "size")
        return self._node("Cast", [self._node("Div", [total, size], "part")], "sum", to=self._kinds.FLOAT)

    def _with_pairs(self, numbers: str) -> str:
        words, pairs = self._column.vocabulary.words, self._column.vocabulary.pairs
        first = self._slice(numbers, "first", 0, -1)
        after = self._slice(numbers, "after", 1, np.iinfo(np.int64).max)
        times = self._constant("times", np.array([len(words) + 2], dtype=np.int64))
        keys = self._node("Add", [self._node("Mul", [first, times], "far"), after], "keys")
        rows = range(2 + len(words), 2 + len(words) + len(pairs))
        found = self._look_up(keys, "pairs", keys_int64s=list(pairs), values_int64s=list(rows), default_int64=PAD)
        return self._node("Concat", [numbers, found], "places", axis=1)

    def _slice(self, given: str, name: str, start: int, end: int) -> str:
        ends = [self._constant(f"{name}_{e}", np.array([v], dtype=np.int64)) for e, v in (("from", start), ("to", end))]
        return self._node("Slice", [given, *ends, self._axis], name)

    def _look_up(self, given: str, name: str, **attributes: Any) -> str:
        return self._node("LabelEncoder", [given], name, domain="ai.onnx.ml", **attributes)

    def _node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        return self._draft.add(kind, inputs, f"text{self._number}_{name}", **attributes)

    def _constant(self, name: str, value: Any) -> str:
        return self._draft.constant(f"text{self._number}_{name}", value)
