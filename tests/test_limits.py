"""What the brief allows of a column's values: read, held to in training, carried in the bundle and kept by servers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import jsonschema
import polars as pl
import pyarrow as pa
import pytest

import modelyard as my
from bundles import FEATURES, ROW, bundle, make_plain, schema
from modelyard.brief.brief import Brief, DataBrief
from modelyard.brief.read import read_brief
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.examples import plain_rows, synthetic
from modelyard.bundle.load import load_bundle
from modelyard.bundle.stream import predict_file
from modelyard.bundle.verify import MANIFEST, SEAL, seal
from modelyard.core.errors import BriefError, DataError, RowError
from modelyard.data.read import read_data
from modelyard.data.schema import Schema
from modelyard.selection.show import plan_lines
from modelyard.serving.app import App
from modelyard.serving.protocols.columnar import ARROW, PARQUET
from modelyard.serving.reader import reader
from modelyard.serving.schemas import row_schema
from serving_client import Client, pointers, problem

LIMITS: dict[str, dict[str, Any]] = {
    "age": {"minimum": 18.0, "maximum": 120.0},
    "city": {"allowed": ("Bergen", "Oslo")},
    "joined": {"minimum": 0.0},
}
BAD: dict[str, Any] = {"age": 121, "city": "Rome", "joined": "1969-12-31"}


def limited(made: Schema) -> Schema:
    return replace(made, columns=tuple(replace(c, **LIMITS.get(c.name, {})) for c in made.columns))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle(tmp_path_factory.mktemp("limited") / "bundle", "binary", schema=limited(schema("binary")))


@pytest.fixture(scope="module")
def client(packed: Bundle) -> Client:
    return Client(App(packed))


def table(**columns: Any) -> pl.DataFrame:
    rows = 60
    held = {
        "age": [20.0 + i for i in range(rows)],
        "sex": [("F", "M", None)[i % 3] for i in range(rows)],
        "ward": [1 + i % 2 for i in range(rows)],
        "dose": [(1.0, 2.5)[i % 2] for i in range(rows)],
        "seen": [date(2024, 1, 1 + i % 28) for i in range(rows)],
        "smokes": [i % 5 == 0 for i in range(rows)],
        "y": [i % 2 for i in range(rows)],
    }
    return pl.DataFrame(held | columns)


def brief(**data: Any) -> Brief:
    types = {"ward": "category", "dose": "category", **data.pop("types", {})}
    return Brief(data=DataBrief(label="y", types=types, **data))


def test_a_brief_s_words_are_read(tmp_path) -> None:
    path = tmp_path / "brief.yaml"
    path.write_text(
        "data:\n  label: y\n  minimum: {age: 0, seen: 2020-01-01}\n  maximum: {age: 1e2}\n"
        "  levels: {sex: [F, M], one: no}\n"
    )
    data = read_brief(path).data
    assert (data.minimum, data.maximum) == ({"age": 0.0, "seen": "2020-01-01"}, {"age": 100.0})
    assert data.levels == {"sex": ("F", "M"), "one": ("no",)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("minimum: 3", "'data.minimum' must be columns with numbers or dates"),
        ("maximum: {age: [1]}", "'data.maximum.age' must be a text"),
        ("levels: [F, M]", "'data.levels' must be columns with lists of levels"),
        ("levels: {sex: {}}", "'data.levels.sex' must be a text"),
        ("minimum: {y: 0}", "'y' is data.label, which no model reads"),
        ("drop: age\n  minimum: {age: 0}", "'age' is both in data.drop and in data.minimum"),
    ],
)
def test_what_cannot_be_said_is_refused_at_its_line(tmp_path, text: str, said: str) -> None:
    path = tmp_path / "brief.yaml"
    path.write_text(f"data:\n  label: y\n  {text}\n")
    with pytest.raises(BriefError, match=said) as caught:
        read_brief(path)
    assert "line " in str(caught.value.where)


def test_the_schema_carries_what_the_brief_allows() -> None:
    asked = brief(
        minimum={"age": 0.0, "seen": "1970-01-02"},
        maximum={"age": 120.0, "seen": "2024-01-28"},
        levels={"sex": ("F", "M"), "ward": ("1", "02", "2"), "dose": ("1", "2.50")},
    )
    found = read_data(table(seen=[date(2024, 1, 28)] * 59 + [date(2024, 1, 1)]), asked).schema
    held = {c.name: (c.minimum, c.maximum, c.allowed) for c in found.columns}
    assert held["age"] == (0.0, 120.0, ())
    assert held["seen"] == (86_400.0, 1_706_486_399.999999, ())  # to the last moment of its day
    assert held["sex"] == (None, None, ("F", "M"))
    assert held["ward"] == (None, None, ("1", "2"))  # as the table's own whole numbers are printed
    assert held["dose"] == (None, None, ("1.0", "2.5"))
    assert held["smokes"] == (None, None, ())
    assert found.check_row({**GOOD, "seen": "2024-01-28T23:59:59"})
    with pytest.raises(RowError, match="after 2024-01-28"):
        found.check_row({**GOOD, "seen": "2024-01-29"})


GOOD = {"age": 41, "sex": "F", "ward": 1, "dose": 2.5, "seen": "2024-01-02", "smokes": False}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"minimum": {"sex": 0.0}}, "'sex' is read as a category, which has no minimum"),
        ({"maximum": {"smokes": 1.0}}, "'smokes' is read as a boolean, which has no maximum"),
        ({"levels": {"age": ("1",)}}, "'age' is read as a number, which has no levels"),
        ({"minimum": {"age": "young"}}, "'age' holds numbers, and its minimum is 'young'"),
        ({"minimum": {"seen": 2020.0}}, "'seen' holds dates, and its minimum is '2020'"),
        ({"maximum": {"seen": "3/4/2024"}}, "'seen' holds dates, and its maximum is '3/4/2024'"),
        ({"minimum": {"age": 9.0}, "maximum": {"age": 8.0}}, "Of 'age' no value is allowed"),
    ],
)
def test_what_a_column_has_no_limit_of_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(BriefError, match=said) as caught:
        read_data(table(), brief(**asked))
    assert "python: data." in str(caught.value.where)


def test_a_misspelt_column_is_refused() -> None:
    with pytest.raises(DataError, match="The column 'agee' is not in the table"):
        read_data(table(), brief(maximum={"agee": 9.0}))


def test_rows_that_the_brief_does_not_allow_are_not_learnt_from() -> None:
    ages, wards = [20.0, 999.0, None, 999.0] * 15, [1, 2, 3] * 20
    asked = brief(maximum={"age": 120.0}, levels={"ward": ("1", "2"), "sex": ("F", "M")})
    with pytest.raises(DataError) as caught:
        read_data(table(age=ages, ward=wards), asked)
    error = caught.value
    assert error.what == (
        "The brief does not allow what 2 columns hold: 'age' in 30 of 60 rows, 'ward' in 20 of 60 rows."
    )
    assert error.where == "column 'age', row 2: 999; column 'ward', row 3: 3"
    assert error.allowed == "'age': 120 or less; 'ward': 1, 2."
    assert "widen data.minimum, data.maximum or data.levels" in str(error.do)
    assert read_data(table(age=[20.0, 119.0, None, 120.0] * 15), asked)  # the end itself, and what is missing


def test_a_row_that_is_not_allowed_is_refused_by_the_bundle(packed: Bundle, tmp_path) -> None:
    assert packed.predict({**ROW, "age": 120}) in packed.classes
    assert packed.predict({**ROW, "city": None, "joined": None}) in packed.classes
    with pytest.raises(RowError) as caught:
        packed.predict([ROW, {**ROW, **BAD}])
    assert [(p.pointer, p.what, p.allowed.split(". ")[0]) for p in caught.value.problems] == [
        ("/1/age", "'age': 121 is more than 120", "A finite number, 18 to 120 (seen: 18 to 90)."),
        ("/1/city", "'city': 'Rome' is not an allowed level", "One of: Bergen, Oslo."),
        ("/1/joined", "'joined': '1969-12-31' is before 1970-01-01", "1970-01-01 or later"),
    ]
    for rows in (3, 100):  # few are read row by row
        frame = pl.DataFrame([ROW] * rows + [{**ROW, **BAD}])
        for one in (frame, frame.to_pandas(), frame.to_arrow()):
            with pytest.raises(DataError, match="The brief does not allow what 3 columns hold") as refused:
                packed.predict(one)
            assert f"row {rows + 1}" in str(refused.value.where)
    frame.write_csv(tmp_path / "rows.csv")
    with pytest.raises(DataError, match="not allow") as refused:
        predict_file(packed, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert "row 101" in str(refused.value.where)
    assert not (tmp_path / "out.csv").exists()


def arrow(frame: pl.DataFrame) -> bytes:
    made, into = frame.to_arrow(compat_level=pl.CompatLevel.oldest()), io.BytesIO()
    with pa.ipc.new_stream(into, made.schema) as writer:
        writer.write_table(made)
    return into.getvalue()


def parquet(frame: pl.DataFrame) -> bytes:
    into = io.BytesIO()
    frame.write_parquet(into)
    return into.getvalue()


def test_the_server_refuses_it_in_every_protocol(client: Client) -> None:
    names, row = list(BAD), {**ROW, **BAD}
    assert pointers(client.post("/v1/predict", row)) == [f"/{n}" for n in names]
    assert pointers(client.post("/v1/predict", {"instances": [ROW, row]})) == [f"/instances/1/{n}" for n in names]
    frame = pl.DataFrame([ROW, row])
    for media_type, content in ((ARROW, arrow(frame)), (PARQUET, parquet(frame))):
        response = client.send("POST", "/v1/predict", content=content, headers={"content-type": media_type})
        assert pointers(response) == [f"/1/{n}" for n in names]
    csv = {"content-type": "text/csv"}
    response = client.send("POST", "/invocations", content=frame.write_csv().encode(), headers=csv)
    assert pointers(response) == [f"/1/{n}" for n in names]
    assert pointers(client.post("/invocations", {"inputs": [row]})) == [f"/inputs/0/{n}" for n in names]
    inputs = [
        {"name": name, "shape": [2], "datatype": kind, "data": [ROW[name], row[name]]}
        for name, kind in zip(ROW, ("INT64", "FP64", "BYTES", "BOOL", "BYTES"), strict=True)
    ]
    found = problem(client.post("/v2/models/churn/infer", {"inputs": inputs}), 422)
    assert [e["what"] for e in found["errors"]] == [
        "'age': 121 is more than 120",
        "'city': 'Rome' is not an allowed level",
        "'joined': '1969-12-31' is before 1970-01-01",
    ]
    assert client.post("/v1/predict", ROW).status_code == 200


def test_a_single_row_is_refused_where_there_is_a_quick_way(tmp_path) -> None:
    made = limited(
        Schema((*(c for c in FEATURES if c.name != "joined"), schema("binary").columns[-1]), "binary", ("0", "1"))
    )
    packed = load_bundle(make_plain(tmp_path / "plain", schema=made))
    served = Client(App(packed))
    assert served.app.router.stable.quick is not None
    good = {name: ROW[name] for name in ("age", "income", "city", "member")}
    assert served.post("/v1/predict", good).status_code == 200
    assert pointers(served.post("/v1/predict", {**good, "age": 17.5})) == ["/age"]
    assert pointers(served.post("/v1/predict", {**good, "city": "Tromsø"})) == ["/city"]
    read = reader(packed.schema, packed.manifest.encoding)
    assert read is not None
    assert read(json.dumps(good).encode()) is not None
    assert read(json.dumps({**good, "city": "Tromsø"}).encode()) is None


def test_openapi_says_what_is_allowed(client: Client, packed: Bundle) -> None:
    properties = client.send("GET", "/openapi.json").json()["components"]["schemas"]["Row"]["properties"]
    assert (properties["age"]["minimum"], properties["age"]["maximum"]) == (18, 120)
    assert properties["city"]["enum"] == ["Bergen", "Oslo", None]
    assert "allowed: 1970-01-01 or later" in properties["joined"]["description"]
    assert not {"minimum", "maximum", "enum"} & properties["income"].keys()
    assert "18 to 120" in client.send("GET", "/docs").text
    described = jsonschema.Draft202012Validator(row_schema(packed))
    assert described.is_valid(ROW)
    for name, value in (("age", 121), ("city", "Rome")):
        assert not described.is_valid({**ROW, name: value})
    ward = replace(FEATURES[2], name="ward", physical="integer", allowed=("1", "2"), missing=0.0)
    numbers = replace(packed, manifest=replace(packed.manifest, schema=Schema((ward,), "regression")))
    assert row_schema(numbers)["properties"]["ward"]["enum"] == ["1", "2", 1, 2]


def test_without_limits_everything_is_answered_as_before(tmp_path) -> None:
    free = Client(App(bundle(tmp_path / "free", "binary")))
    assert free.post("/v1/predict", {**ROW, **BAD, "age": -1e9}).status_code == 200
    row = free.send("GET", "/openapi.json").json()["components"]["schemas"]["Row"]
    assert not any({"minimum", "maximum", "enum"} & one.keys() for one in row["properties"].values())


def test_a_bundle_written_before_there_were_limits_is_read(tmp_path) -> None:
    folder = bundle(tmp_path / "old", "binary").path
    plain = json.loads((folder / MANIFEST).read_bytes())
    for column in plain["schema"]["columns"]:
        for name in ("minimum", "maximum", "allowed"):
            del column[name]
    for name in ("minimum", "maximum", "levels"):
        del plain["brief"]["data"][name]
    (folder / MANIFEST).write_text(json.dumps(plain))
    (folder / SEAL).write_bytes(seal((folder / MANIFEST).read_bytes()))
    assert load_bundle(folder).predict({**ROW, **BAD}) in (0, 1)


def test_made_up_rows_are_allowed() -> None:
    seen = pl.Series("seen", [datetime(2024, 1, 1, 9), datetime(2024, 1, 1, 10)] * 30)
    data = read_data(table(seen=seen), brief(minimum={"seen": "2024-01-01T08:30:00"}))
    for row in plain_rows(synthetic(data.frame, data.schema, 0), data.schema):
        data.schema.check_row(row)


def test_a_developed_bundle_keeps_what_its_brief_allows(tmp_path) -> None:
    rows = table(one=1).drop("seen", "dose")
    pl.concat([rows] * 5).write_csv(tmp_path / "rows.csv")
    (tmp_path / "brief.yaml").write_text(
        "presets: fast\nmodel: linear\nbudget: {seconds: 5}\n"
        "data: {path: rows.csv, label: y, types: {ward: category}, keep: [age, ward],\n"
        "  minimum: {age: 0}, maximum: {one: 1}, levels: {ward: [1, 2, 3]}}\n"
    )
    done = my.develop(my.read_brief(tmp_path / "brief.yaml"), workspace=tmp_path / "yard")
    plan = "\n".join(plan_lines(done.run.plan, "stratified"))
    assert "age 0 or more: other values are refused\n" in plan
    assert "one 1 or less: other values are refused in training alone, as no model reads it" in plan
    page = (done.folder / "1-architecture.md").read_text(encoding="utf-8")
    assert "`age` 0 or more | other values stop training; refused in rows that are sent too" in page
    assert "`one` 1 or less | other values stop training; no model reads it, so rows sent may have others" in page
    packed = my.load_bundle(done.bundle.path)
    good = {"age": 41, "sex": "F", "ward": 3, "smokes": False}
    assert packed.predict({**good, "one": 2}) in (0, 1)
    with pytest.raises(RowError, match="'age': -1 is less than 0"):
        packed.predict({**good, "age": -1})
    with pytest.raises(RowError, match="'ward': 4 is not an allowed level"):
        packed.predict({**good, "ward": 4})
