"""Graph: a whole blend as one ONNX graph of a dozen nodes.

Strings become codes in one look-up, codes become rows of one table that holds every model's figures side by side; one
tree ensemble holds the trees of all boosters, with weight, mean over models and calibration in its leaf values,
symmetric ones apart (see `symmetric`); linear members share one matrix product, and networks of one shape each of
theirs. The node count does not grow with columns, models or members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.encoding.encoding import Encoding
from modelyard.families.fitted import Link
from modelyard.families.tabular.date_graph import add_dates
from modelyard.families.tabular.derived import DIFFERENCE, PRODUCT, RATIO, SUM
from modelyard.families.tabular.draft import Draft
from modelyard.families.tabular.forest import Forest
from modelyard.families.tabular.forest_graph import add_forest
from modelyard.families.tabular.inputs import Levels
from modelyard.families.tabular.layout import Layout, vocabulary
from modelyard.families.tabular.network_graph import NetworkPart, add_networks
from modelyard.families.tabular.text_graph import TOKENS, add_texts

OPSET, TREES_OPSET, IR_VERSION = 17, 3, 8
"""Versions ONNX Runtime has read since 1.15."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearPart:
    """The linear members of a blend, one after the other: m models over p numbers (and figures of texts) and levels.

    Attributes
    ----------
    mean, low, high : float32 arrays of shape [m, p]
        As in `Linear`.
    numbers : float64 array of shape [m, p, k]
        Weights of the centred numbers.
    missing : float64 array of shape [p, k]
        Weights of the missing indicators, summed over models.
    table : float64 array of shape [R, k]
        What each row of the levels' table adds, summed over models.
    """

    mean: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    numbers: Floats
    missing: Floats
    table: Floats


def build(
    forest: Forest | None,
    linear: LinearPart | None,
    networks: Sequence[NetworkPart],
    layout: Layout,
    encoding: Encoding,
    offset: Floats,
    link: Link,
) -> bytes:
    """Return the graph, serialised.

    Parameters
    ----------
    forest : Forest or None
        All trees, over the layout's features, leaf values ready to be summed.
    linear : LinearPart or None
        The linear members.
    networks : sequence of NetworkPart
        The networks, by shape.
    layout : Layout
        Of the feature matrix.
    encoding : Encoding
        Of the inputs.
    offset : float64 array of shape [k]
        Added to every row's raw score.
    link : {"identity", "log", "logistic", "softmax"}
        From raw scores to the answer.
    """
    onnx = need("onnx", "train", "The ONNX export")
    draft = Draft(onnx.helper)
    strings = len(layout.levels)
    if strings:
        _rows(draft, layout.levels)
    numbers = add_dates(draft, encoding) if encoding.dates else "numbers" if layout.numbers else None
    plain = [numbers] if numbers else []
    plain += add_texts(draft, layout.texts)
    if len(plain) > 1:
        plain = [draft.add("Concat", plain, "numbers_and_texts", axis=1)]
    kinds = onnx.TensorProto
    terms = []
    if forest is not None:
        terms += _trees(draft, forest, plain, layout, numbers, len(offset))
    if networks:
        terms.append(add_networks(draft, networks, numbers, layout.numbers, strings))
    exact = link == "log"
    if exact:
        # An exponential multiplies the error of a large logarithm: it is summed in float64, and only its value rounded.
        terms = [draft.add("Cast", [term], f"{term}_exact", to=kinds.DOUBLE) for term in terms]
    if linear is not None:
        terms += _linear(draft, linear, plain, strings, exact)
    terms.append(draft.constant("offset", offset.astype(np.float64 if exact else np.float32)))
    last = "answer" if link == "identity" else "raw"
    draft.add("Sum", terms, last)
    if link == "softmax":
        draft.add("Softmax", [last], "answer", axis=1)
    elif link == "logistic":
        draft.add("Mul", [last, draft.constant("both", np.array([-1, 1], dtype=np.float32))], "sides")
        draft.add("Sigmoid", ["sides"], "answer")
    elif link == "log":
        draft.add("Cast", [draft.add("Exp", [last], "value")], "answer", to=kinds.FLOAT)
    value = onnx.helper.make_tensor_value_info
    inputs = [value("numbers", kinds.FLOAT, ["rows", len(encoding.given)])] if encoding.given else []
    inputs += [value("moments", kinds.INT64, ["rows", len(encoding.dates)])] if encoding.dates else []
    inputs += [value("strings", kinds.STRING, ["rows", strings])] if strings else []
    inputs += [value("texts", kinds.STRING, ["rows", len(layout.texts)])] if layout.texts else []
    width = 2 if link == "logistic" else len(offset)
    graph = onnx.helper.make_graph(
        draft.nodes, "modelyard", inputs, [value("answer", kinds.FLOAT, ["rows", width])], draft.constants
    )
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", TREES_OPSET)]
    opsets += [onnx.helper.make_opsetid(TOKENS, 1)] if layout.texts else []
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="modelyard")
    return bytes(model.SerializeToString(deterministic=True))


