"""Dates in the graph: their parts are those the models were trained on, over the whole calendar, to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from itertools import combinations

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper

from modelyard.bundle.contributions import contributions
from modelyard.bundle.parity import check_parity, graph_thresholds
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.core.errors import BundleError
from modelyard.data.dataset import Parts
from modelyard.encoding.encoding import NO_MOMENT, Encoding, NumberInput, Part
from modelyard.families.fitted import Fitted
from modelyard.families.tabular.date_graph import add_dates
from modelyard.families.tabular.draft import Draft
from modelyard.families.tabular.graph import IR_VERSION, OPSET, TREES_OPSET
from modelyard.families.tabular.inputs import read_inputs
from modelyard.families.tabular.models import Model, dump_model
from modelyard.families.tabular.network import MIXED, OF_A_CATEGORY, OF_A_NUMBER, WAVES, Network, Scaling
from modelyard.families.tabular.tabular import Tabular
from tabular_cases import LIBRARIES, TASKS, blend, candidate, dated, inputs_of, parts, raw, rows_of, run_graph, write
from tabular_cases import session as running

ALL: tuple[Part, ...] = ("days", "year", "month", "day", "weekday", "hour")
NO_CLOCK, NO_YEAR = ALL[:-1], tuple(part for part in ALL if part != "year")
FIRST, LAST = datetime.min, datetime.max
DAY = timedelta(days=1)


def encoding(*dates: tuple[Part, ...], numbers: bool = True, spans: bool = True) -> Encoding:
    """Return a layout of dates with those parts, and of numbers between them by name as a schema lays them out."""
    names = [f"at {i}" for i in range(len(dates))]
    columns = [NumberInput(name, part) for name, own in zip(names, dates, strict=True) for part in own]
    between = [NumberInput(b, "since", a) for a, b in combinations(names, 2)] if spans else []
    plain = [NumberInput("a"), NumberInput("b")] if numbers else []
    return Encoding((*plain[:1], *columns, *plain[1:], *between), (), (), (), tuple(names))


@cache
def parts_graph(layout: Encoding) -> ort.InferenceSession:
    """Return a graph that gives the matrix of numbers."""
    draft, kinds = Draft(helper), onnx.TensorProto
    last = add_dates(draft, layout)
    value = helper.make_tensor_value_info
    inputs = [value("moments", kinds.INT64, ["rows", len(layout.dates)])]
    inputs += [value("numbers", kinds.FLOAT, ["rows", len(layout.given)])] if layout.given else []
    draft.add("Identity", [last], "answer")
    answer = value("answer", kinds.FLOAT, ["rows", len(layout.numbers)])
    made = helper.make_graph(draft.nodes, "dates", inputs, [answer], draft.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREES_OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def table(columns: dict[str, list[datetime | None]]) -> pl.DataFrame:
    dated = {name: pl.Series(values, dtype=pl.Datetime("us")) for name, values in columns.items()}
    n = len(next(iter(columns.values())))
    return pl.DataFrame({**dated, "a": np.linspace(-3, 3, n), "b": [None, *range(n - 1)] if n else []})


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare every bit, but for which of the numbers that are none it is."""
    assert found.shape == expected.shape
    gone = np.isnan(expected)
    assert np.array_equal(np.isnan(found), gone)
    assert np.where(gone, 0, found).tobytes() == np.where(gone, 0, expected).tobytes()


LAYOUTS = [
    encoding(ALL, numbers=False),
    encoding(NO_CLOCK),
    encoding(NO_YEAR),
    encoding(ALL, ALL, numbers=False),
    encoding(ALL, NO_YEAR, spans=False),
    encoding(NO_CLOCK, ALL, NO_YEAR),
]
moments = st.datetimes() | st.datetimes().map(lambda m: datetime(m.year, m.month, m.day)) | st.none()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(moments, moments, moments), min_size=1, max_size=8), st.sampled_from(LAYOUTS))
@example([(FIRST, LAST, None), (None, datetime(1970, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999_999))], LAYOUTS[-1])
@example([(datetime(2000, 2, 29), datetime(1900, 2, 28, 23, 59, 59, 999_999), datetime(1900, 3, 1))], LAYOUTS[-1])
def test_the_graph_gives_the_parts_the_encoding_gives(
    rows: list[tuple[datetime | None, ...]], layout: Encoding
) -> None:
    taken = table({name: [row[i] for row in rows] for i, name in enumerate(layout.dates)})
    inputs = layout.inputs_of_frame(taken)
    expected = layout.frame(taken)[0]
    assert_same_bits(parts_graph(layout).run(["answer"], inputs)[0], expected)
    again = layout.inputs_of_rows(taken.to_dicts())
    assert again.keys() == inputs.keys()
    for name, matrix in inputs.items():
        assert matrix.dtype == again[name].dtype
        np.testing.assert_array_equal(matrix, again[name])
    ones = [parts_graph(layout).run(["answer"], layout.inputs_of_rows([row]))[0] for row in taken.to_dicts()]
    assert_same_bits(np.concatenate(ones), expected)


