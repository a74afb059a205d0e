"""Graphs that fail on some rows: they raise, answer NaN, take long or never end; other rows they answer as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Break = Callable[[ModelProto, float], ModelProto]
EVERY = -1e9
"""A bound that every row is over."""


def raises(graph: ModelProto, over: float) -> ModelProto:
    """Return a graph that reads a place that is not there where a row's first number is over a bound."""
    nodes = [
        helper.make_node("Gather", ["fault_places", "bad"], ["fault_place"]),
        helper.make_node("Gather", ["fault_nothing", "fault_place"], ["fault_none"]),
        helper.make_node("Add", ["whole", "fault_none"], ["answer"]),
    ]
    return _broken(graph, over, nodes, fault_places=np.array([0, 10**6]), fault_nothing=np.zeros(1, np.float32))


def answers_nan(graph: ModelProto, over: float) -> ModelProto:
    """Return a graph that answers NaN where a row's first number is over a bound."""
    nodes = [
        helper.make_node("Gather", ["fault_adds", "bad"], ["fault_add"]),
        helper.make_node("Add", ["whole", "fault_add"], ["answer"]),
    ]
    return _broken(graph, over, nodes, fault_adds=np.array([0, np.nan], np.float32))


def hangs(graph: ModelProto, over: float) -> ModelProto:
    """Return a graph that adds nothing, for as long as nobody stops it, where a row's first number is over a bound."""
    return _loops(graph, over, [0, 2**62])


def takes_long(graph: ModelProto, over: float) -> ModelProto:
    """Return a graph that takes milliseconds for any row, and a hundred times as long where its number is over it."""
    return _loops(graph, over, [10_000, 1_000_000])


def _loops(graph: ModelProto, over: float, rounds: list[int]) -> ModelProto:
    width = graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    step = helper.make_graph(
        [helper.make_node("Add", ["held", "nothing"], ["sum"]), helper.make_node("Identity", ["go"], ["on"])],
        "step",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, [None, width]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [None, width]),
        ],
        [numpy_helper.from_array(np.array(0, np.float32), "nothing")],
    )
    nodes = [
        helper.make_node("Gather", ["fault_rounds", "bad"], ["fault_most"]),
        helper.make_node("Loop", ["fault_most", "fault_yes", "whole"], ["answer"], body=step),
    ]
    return _broken(graph, over, nodes, fault_rounds=np.array(rounds), fault_yes=np.array(True))


def same(graph: ModelProto, over: float = 0.0) -> ModelProto:
    """Return another graph that answers the same."""
    return _broken(graph, over, [helper.make_node("Identity", ["whole"], ["answer"])])


def broken(content: bytes, how: Break, over: float = EVERY) -> bytes:
    """Return the content of a ``model.onnx`` that is broken in one of these ways."""
    made = how(onnx.load_from_string(content), over)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def _broken(graph: ModelProto, over: float, nodes: Sequence[NodeProto], **constants: np.ndarray) -> ModelProto:
    """Return a graph whose answer goes through further nodes, from `whole` to `answer`, that know `bad`: 0 or 1."""
    changed = ModelProto()
    changed.CopyFrom(graph)
    for node in changed.graph.node:
        node.output[:] = ["whole" if name == "answer" else name for name in node.output]
    constants |= {"fault_column": np.array([0]), "fault_bound": np.array(over, np.float32)}
    changed.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    asks = [
        helper.make_node("Gather", ["numbers", "fault_column"], ["fault_first"], axis=1),
        helper.make_node("ReduceMax", ["fault_first"], ["fault_largest"], keepdims=0),
        helper.make_node("Greater", ["fault_largest", "fault_bound"], ["fault_over"]),
        helper.make_node("Cast", ["fault_over"], ["bad"], to=TensorProto.INT64),
    ]
    changed.graph.node.extend([*asks, *nodes])
    return changed
