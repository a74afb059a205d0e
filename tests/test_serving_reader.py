"""The quick reader never accepts what the schema refuses, and reads what it accepts to the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import CITIES, FEATURES, LABELS, PLAIN, ROW, make_plain, schema
from modelyard.bundle.load import load_bundle
from modelyard.core.errors import RowError
from modelyard.data.frame_check import check_frame
from modelyard.data.schema import Column, Schema
from modelyard.encoding.encoding import Encoding
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.predictions.withhold import Withheld
from modelyard.serving.predictor import predictor
from modelyard.serving.quick import quick
from modelyard.serving.reader import Reader, reader
from modelyard.serving.terms import Terms
from test_serving_app import Client

WIDE = Schema(
    (
        *FEATURES,
        Column("ward", "category", "feature", "integer", missing=0.1, distinct=3, levels=("1", "2")),
        Column("dose", "category", "feature", "float", distinct=3, levels=("1.0", "2.5")),
        Column("note / ~text", "text", "feature", "string", missing=0.2),
        Column("left at", "date", "feature", "datetime"),
        Column("id", "id", "ignored", "integer"),
        LABELS["binary"][0],
    ),
    "binary",
    ("0", "1"),
)
FULL: dict[str, Any] = {
    **ROW,
    "ward": 2,
    "dose": 1,
    "note / ~text": "fell down",
    "left at": "2024-03-09T12:30:00+02:00",
}
ENCODING = Encoding.of(WIDE, moments=True)
LIMITS: dict[str, dict[str, Any]] = {
    "age": {"minimum": 0.5, "maximum": 90.0},
    "income": {"minimum": -1e300},
    "city": {"allowed": ("Oslo", "Bergen")},
    "joined": {"maximum": 1.72e9},
    "ward": {"allowed": ("1", "2")},
    "dose": {"allowed": ("1.0", "2.5")},
    "left at": {"minimum": 1.7e9, "maximum": 1.72e9},
}
LIMITED = replace(WIDE, columns=tuple(replace(c, **LIMITS.get(c.name, {})) for c in WIDE.columns))
"""What the brief allows of every kind of column that it may limit."""
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "Oslo", "1", "2024-02-30", "2024/3/9", "2024-03-09 10:00", 1e300, -0.0, 2**70, [], {}])
)


def exact(body: bytes, unknown: str = "refuse", schema: Schema = WIDE) -> dict[str, Any] | None:
    """Return the inputs the slow way, None where it refuses."""
    try:
        sent = msgspec.json.decode(body)
        return ENCODING.inputs_of_rows([schema.check_row(sent, unknown=unknown)])
    except (RowError, msgspec.MsgspecError):
        return None


def held(body: bytes, unknown: str = "refuse", schema: Schema = WIDE) -> bool:
    """Hold the quick way to the slow one; return whether it read the body."""
    read = Reader(schema, ENCODING, ignore=unknown == "ignore")
    found = read(body)
    if found is None:
        return False
    slow = exact(body, unknown, schema)
    assert slow is not None
    row, given = found
    inputs = read.inputs([given])
    assert inputs.keys() == slow.keys()
    for name, matrix in inputs.items():
        assert matrix.dtype == slow[name].dtype
        np.testing.assert_array_equal(matrix, slow[name])
    sent = {k: v for k, v in json.loads(body).items() if unknown == "refuse" or k in {c.name for c in WIDE.columns}}
    assert msgspec.json.decode(msgspec.json.encode(row)) == sent
    return True


@pytest.mark.parametrize(
    "change",
    [{}, {"income": None}, {"city": ""}, {"city": None}, {"member": 1}, {"ward": None}, {"ward": 0}, {"ward": "2"},
     {"dose": "2.5"}, {"dose": 2.5}, {"joined": None}, {"id": [1, {}]}, {"left": "1"}, {"age": 41.5}, {"age": 0},
     {"note / ~text": "x" * 9_000}, {"city": "Tromsø"}],
)  # fmt: skip
def test_plain_rows_are_read_quickly(change):
    assert held(json.dumps({**FULL, **change}).encode())


def test_what_may_be_left_out_may_be_left_out():
    assert held(json.dumps({k: FULL[k] for k in ("age", "member", "dose", "left at")}).encode())


@pytest.mark.parametrize(
    "change",
    [{"age": None}, {"age": "41"}, {"age": True}, {"age": 1e300}, {"member": 2}, {"member": "true"}, {"dose": True},
     {"joined": "9.3.2024"}, {"more": 1}, {"city": 7}],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_schema(change):
    assert not held(json.dumps({**FULL, **change}).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b'{"instances": [{}]}', b"\xff", b"[" * 100_000])
def test_what_is_no_row_is_left_to_the_server(body):
    for ignore in (False, True):
        assert Reader(WIDE, ENCODING, ignore=ignore)(body) is None


def test_unknown_names_are_ignored_by_choice():
    body = json.dumps({**FULL, "more": {"deep": [1]}}).encode()
    assert not held(body)
    assert held(body, "ignore")
    optional = Schema((Column("age", "number", "feature", "float", missing=0.5),), "regression")
    many = Reader(optional, Encoding.of(optional, moments=True), ignore=True)
    assert many(b'{"instances": [{"age": 3}]}') is None
    assert many(b'{"instances": 3}') is None
    assert many(b'{"else": 3}') is not None


def test_a_name_sent_twice_counts_with_its_last_value():
    body = json.dumps(FULL).encode()
    assert held(body[:-1] + b', "age": 50}')
    assert held(b'{"age": 50, ' + body[1:])


@settings(max_examples=300, deadline=None)
@given(
    change=st.dictionaries(st.sampled_from([*FULL, "id", "else"]), VALUES, max_size=4),
    without=st.sets(st.sampled_from(list(FULL)), max_size=2),
)
def test_whatever_it_reads_the_schema_reads_alike(change, without):
    sent = {k: v for k, v in (FULL | change).items() if k not in without}
    body = json.dumps(sent).encode()
    for unknown in ("refuse", "ignore"):
        held(body, unknown)
        held(body, unknown, LIMITED)


EDGES = [0, 1, 0.5, 0.49, 90, 90.0, 91, 90.1, 1.0, 2.5, "1", "01", "1.0", "2.5", "Oslo", "Bergen", "Rome", "", None]
DATES = [
    "2023-11-14T22:13:20",
    "2023-11-14T22:13:19",
    "2024-07-03T09:46:40Z",
    "2024-07-03T09:46:41",
    "2024-03-09",
    None,
]


@settings(max_examples=300, deadline=None)
@given(
    change=st.dictionaries(st.sampled_from(["age", "income", "city", "ward", "dose"]), st.sampled_from(EDGES))
    | st.dictionaries(st.sampled_from(["joined", "left at"]), st.sampled_from(DATES))
)
def test_rows_at_the_edge_of_what_is_allowed_are_read_alike_every_way(change):
    row = FULL | change
    held(json.dumps(row).encode(), schema=LIMITED)
    by_row = answer(lambda: [LIMITED.check_row(row, pointer="/0")])
    assert answer(lambda: check_frame(LIMITED, pl.DataFrame([row], infer_schema_length=None)).to_dicts()) == by_row


def answer(check: Callable[[], list[dict[str, Any]]]) -> object:
    """Return what a check read, or what it said was wrong where."""
    try:
        return check()
    except RowError as error:
        return [(p.pointer, p.what, p.allowed) for p in error.problems]


@pytest.mark.parametrize(
    ("change", "quick"),
    [({}, True), ({"age": 90}, True), ({"age": 0.5}, True), ({"age": 0}, False), ({"age": 90.5}, False),
     ({"city": None}, True), ({"city": "Rome"}, False), ({"ward": 2}, True), ({"ward": "2"}, True),
     ({"ward": 3}, False), ({"dose": 2.5}, True), ({"dose": 2}, False), ({"joined": "2024-07-04"}, False),
     ({"left at": "2023-11-14"}, False), ({"income": -5e37}, True)],
)  # fmt: skip
def test_what_the_brief_allows_is_read_quickly_and_nothing_else(change, quick):
    assert held(json.dumps({**FULL, **change}).encode(), schema=LIMITED) is quick
    assert held(json.dumps({**FULL, **change}).encode())  # without limits all of them are


def test_there_is_none_where_the_graph_is_given_the_parts_of_dates():
    assert reader(schema("binary"), Encoding.of(schema("binary"))) is None
    assert reader(WIDE, ENCODING) is not None


@pytest.fixture(scope="module")
def undated(tmp_path_factory):
    """Return bundles that have a quick way."""
    home = tmp_path_factory.mktemp("undated")
    return {task: load_bundle(make_plain(home / task, task)) for task in LABELS}


@pytest.mark.parametrize("task", list(LABELS))
def test_the_quick_answer_is_the_answer(undated, task):
    b = undated[task]
    answer, long = quick(b, reader(b.schema, b.manifest.encoding)), predictor(b)
    assert answer is not None
    random = np.random.default_rng(1)
    for i in range(300):
        row = {
            "age": int(random.integers(18, 90)),
            "income": None if i % 9 == 0 else float(random.uniform(0, 9e4)),
            "city": (*CITIES, None, "Rome")[i % 5],
            "member": bool(i % 2),
        }
        found = answer(json.dumps(row).encode())
        assert found is not None
        assert json.loads(found[1]) == row
        assert found[2] == long.predict([b.schema.check_row(row)])[0].plain()


def test_a_model_that_fails_is_left_to_the_long_way(undated, monkeypatch):
    b = undated["binary"]
    for outputs in ([[0.5, float("nan")]], [[float("inf"), float("-inf")]]):
        monkeypatch.setattr(b.runtime, "run", lambda names, inputs, _, o=outputs: [np.array(o, dtype=np.float32)])
        assert quick(b, reader(b.schema, b.manifest.encoding))(json.dumps(PLAIN).encode()) is None

    def broken(names, inputs, _):
        raise RuntimeError("the graph broke")

    monkeypatch.setattr(b.runtime, "run", broken)
    assert quick(b, reader(b.schema, b.manifest.encoding))(json.dumps(PLAIN).encode()) is None


def test_the_quick_way_is_logged_and_answered_as_the_long_one(undated, tmp_path):
    app = App(undated["binary"], log=PredictionLog(tmp_path))
    client = Client(app)
    assert app.router.stable.quick is not None
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    one = client.predict(PLAIN, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}).json()
    two = client.predict({**PLAIN, "member": 1.0}).json()  # not plainly a truth value
    first, second = read_log(tmp_path)
    assert (first.id, first.rows, first.trace) == (one["id"], [PLAIN], trace)
    assert second.trace == ""
    assert first.answers == second.answers
    assert first.version == undated["binary"].hash[:12]
    assert {k: v for k, v in one.items() if k != "id"} == {k: v for k, v in two.items() if k != "id"}
    app.close()


@pytest.mark.parametrize("row", [{"age": 2**70}, {"note": {"deep": [2**70]}}])
def test_integers_of_more_than_64_bits_are_logged(undated, tmp_path, row):
    app = App(undated["binary"], log=PredictionLog(tmp_path), terms=Terms(unknown="ignore"))
    client = Client(app)
    assert client.predict({**PLAIN, **row}).status_code == 200
    (record,) = read_log(tmp_path)
    assert record.rows[0]["city"] == "Oslo"
    assert record.rows[0]["age"] in (PLAIN["age"], float(2**70))
    app.close()


def test_columns_of_rows_read_quickly_are_kept_out_of_the_log(undated, tmp_path):
    withheld = Withheld(("city",), ("age",), tmp_path / "key")
    app = App(undated["binary"], log=PredictionLog(tmp_path / "log"), terms=Terms(withheld=withheld))
    assert Client(app).predict({**PLAIN, "city": "Oslo"}).status_code == 200
    (record,) = read_log(tmp_path / "log")
    assert set(record.rows[0]) == set(PLAIN) - {"age"}
    assert record.rows[0]["city"].startswith("hmac:")
    app.close()


@pytest.mark.parametrize("name", ['6" pipe', "a\\b", "two\nlines", "tab\t"])
def test_a_name_that_json_escapes_is_read_all_the_same(undated, name):
    column = Column(name, "number", "feature", "float", missing=0.5)
    odd = replace(WIDE, columns=(column, *WIDE.columns))
    assert reader(odd, Encoding.of(odd, moments=True)) is None
    assert odd.check_row({**FULL, name: 1.5})[name] == 1.5


def test_unknown_names_are_refused_or_ignored_by_choice(undated):
    assert Client(App(undated["binary"])).predict({**PLAIN, "more": 1}).status_code == 422
    lenient = Client(App(undated["binary"], terms=Terms(unknown="ignore")))
    assert lenient.predict({**PLAIN, "more": 1}).status_code == 200
    assert lenient.predict({"instances": [{**PLAIN, "more": 1}]}).status_code == 200
    assert lenient.predict({**PLAIN, "age": "old"}).status_code == 422