@pytest.mark.parametrize("beside", [-1, 0, 1, 43_200_000_000])
def test_every_day_of_the_calendar_has_its_parts(beside: int) -> None:
    days = np.arange(np.datetime64(FIRST, "D"), np.datetime64(LAST, "D")).astype("datetime64[us]").astype(np.int64)[1:]
    layout = encoding(ALL, numbers=False)
    taken = pl.DataFrame({"at 0": pl.Series(days + beside).cast(pl.Datetime("us"))})
    for some in taken.iter_slices(500_000):
        found = parts_graph(layout).run(["answer"], layout.inputs_of_frame(some))[0]
        assert_same_bits(found, layout.frame(some)[0])


def test_a_missing_date_is_not_a_time_to_numpy_and_pandas() -> None:
    assert np.array(["NaT"], dtype="datetime64[us]").view(np.int64)[0] == NO_MOMENT
    assert encoding(ALL).inputs_of_rows([{}])["moments"].tolist() == [[NO_MOMENT]]
    assert encoding(ALL, ALL).inputs_of_rows([])["moments"].shape == (0, 2)


def test_the_table_of_days_is_folded_when_the_graph_is_loaded(tmp_path) -> None:
    """A graph that made it anew for every row would take milliseconds."""
    split = parts("binary", dated())
    graph = Tabular().export(blend("binary", [Tabular().fit(candidate("linear"), split.blind(), 0)]), split.development)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(graph.files["model.onnx"], options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx")
    assert not {"Range", "CumSum", "ScatterElements"} & {node.op_type for node in loaded.graph.node}
    assert len(graph.files["model.onnx"]) < 60_000


@pytest.mark.parametrize("task", TASKS)
def test_a_blend_over_dates_answers_and_is_explained_as_it_was_trained(task, tmp_path) -> None:
    split = parts(task, dated(task))
    mixed = blend(task, [Tabular().fit(candidate(name), split.blind(), 0) for name in LIBRARIES])
    exported, data = Tabular().export(mixed, split.development), split.development
    layout = Encoding.of(data.schema, moments=exported.moments)
    assert layout.dates == ("born", "seen")
    runtime = OnnxRuntime(exported.files["model.onnx"], layout, max(1, len(data.schema.classes)))
    deviation = 1.0 if data.schema.classes else float(data.truth().std())
    points = graph_thresholds(exported.files["model.onnx"], layout)
    assert {"born.days", "seen.days"} & set(points)
    facts = check_parity(runtime, lambda rows: mixed.answer(raw(mixed, rows)), data, deviation, points, 0)
    assert facts["adversarial"] > 0
    _, moved = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    share = dict(zip(exported.facts["columns"], np.abs(moved).mean(axis=(0, 1)), strict=True))
    assert min(share["born"], share["seen"]) > share["tiny"]


@pytest.mark.parametrize("algorithm", ["lightgbm", "linear"])
def test_the_time_between_two_dates_is_learnt_and_belongs_to_both(algorithm, tmp_path) -> None:
    random = np.random.default_rng(0)
    sent = [datetime(2020, 1, 1) + timedelta(hours=int(h)) for h in random.integers(0, 30_000, 900)]
    took = random.exponential(10.0, 900)
    came = [None if i % 20 == 0 else at + timedelta(days=d) for i, (at, d) in enumerate(zip(sent, took, strict=True))]
    split = parts("regression", pl.DataFrame({"sent": sent, "came": came, "label": 3.0 * np.minimum(took, 20.0)}))
    mixed = blend("regression", [Tabular().fit(candidate(algorithm), split.blind(), 0)])
    known = split.test.frame["came"].is_not_null().to_numpy()
    off = mixed.answer(raw(mixed, split.test))[known] - split.test.truth()[known]
    assert np.sqrt(np.mean(off**2)) < 0.5 * split.test.truth().std()
    exported = Tabular().export(mixed, split.development)
    np.testing.assert_allclose(
        run_graph(running(exported), split.test), mixed.answer(raw(mixed, split.test)), atol=1e-4
    )
    base, moved = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    np.testing.assert_allclose(base + moved.sum(axis=2), raw(mixed, split.test), rtol=1e-4, atol=1e-4)
    share = dict(zip(exported.facts["columns"], np.abs(moved).mean(axis=(0, 1)), strict=True))
    assert min(share.values()) > 0.4 * max(share.values())


def test_of_many_dates_each_is_counted_from_one() -> None:
    frame = pl.DataFrame({f"d{i}": [datetime(2020, 1, 1 + i), datetime(2021, 1, 1)] * 30 for i in range(8)})
    schema = parts("binary", frame.with_columns(label=pl.Series(["yes", "no"] * 30))).development.schema
    dates = [c.name for c in schema.features if c.kind == "date"]
    assert len(dates) == 8
    spans = [n.name for n in Encoding.of(schema).numbers if n.part == "since"]
    assert spans == [f"d{i}.since.d0" for i in range(1, 8)]
    timed = replace(schema, columns=tuple(replace(c, role="time") if c.name == "d5" else c for c in schema.columns))
    spans = [n.name for n in Encoding.of(timed).numbers if n.part == "since"]
    assert spans == [f"d{i}.since.d5" for i in range(8) if i != 5]


def by_hand(fitted: Fitted, split: Parts) -> Fitted:
    """Return a fit whose only model is a network with weights drawn at random: no library is needed for one."""
    random = np.random.default_rng(2)
    levels = tuple(map(tuple, fitted.facts["levels"]))
    p, q, units = len(Encoding.of(split.development.schema).numbers), len(levels), 6

    def drawn(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) / np.sqrt(shape[-2])).astype(np.float32)

    network = Network(
        Scaling.fit(read_inputs(split.development, levels).numbers),
        drawn(p, WAVES),
        drawn(p, WAVES),
        drawn(p, WAVES, MIXED),
        tuple(drawn(len(known) + 2, OF_A_CATEGORY) for known in levels),
        drawn(1, OF_A_NUMBER * p + OF_A_CATEGORY * q, units),
        (drawn(units, units),),
        (drawn(1, units), drawn(1, units)[0]),
        drawn(1, units, 1),
        np.zeros(1, dtype=np.float32),
    )
    arrays: dict[str, np.ndarray] = {}
    record = dump_model(Model("mlp", np.zeros(1), 1.0, np.zeros(1, np.int64), network=network), "fold0", arrays, {})
    return replace(fitted, facts={**fitted.facts, "algorithm": "mlp", "models": [record]}, arrays=arrays, texts={})