def _rows(draft: Draft, levels: Levels) -> None:
    """Turn strings [n, q] into rows [n, q] of the levels' table."""
    words, rows = vocabulary(levels)
    q = len(levels)
    draft.add(
        "LabelEncoder",
        ["strings"],
        "word",
        domain="ai.onnx.ml",
        keys_strings=words,
        values_int64s=[i * q for i in range(len(words))],
        default_int64=len(words) * q,
    )
    draft.add("Add", ["word", draft.constant("column", np.arange(q, dtype=np.int64))], "cell")
    draft.add("Gather", [draft.constant("row_of_cell", rows.ravel()), "cell"], "row")


def _derived(draft: Draft, layout: Layout, numbers: str | None) -> list[str]:
    """Compute derived numbers from the matrix of numbers, those of one kind in one node."""
    pairs = layout.derived.pairs
    if numbers is None or not len(pairs):
        return []
    parts = []
    for kind, name in ((DIFFERENCE, "Sub"), (PRODUCT, "Mul"), (RATIO, "Div"), (SUM, "Add")):
        own = pairs[pairs[:, 0] == kind]
        if not len(own):
            continue
        first, second = (
            draft.add("Gather", [numbers, draft.constant(f"{name}_{side}_of", own[:, i])], f"{name}_{side}", axis=1)
            for i, side in ((1, "first"), (2, "second"))
        )
        if kind == RATIO:
            zero = draft.add("Equal", [second, draft.constant("zero", np.zeros(1, dtype=np.float32))], "to_zero")
            nothing = draft.constant("nothing", np.array([np.nan], dtype=np.float32))
            second = draft.add("Where", [zero, nothing, second], "divisor")
        parts.append(draft.add(name, [first, second], f"{name}_of_pairs"))
    wide = draft.add("Concat", parts, "pairs", axis=1) if len(parts) > 1 else parts[0]
    largest = np.array([np.finfo(np.float32).max], dtype=np.float32)
    low = draft.add("Max", [wide, draft.constant("lowest", -largest)], "pairs_from_below")
    return [draft.add("Min", [low, draft.constant("largest", largest)], "derived")]


def _trees(
    draft: Draft, forest: Forest, plain: list[str], layout: Layout, numbers: str | None, outputs: int
) -> list[str]:
    parts = [*plain, *_derived(draft, layout, numbers)]
    if layout.width:
        draft.add("Gather", [draft.constant("figures", layout.table()), "row"], "figures_by_column")
        flat = draft.constant("flat", np.array([-1, len(layout.levels) * layout.width], dtype=np.int64))
        parts.append(draft.add("Reshape", ["figures_by_column", flat], "figures_of_row"))
    elif not parts:  # trees that ask nothing still need a matrix with a row for each row
        parts.append(draft.add("Cast", ["row"], "rows_as_numbers", to=need("onnx", "train", "").TensorProto.FLOAT))
    features = draft.add("Concat", parts, "features", axis=1)
    of_numbers = layout.plain + (0 if numbers is None else len(layout.derived.pairs))
    width = of_numbers + len(layout.levels) * layout.width or len(layout.levels)
    return add_forest(draft, forest, features, width, outputs)


def _linear(draft: Draft, part: LinearPart, plain: list[str], strings: int, exact: bool) -> list[str]:
    """Add the linear members' terms: sums in float64 where `exact`, of the same float32 numbers as in training."""
    kinds, terms = need("onnx", "train", "The ONNX export").TensorProto, []
    kind, precision = (kinds.DOUBLE, np.float64) if exact else (kinds.FLOAT, np.float32)
    models, numbers, outputs = part.numbers.shape
    if numbers:
        draft.add("IsNaN", plain, "gone")
        axis = draft.constant("model_axis", np.array([1], dtype=np.int64))
        draft.add("Unsqueeze", [*plain, axis], "numbers_by_model")
        draft.add("Unsqueeze", ["gone", axis], "gone_by_model")
        mean = draft.constant("mean", part.mean)
        draft.add("Where", ["gone_by_model", mean, "numbers_by_model"], "filled")
        draft.add("Max", ["filled", draft.constant("low", part.low)], "not_below")
        draft.add("Min", ["not_below", draft.constant("high", part.high)], "clipped")
        draft.add("Sub", ["clipped", mean], "centred")
        shape = draft.constant("models_flat", np.array([-1, models * numbers], dtype=np.int64))
        factor = draft.add("Reshape", ["centred", shape], "centred_flat")
        if exact:
            factor = draft.add("Cast", [factor], "centred_exact", to=kind)
        weights = draft.constant("weights", part.numbers.reshape(-1, outputs).astype(precision))
        terms.append(draft.add("MatMul", [factor, weights], "from_numbers"))
        if part.missing.any():
            draft.add("Cast", ["gone"], "gaps", to=kind)
            gap = draft.constant("gap_weights", part.missing.astype(precision))
            terms.append(draft.add("MatMul", ["gaps", gap], "from_gaps"))
    if strings:
        draft.add("Gather", [draft.constant("level_weights", part.table.astype(precision)), "row"], "by_level")
        columns = draft.constant("columns_axis", np.array([1], dtype=np.int64))
        terms.append(draft.add("ReduceSum", ["by_level", columns], "from_levels", keepdims=0))
    return terms
