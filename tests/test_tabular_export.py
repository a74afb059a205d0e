"""The exported graph answers as the native models do, on ordinary rows and on rows made to catch it out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelyard.core.errors import FamilyError
from modelyard.data.dataset import Dataset
from modelyard.encoding.encoding import Encoding
from modelyard.families.tabular import forest_graph
from modelyard.families.tabular.forest import floor_single
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.tabular import Tabular
from modelyard.serving.turn import MOST
from tabular_cases import (
    LIBRARIES,
    TASKS,
    blend,
    candidate,
    frame,
    inputs_of,
    parts,
    raw,
    rows_of,
    run_graph,
    session,
    whole,
)

TOLERANCE = 1e-5
singles = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True)


def tolerance(data: Dataset) -> float:
    return TOLERANCE * (float(data.truth().std()) if data.schema.task == "regression" else 1.0)


def strange(data: Dataset, fitted) -> Dataset:
    """Rows at every threshold and its float32 neighbours, extremes, gaps, unseen and missing levels."""
    encoding = Encoding.of(data.schema)
    names = [n.name for n in encoding.numbers]
    rng = np.random.default_rng(0)
    base = data.frame.drop("label").sample(1, seed=1).row(0, named=True)
    rows = [base]
    for text in fitted.texts.values():
        forest = library(fitted.facts["algorithm"]).forest(text)
        split_on = np.flatnonzero((forest.feature >= 0) & (forest.feature < len(names)))
        for node in rng.permutation(split_on)[:60]:
            edge = np.clip(forest.threshold[node], np.float32(-3e38), np.float32(3e38))
            below, above = np.nextafter(edge, np.float32(-np.inf)), np.nextafter(edge, np.float32(np.inf))
            for value in (below, edge, above, np.nextafter(above, np.float32(np.inf))):
                rows.append({**base, names[forest.feature[node]]: float(value)})
    for name in names:
        for value in (None, 0.0, -0.0, 1e30, -1e30, 3.4e38, -3.4e38, 1e-45, -1e-45, 1e-38, 1e-35, -1e-35):
            rows.append({**base, name: value})
    for name in encoding.strings:
        for value in (None, "", "never seen", "RØD", " ", "city 3"):
            rows.append({**base, name: value})
    rows.append(dict.fromkeys(base))
    for _ in range(100):
        picked = data.frame.drop("label").sample(len(base), with_replacement=True, seed=int(rng.integers(1 << 30)))
        rows.append({name: picked[name][i] for i, name in enumerate(base)})
    columns = {name: [row[name] for row in rows] for name in base}
    return rows_of(data, columns)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", LIBRARIES)
def test_a_graph_agrees_with_its_library_on_ordinary_and_strange_rows(algorithm, task):
    split = parts(task)
    fitted = Tabular().fit(candidate(algorithm), split.blind(), 0)
    mixed = blend(task, [fitted], scale=1.0 if task == "regression" else 1.4, offset=0.3)
    graph = session(Tabular().export(mixed, split.development))
    for rows in (split.test, strange(split.development, fitted)):
        wanted = mixed.answer(raw(mixed, rows))
        assert np.abs(run_graph(graph, rows) - wanted).max() < tolerance(split.development)


@pytest.mark.parametrize("task", TASKS)
def test_a_blend_of_all_libraries_is_one_graph_of_a_dozen_nodes(task):
    split = parts(task)
    members = [Tabular().fit(candidate(name), split.blind(), seed) for seed, name in enumerate(LIBRARIES)]
    mixed = blend(task, members, scale=1.0 if task == "regression" else 0.7, offset=-0.2)
    exported = Tabular().export(mixed, split.development)
    graph = session(exported)
    for rows in (split.test, *(strange(split.development, fitted) for fitted in members)):
        assert np.abs(run_graph(graph, rows) - mixed.answer(raw(mixed, rows))).max() < tolerance(split.development)
    one = split.test.take(np.array([0]))
    np.testing.assert_allclose(run_graph(graph, one), run_graph(graph, split.test)[:1], atol=1e-6)
    assert exported.facts["trees"] == sum(m["trees"] for m in exported.facts["members"]) > 0
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(exported.files["model.onnx"])
    assert [i.name for i in model.graph.input] == ["numbers", "strings"]
    assert sum(node.op_type == "TreeEnsembleRegressor" for node in model.graph.node) == 1
    assert len(model.graph.node) < 45
    assert {name for name in exported.files if name.startswith("members/lightgbm")} == {
        f"members/lightgbm-{fold}.txt" for fold in range(3)
    }
    assert Tabular().export(mixed, split.development).files == exported.files


@pytest.mark.parametrize("algorithm", LIBRARIES)
def test_a_hundred_classes_are_learnt_and_answered_as_the_library_does(algorithm):
    classes = [f"{i % 100:02}" for i in range(1_200)]
    table = frame("binary", rows=1_200).with_columns(label=pl.Series(classes), clue=pl.Series(classes))
    split = parts("multiclass", table)
    few = {} if algorithm == "linear" else {"rounds": 3}
    fitted = Tabular().fit(candidate(algorithm, **few), split.blind(), 0)
    assert fitted.scores.shape == (len(split.development), 100)
    mixed = blend("multiclass", [fitted])
    graph = session(Tabular().export(mixed, split.development))
    answers = run_graph(graph, split.test)
    assert np.abs(answers - mixed.answer(raw(mixed, split.test))).max() < TOLERANCE
    truth = split.test.truth().astype(int)
    assert answers[np.arange(len(truth)), truth].mean() > 0.012  # 0.01 by chance


def test_very_many_trees_are_shared_out_between_nodes(monkeypatch):
    split = parts("multiclass")
    mixed = blend("multiclass", [Tabular().fit(candidate("xgboost"), split.blind(), 0)])
    whole = session(Tabular().export(mixed, split.development))
    monkeypatch.setattr(forest_graph, "MOST_TREES", 50)
    exported = Tabular().export(mixed, split.development)
    nodes = pytest.importorskip("onnx").load_from_string(exported.files["model.onnx"]).graph.node
    assert sum(n.op_type == "TreeEnsembleRegressor" for n in nodes) == -(-exported.facts["trees"] // 50) > 1
    np.testing.assert_allclose(run_graph(session(exported), split.test), run_graph(whole, split.test), atol=1e-6)


@pytest.mark.parametrize(("numbers", "strings"), [(True, False), (False, True)])
def test_a_graph_has_only_the_inputs_its_table_has(numbers, strings):
    split = parts("binary", frame("binary", numbers=numbers, strings=strings))
    members = [Tabular().fit(candidate(name), split.blind(), 0) for name in ("linear", "lightgbm")]
    mixed = blend("binary", members)
    graph = session(Tabular().export(mixed, split.development))
    assert [i.name for i in graph.get_inputs()] == ["numbers"] * numbers + ["strings"] * strings
    assert np.abs(run_graph(graph, split.test) - mixed.answer(raw(mixed, split.test))).max() < TOLERANCE


def test_a_model_with_nothing_to_learn_from_answers_the_mean():
    split = parts("regression")
    data = split.development
    first = data.frame.drop("label").row(0, named=True)
    same = replace(data, frame=data.frame.with_columns([pl.lit(v).alias(name) for name, v in first.items()]))
    fitted = Tabular().fit(candidate("lightgbm"), replace(split.blind(), development=same), 0)
    assert fitted.rounds == (0, 0, 0)
    answers = run_graph(session(Tabular().export(blend("regression", [fitted]), data)), split.test)
    np.testing.assert_allclose(answers, data.truth().mean(), rtol=1e-2)


@pytest.mark.parametrize(("algorithm", "least"), [("lightgbm", "min_data_in_leaf"), ("xgboost", "min_child_weight")])
def test_trees_that_found_no_split_still_make_a_graph(algorithm, least):
    split = parts("multiclass")
    given = candidate(algorithm, **{least: 10**6})
    fitted = Tabular().fit(given, split.blind(), 0)
    assert fitted.texts == Tabular().fit(given, split.blind(), 0, rounds=fitted.rounds).texts
    mixed = blend("multiclass", [whole(given, split.blind())])
    graph = session(Tabular().export(mixed, split.development))
    assert np.abs(run_graph(graph, split.test) - mixed.answer(raw(mixed, split.test))).max() < TOLERANCE


def test_a_table_without_inputs_is_refused():
    split = parts("binary")
    fitted = Tabular().fit(candidate("linear"), split.blind(), 0)
    schema = replace(split.development.schema, columns=split.development.schema.columns[-1:])
    with pytest.raises(FamilyError, match="no column"):
        Tabular().export(blend("binary", [fitted]), replace(split.development, schema=schema))


@pytest.fixture(scope="module")
def everything():
    split = parts("binary")
    mixed = blend("binary", [Tabular().fit(candidate(name), split.blind(), 0) for name in LIBRARIES])
    return split.development, mixed, session(Tabular().export(mixed, split.development))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=arrays(np.float32, (8, 5), elements=singles | st.just(np.float32("nan"))),
    strings=arrays(object, (8, 2), elements=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
)
def test_any_row_gets_the_same_answer_from_the_graph(everything, numbers, strings):
    data, mixed, graph = everything
    columns = {
        n.name: [None if np.isnan(v) else float(v) for v in numbers[:, i]]
        for i, n in enumerate(Encoding.of(data.schema).numbers)
    }
    columns |= {name: strings[:, i].tolist() for i, name in enumerate(Encoding.of(data.schema).strings)}
    rows = rows_of(data, columns)
    assert np.abs(run_graph(graph, rows) - mixed.answer(raw(mixed, rows))).max() < TOLERANCE


@settings(max_examples=300, deadline=None)
@given(threshold=st.floats(allow_nan=False, allow_infinity=False), value=singles)
def test_a_floored_threshold_splits_every_single_as_the_double_does(threshold, value):
    for x in (np.float32(value), *_around(threshold)):
        assert bool(np.float64(x) <= threshold) == bool(x <= floor_single(np.array([threshold]))[0])


def _around(threshold: float) -> list[np.float32]:
    with np.errstate(over="ignore"):
        near = np.float32(threshold)
    if not np.isfinite(near):
        return []
    with np.errstate(over="ignore"):
        return [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]


@pytest.mark.parametrize("task", TASKS)
def test_a_row_among_those_of_a_server_s_turn_is_answered_as_alone_to_the_bit(task):
    """A server answers rows of several callers by one call: none may see from its answer that others asked."""
    assert MOST < forest_graph.MANY
    split = parts(task)
    data = split.development
    mixed = blend(task, [Tabular().fit(candidate(name), split.blind(), 0) for name in LIBRARIES])
    running = session(Tabular().export(mixed, data))
    inputs = inputs_of(data)
    alone = [running.run(["answer"], {name: held[i : i + 1] for name, held in inputs.items()})[0] for i in range(120)]
    for count in range(2, MOST + 1):
        for first in range(0, 120 - count, count):
            some = {name: held[first : first + count] for name, held in inputs.items()}
            together = running.run(["answer"], some)[0]
            np.testing.assert_array_equal(together, np.concatenate(alone[first : first + count]))