def test_a_network_reads_and_explains_dates(tmp_path) -> None:
    split = parts("binary", dated())
    trees, line = (Tabular().fit(candidate(name), split.blind(), 0) for name in ("lightgbm", "linear"))
    mixed = blend("binary", [trees, by_hand(line, split)])
    exported = Tabular().export(mixed, split.development)
    expected = mixed.answer(raw(mixed, split.test))
    np.testing.assert_allclose(run_graph(running(exported), split.test), expected, atol=1e-5)
    base, moved = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.test))
    np.testing.assert_allclose(base + moved.sum(axis=2), raw(mixed, split.test), rtol=1e-4, atol=1e-4)
    assert np.abs(base - base[0]).max() < 1e-9
    alone = Tabular().export(blend("binary", [by_hand(line, split)]), split.development)
    _, moved = contributions(write(alone, tmp_path), alone.facts, inputs_of(split.test))
    share = dict(zip(alone.facts["columns"], np.abs(moved).mean(axis=(0, 1)), strict=True))
    assert min(share.values()) > 0
    # A column that is as it is in the typical row moves nothing.
    typical = json.loads(alone.files["members/explain.json"])["networks"]
    usual = {name: np.array([typical[name]], dtype=rows.dtype) for name, rows in inputs_of(split.test).items()}
    assert np.abs(contributions(tmp_path, alone.facts, usual)[1]).max() < 1e-6


def test_the_reckoned_size_counts_the_calendar() -> None:
    split = parts("binary", dated())
    line = Tabular().fit(candidate("linear"), split.blind(), 0)
    held = len(Tabular().export(blend("binary", [line]), split.development).files["model.onnx"])
    assert 0 <= line.own_bytes + line.shared_bytes - held < 8_000


def test_a_table_of_one_date_alone() -> None:
    split = parts("binary", dated().select("seen", "label"))
    mixed = blend("binary", [Tabular().fit(candidate(name), split.blind(), 0) for name in ("lightgbm", "linear")])
    exported = Tabular().export(mixed, split.development)
    graph = running(exported)
    assert [i.name for i in graph.get_inputs()] == ["moments"]
    hard = rows_of(split.test, {"seen": [FIRST, LAST, None, datetime(1969, 12, 31, 23, 59, 59, 999_999)]})
    for rows in (split.test, hard):
        np.testing.assert_allclose(run_graph(graph, rows), mixed.answer(raw(mixed, rows)), atol=1e-5)


def test_the_time_column_keeps_the_parts_it_had() -> None:
    table = dated().with_columns(
        pl.datetime_range(datetime(1969, 1, 1), datetime(1971, 1, 1), "1d", eager=True)[:320].alias("on")
    )
    split = parts("binary", table, time="on")
    mixed = blend("binary", [Tabular().fit(candidate("lightgbm"), split.blind(), 0)])
    exported = Tabular().export(mixed, split.development)
    names = [n.name for n in Encoding.of(split.development.schema, moments=True).numbers]
    assert "born.year" in names
    assert "on.year" not in names
    found = run_graph(running(exported), split.test)
    np.testing.assert_allclose(found, mixed.answer(raw(mixed, split.test)), atol=1e-5)


def test_a_graph_that_takes_moments_is_not_given_parts() -> None:
    split = parts("binary", dated())
    exported = Tabular().export(
        blend("binary", [Tabular().fit(candidate("linear"), split.blind(), 0)]), split.development
    )
    layout = Encoding.of(split.development.schema)
    with pytest.raises(BundleError, match="does not fit its manifest"):
        OnnxRuntime(exported.files["model.onnx"], layout, 2)
    with pytest.raises(BundleError, match="does not fit its manifest"):
        OnnxRuntime(exported.files["model.onnx"], replace(layout, dates=("seen",)), 2)
