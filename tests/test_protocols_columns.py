"""Arrow and Parquet bodies: answered as rows are, refused where rows are, and never unpacked beyond the limit."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date

import httpx
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from bundles import ROW, bundle, table
from modelyard.brief.brief import Brief
from modelyard.bundle.bundle import Bundle
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.protocols.columnar import ARROW, BODY_LIMIT, MOST_ROWS, PARQUET
from serving_client import Client, packed_linear, pointers, problem

FEATURES = ["age", "income", "city", "member", "joined"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return packed_linear("binary", tmp_path_factory.mktemp("packed") / "bundle")


@pytest.fixture(scope="module")
def client(packed: Bundle) -> Client:
    return Client(App(packed))


def arrow(frame: pl.DataFrame | pa.Table, **options) -> bytes:
    made = frame if isinstance(frame, pa.Table) else frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    into = io.BytesIO()
    with pa.ipc.new_stream(into, made.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(made, max_chunksize=70)
    return into.getvalue()


def file(frame: pl.DataFrame | pa.Table, **options) -> bytes:
    into = io.BytesIO()
    parquet.write_table(frame if isinstance(frame, pa.Table) else frame.to_arrow(), into, **options)
    return into.getvalue()


def send(client: Client, content: bytes, media_type: str = ARROW, accept: str = "", query: str = "") -> httpx.Response:
    headers = {"content-type": media_type, **({"accept": accept} if accept else {})}
    return client.send("POST", f"/v1/predict{query}", content=content, headers=headers)


def rows_of(frame: pl.DataFrame) -> list[dict]:
    days = frame.with_columns(pl.col("joined").dt.strftime("%Y-%m-%d"))
    return days.to_dicts()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "forecast"])
@pytest.mark.parametrize("media_type", [ARROW, PARQUET])
def test_columns_are_answered_as_rows_are(tmp_path, task: str, media_type: str) -> None:
    if task == "forecast":
        client = Client(App(bundle(tmp_path / task, task)))
        frame = pl.DataFrame({"shop": ["south", "north"], "day": [date(2024, 1, 3), date(2024, 1, 5)]})
        rows, query = [{"shop": r["shop"], "day": str(r["day"])} for r in frame.to_dicts()], ""
    else:
        client = Client(App(packed_linear(task, tmp_path / task)))
        frame, query = table(task).frame.select(FEATURES).head(200), "?coverage=0.9&ood=true"
        rows = rows_of(frame)
    expected = client.post(f"/v1/predict{query}", {"instances": rows}).json()["predictions"]
    content = arrow(frame) if media_type == ARROW else file(frame)
    answer = send(client, content, media_type, query=query)
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    numbers = [one.pop("prediction") for one in found], [one.pop("prediction") for one in expected]
    assert numbers[0] == pytest.approx(numbers[1]) if task in ("regression", "forecast") else numbers[0] == numbers[1]
    for name in ("probabilities", "interval"):
        for one, other in zip(found, expected, strict=True):
            assert one.pop(name, None) == pytest.approx(other.pop(name, None), abs=1e-6)
    assert found == expected


@pytest.mark.parametrize("accept", [ARROW, PARQUET])
def test_the_answer_comes_in_columns_too(client: Client, accept: str) -> None:
    frame = table("binary").frame.select(FEATURES)
    response = send(client, arrow(frame), accept=f"{accept}, application/json;q=0.5", query="?coverage=0.9")
    assert response.headers["content-type"] == accept
    source = pa.BufferReader(response.content)
    answered = parquet.read_table(source) if accept == PARQUET else pa.ipc.open_stream(source).read_all()
    assert answered.column_names == ["prediction", "p_0", "p_1", "set", "served_by"]
    assert answered["prediction"].to_pylist() == client.app.bundle.predict(frame).tolist()
    np.testing.assert_allclose(answered["p_1"], client.app.bundle.predict_proba(frame)[:, 1], atol=1e-6)
    assert answered.schema.metadata[b"bundle"] == client.app.bundle.hash[:12].encode()
    assert answered.schema.metadata[b"id"]


def test_dictionaries_and_compressed_parquet_are_read(client: Client) -> None:
    frame = table("binary").frame.select(FEATURES)
    expected = send(client, arrow(frame)).json()["predictions"]
    packed = frame.with_columns(pl.col("city").cast(pl.Categorical))
    assert send(client, arrow(packed)).json()["predictions"] == expected
    for compression in ("snappy", "zstd", "gzip"):
        content = file(packed, compression=compression)
        assert send(client, content, "application/x-parquet").json()["predictions"] == expected


def test_bad_values_are_told_by_row_and_column(client: Client) -> None:
    frame = table("binary").frame.select(FEATURES).head(4)
    bad = frame.with_columns(
        age=pl.Series([1.0, None, float("inf"), 4.0]), joined=pl.Series(["2024-03-09", "x", None, ""]), agee=pl.lit(1)
    )
    assert pointers(send(client, arrow(bad))) == ["/agee", "/1/age", "/1/joined", "/2/age"]
    assert pointers(send(client, file(bad), PARQUET)) == ["/agee", "/1/age", "/1/joined", "/2/age"]
    assert pointers(send(client, arrow(frame.drop("age")))) == ["/age"]
    lists = pa.table({**{n: frame[n].to_arrow() for n in FEATURES if n != "city"}, "city": pa.array([["Oslo"]] * 4)})
    assert pointers(send(client, arrow(lists))) == ["/city"]
    many = pl.concat([frame.with_columns(age=pl.lit(None, dtype=pl.Float64))] * 400)
    response = send(client, arrow(many))
    assert len(pointers(response)) == 1_000
    assert "More than 1,000" in response.json()["detail"]


def test_a_series_that_was_not_forecast_is_told(tmp_path) -> None:
    client = Client(App(bundle(tmp_path / "ahead", "forecast")))
    frame = pl.DataFrame({"shop": ["south", "east"], "day": [date(2024, 1, 3)] * 2})
    assert pointers(send(client, arrow(frame))) == ["/1/shop"]


def test_what_is_no_table(client: Client) -> None:
    frame = table("binary").frame.select(FEATURES)
    for media_type, content in ((ARROW, arrow(frame)), (PARQUET, file(frame))):
        for broken in (b"", b"{}", content[:40], content[: len(content) // 2], content[::-1]):
            problem(send(client, broken, media_type), 400)
        assert send(client, content, media_type).status_code == 200
    problem(send(client, file(frame), ARROW), 400)
    problem(send(client, arrow(frame.clear())), 400)
    problem(send(client, arrow(frame, compression="zstd")), 400)
    double = pa.Table.from_arrays([pa.array([1.0])] * 2, ["age", "age"])
    problem(send(client, arrow(double)), 400)


def test_bodies_that_unpack_to_too_much_are_refused_before_they_are(client: Client) -> None:
    rows = {name: [ROW[name]] for name in FEATURES}
    wide = pa.table({**rows, "city": ["x" * 10_000]})
    many = pa.concat_tables([wide] * 10_000).combine_chunks()
    content = file(many)
    assert len(content) < 100_000
    problem(send(client, content, PARQUET), 413)
    packed = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 10_000]))
    held = arrow(many.drop(["city"]).append_column("city", packed))
    assert len(held) < BODY_LIMIT
    problem(send(client, held), 413)
    long = pl.DataFrame({"age": [1.0]}).select(pl.col("age").repeat_by(MOST_ROWS + 1).explode())
    problem(send(client, arrow(long.to_arrow())), 413)
    problem(send(client, file(long.to_arrow()), PARQUET), 413)
    problem(send(client, bytes(BODY_LIMIT + 1)), 413)


def test_offsets_that_lie_are_found(client: Client) -> None:
    frame = pl.DataFrame({name: [ROW[name]] * 3 for name in FEATURES})
    content = bytearray(arrow(frame))
    at = content.find(b"OsloOsloOslo")
    offsets = bytes(np.array([0, 4, 8, 12], dtype="<i8"))
    found = content.find(offsets) if content.find(offsets) >= 0 else content.find(bytes(np.array([0, 4, 8, 12], "<i4")))
    assert 0 < found < at
    content[found + 4 : found + 8] = b"\xff\xff\xff\x7f"
    problem(send(client, bytes(content)), 400)


def test_the_rule_stands_in_for_columns_too(client: Client, packed: Bundle) -> None:
    class Broken:
        def frame(self, frame: pl.DataFrame) -> None:
            raise RuntimeError("the graph broke")

        rows = frame

    with_rule = replace(packed.manifest, brief=Brief(use_case="churn", rule="age > 40 and city = 'Oslo'"))
    app = App(replace(packed, manifest=with_rule, runtime=Broken()))
    failing = Client.__new__(Client)
    failing.app = app
    frame = pl.DataFrame({name: [ROW[name]] * 2 for name in FEATURES}).with_columns(age=pl.Series([50, 30]))
    found = send(failing, arrow(frame)).json()["predictions"]
    assert found == [{"prediction": 1, "served_by": "rule"}, {"prediction": 0, "served_by": "rule"}]
    columns = pa.ipc.open_stream(send(failing, arrow(frame), accept=ARROW).content).read_all()
    assert columns["served_by"].to_pylist() == ["rule"] * 2
    assert columns["p_0"].null_count == 2
    without = Client.__new__(Client)
    without.app = App(replace(packed, runtime=Broken()))
    problem(send(without, arrow(frame)), 503)


def test_columns_are_logged(packed: Bundle, tmp_path) -> None:
    client = Client(App(packed, log=PredictionLog(tmp_path)))
    frame = table("binary").frame.select(FEATURES).head(3)
    answer = send(client, arrow(frame)).json()
    client.app.close()
    (record,) = read_log(tmp_path)
    assert record.id == answer["id"]
    assert record.answers == answer["predictions"]
    assert [packed.schema.check_row(row) for row in record.rows] == frame.to_dicts()
