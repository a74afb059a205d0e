"""Open Inference Protocol, MLflow's and SageMaker's bodies: the same answers as /v1/predict, in each one's words."""

from __future__ import annotations

import json
import struct

import httpx
import numpy as np
import pytest

from bundles import ROW, bundle
from modelyard.bundle.bundle import Bundle
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from serving_client import Client, packed_linear, pointers, problem

ROWS = [ROW, {**ROW, "age": 70, "city": None, "income": None}, {**ROW, "member": False, "joined": None}]
CSV = "age,income,city,member,joined\n41,52000,Oslo,true,2024-03-09\n70,,,True,2024-03-09\n41,52000,Oslo,0,\n"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return packed_linear("binary", tmp_path_factory.mktemp("packed") / "bundle")


@pytest.fixture(scope="module")
def client(packed: Bundle) -> Client:
    return Client(App(packed))


@pytest.fixture(scope="module")
def expected(client: Client) -> list[dict]:
    return client.post("/v1/predict", {"instances": ROWS}).json()["predictions"]


def tensors(rows: list[dict]) -> list[dict]:
    kinds = {"age": "INT64", "income": "FP64", "city": "BYTES", "member": "BOOL", "joined": "BYTES"}
    n = len(rows)
    return [
        {"name": name, "datatype": kind, "shape": [n, 1] if name == "age" else [n], "data": [row[name] for row in rows]}
        for name, kind in kinds.items()
    ]


def infer(client: Client, body: dict, **more) -> httpx.Response:
    return client.post(f"/v2/models/{client.app.bundle.manifest.name}/infer", body, **more)


def outputs(response: httpx.Response) -> dict:
    assert response.status_code == 200, response.text
    return {tensor["name"]: tensor for tensor in response.json()["outputs"]}


def test_tensors_are_answered_as_rows_are(client: Client, expected: list[dict]) -> None:
    response = infer(client, {"id": "42", "inputs": tensors(ROWS)})
    found = outputs(response)
    assert response.json()["id"] == "42"
    assert response.json()["model_version"] == client.app.bundle.hash[:12]
    assert list(found) == ["prediction", "probabilities", "served_by"]
    assert found["prediction"] == {
        "name": "prediction", "datatype": "INT64", "shape": [3], "data": [one["prediction"] for one in expected],
    }  # fmt: skip
    assert found["probabilities"]["shape"] == [3, 2]
    assert json.loads(found["probabilities"]["parameters"]["classes"]) == [0, 1]
    assert found["probabilities"]["data"] == [p for one in expected for p in one["probabilities"].values()]


def test_what_else_is_wanted_is_asked_by_parameter_or_by_name(client: Client) -> None:
    asked = client.post("/v1/predict?coverage=0.9&ood=true", {"instances": ROWS}).json()["predictions"]
    by_parameter = infer(client, {"inputs": tensors(ROWS), "parameters": {"coverage": 0.9, "ood": True}})
    by_query = infer(client, {"inputs": tensors(ROWS)}, params={"coverage": 0.9, "ood": "true"})
    by_name = infer(client, {"inputs": tensors(ROWS), "outputs": [{"name": "set"}, {"name": "ood"}]})
    for response in (by_parameter, by_query, by_name):
        found = outputs(response)
        assert found["ood"]["data"] == [one["ood"] for one in asked]
        assert found["set"]["data"] == [c in one["set"]["classes"] for one in asked for c in (0, 1)]
        assert found["set"]["parameters"]["coverage"] == 0.9
    assert list(outputs(by_name)) == ["set", "ood"]


def test_binary_tensors_in_and_out(client: Client, expected: list[dict]) -> None:
    texts = [s.encode() for s in ("Oslo", "", "Oslo")]
    blocks = {
        "age": np.array([41, 70, 41], dtype="<i4").tobytes(),
        "income": np.array([52_000, np.nan, 52_000], dtype="<f4").tobytes(),
        "city": b"".join(struct.pack("<I", len(t)) + t for t in texts),
        "member": bytes([1, 1, 0]),
    }
    kinds = {"age": "INT32", "income": "FP32", "city": "BYTES", "member": "BOOL"}
    inputs = [
        {"name": n, "datatype": kinds[n], "shape": [3], "parameters": {"binary_data_size": len(b)}}
        for n, b in blocks.items()
    ]
    joined = {"name": "joined", "datatype": "BYTES", "shape": [3], "data": ["2024-03-09", "2024-03-09", None]}
    head = json.dumps({"inputs": [*inputs, joined], "parameters": {"binary_data_output": True}}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    path = f"/v2/models/{client.app.bundle.manifest.name}/infer"
    response = client.send("POST", path, content=head + b"".join(blocks.values()), headers=headers)
    assert response.status_code == 200, response.text
    cut = int(response.headers["inference-header-content-length"])
    told, rest = json.loads(response.content[:cut]), response.content[cut:]
    assert [t["parameters"]["binary_data_size"] for t in told["outputs"]] == [24, 48, 27]
    assert np.frombuffer(rest[:24], "<i8").tolist() == [one["prediction"] for one in expected]
    chances = [p for one in expected for p in one["probabilities"].values()]
    assert np.frombuffer(rest[24:72], "<f8").tolist() == chances
    assert rest[72:] == (struct.pack("<I", 5) + b"model") * 3


def test_tensors_that_do_not_fit_are_told_in_place(client: Client) -> None:
    bad = tensors([ROW, {**ROW, "age": -1, "city": "Oslo"}])
    bad[0]["data"] = [41, None]
    bad[4]["data"] = ["2024-03-09", "9/3/24"]
    bad.append({"name": "agee", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]})
    response = infer(client, {"inputs": bad})
    assert pointers(response) == ["/inputs/5/data/0", "/inputs/0/data/1", "/inputs/4/data/1", "/inputs/5/data/1"]
    assert "/inputs/5/data/0" in response.json()["error"]
    assert pointers(infer(client, {"inputs": tensors([ROW])[1:]})) == ["/inputs"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"inputs": []}, "no tensors"),
        ({"inputs": [{"name": "age"}]}, "shape"),
        ({"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [1]}]}, "its shape says 2"),
        ({"inputs": [{"name": "age", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}, "one value for each row"),
        ({"inputs": [{"name": "age", "shape": [1], "datatype": "FP128", "data": [1]}]}, "FP64"),
        ({"inputs": [{"name": "age", "shape": [1], "datatype": "INT64", "data": [1.5]}]}, "not INT64"),
        ({"inputs": [{"name": "age", "shape": [1], "datatype": "FP64"}]}, "neither 'data'"),
        ({"inputs": tensors([ROW]) + tensors([ROW])[:1]}, "second tensor"),
        ({"inputs": tensors([ROW])[:1] + tensors(ROWS)[1:]}, "1 and 3 rows"),
        ({"inputs": tensors([ROW]), "outputs": [{"name": "logits"}]}, "'logits'"),
        ({"inputs": tensors([ROW]), "parameters": {"coverage": 0.5}}, "0.5"),
        ({"inputs": [{**tensors([ROW])[0], "parameters": {"binary_data_size": 8}}]}, "0 bytes are left"),
    ],
)
def test_requests_that_are_none(client: Client, changed: dict, told: str) -> None:
    assert told in problem(infer(client, changed), 400)["error"]


def test_metadata_and_readiness(client: Client) -> None:
    name, version = client.app.bundle.manifest.name, client.app.bundle.hash[:12]
    assert client.send("GET", "/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.send("GET", "/v2/health/live").json() == {"live": True}
    model = f"/v2/models/{name}"
    described = client.send("GET", model).json()
    assert described == client.send("GET", f"{model}/versions/{version}").json()
    assert described["versions"] == [version]
    kinds = {tensor["name"]: tensor["datatype"] for tensor in described["inputs"]}
    assert kinds == {"age": "FP64", "income": "FP64", "city": "BYTES", "member": "BOOL", "joined": "BYTES"}
    assert {t["name"]: t["shape"] for t in described["outputs"]} == {
        "prediction": [-1], "probabilities": [-1, 2], "set": [-1, 2], "ood": [-1], "served_by": [-1],
    }  # fmt: skip
    paths = (f"{model}/ready", f"{model}/versions/{version}/ready", "/v2/health/ready", "/ping")
    for ready, status in ((False, 503), (True, 200)):
        client.app.ready = ready
        assert [client.send("GET", path).status_code for path in paths] == [status] * 4
    client.app.ready = False
    assert (
        infer(client, {"inputs": tensors([ROW])}).json()["outputs"]
        == (client.post(f"{model}/versions/{version}/infer", {"inputs": tensors([ROW])}).json()["outputs"])
    )
    for path in ("/v2/models/other", f"{model}/versions/7", f"{model}/versions/{version}/more"):
        assert problem(client.send("GET", path), 404)["error"]
    assert client.send("GET", f"{model}/versions/{version}/infer").headers["allow"] == "POST"
    problem(client.send("GET", f"{model}/infer"), 405)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"inputs": ROWS},
        {"inputs": {name: [row[name] for row in ROWS] for name in ROW}},
        {"dataframe_split": {"index": [0, 1, 2], "columns": list(ROW), "data": [list(row.values()) for row in ROWS]}},
    ],
    ids=["records", "instances", "inputs", "columns", "split"],
)
def test_mlflow_s_bodies(client: Client, expected: list[dict], body: dict) -> None:
    answer = client.post("/invocations", body).json()
    assert answer["predictions"] == [one["prediction"] for one in expected]
    chances = client.post("/invocations", {**body, "params": {"probabilities": True}}).json()["predictions"]
    assert chances == [one["probabilities"] for one in expected]


def test_one_row_by_column_and_csv(client: Client, expected: list[dict]) -> None:
    assert client.post("/invocations", {"inputs": ROW}).json()["predictions"] == [expected[0]["prediction"]]
    answer = client.send("POST", "/invocations", content=CSV, headers={"content-type": "text/csv; charset=utf-8"})
    assert answer.json()["predictions"] == [one["prediction"] for one in expected]


def test_invocations_that_do_not_fit_are_told_in_place(client: Client) -> None:
    bad = [ROW, {**ROW, "age": "old"}]
    assert pointers(client.post("/invocations", {"dataframe_records": bad})) == ["/dataframe_records/1/age"]
    split = {"columns": list(ROW), "data": [list(row.values()) for row in bad]}
    assert pointers(client.post("/invocations", {"dataframe_split": split})) == ["/dataframe_split/data/1/0"]
    columns = {name: [row[name] for row in bad] for name in ROW}
    assert pointers(client.post("/invocations", {"inputs": columns})) == ["/inputs/age/1"]
    assert pointers(client.post("/invocations", {"inputs": {**ROW, "age": "old"}})) == ["/inputs/age"]
    text = CSV.replace("70,", "old,")
    assert pointers(client.send("POST", "/invocations", content=text, headers={"content-type": "text/csv"})) == [
        "/1/age"
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rows": []},
        {"instances": []},
        {"instances": {}},
        {"inputs": {}},
        {"inputs": {"age": [1], "city": []}},
        {"dataframe_split": 1},
        {"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["age"], "data": [[]]}},
        {"instances": [ROW], "inputs": [ROW]},
        {"instances": [ROW], "params": {"n": 1}},
        {"instances": [ROW], "params": {"probabilities": "yes"}},
    ],
)
def test_invocations_that_are_none(client: Client, body: dict) -> None:
    problem(client.post("/invocations", body), 400)


@pytest.mark.parametrize("text", ["", "age\n", 'age,city\n"4', "age,age\n1,2\n", "age,city\n1\n", "\xff"])
def test_csv_that_is_none(client: Client, text: str) -> None:
    sent = client.send("POST", "/invocations", content=text.encode("latin-1"), headers={"content-type": "text/csv"})
    problem(sent, 400)


def test_every_protocol_is_logged_and_counted(packed: Bundle, tmp_path) -> None:
    client = Client(App(packed, log=PredictionLog(tmp_path)))
    told = infer(client, {"inputs": tensors(ROWS), "id": "mine"}).json()["parameters"]["prediction_id"]
    named = client.post("/invocations", {"instances": ROWS}).json()["id"]
    client.send("POST", "/invocations", content=CSV, headers={"content-type": "text/csv"})
    client.app.close()
    records = list(read_log(tmp_path))
    assert [record.id for record in records][:2] == [told, named]
    assert [len(record.rows) for record in records] == [3, 3, 3]
    assert [r.answers for r in records[1:]] == [records[0].answers] * 2
    text = client.send("GET", "/metrics").text
    assert 'modelyard_predictions_total{model="' in text
    assert f'http_route="/v2/models/{packed.manifest.name}/infer"' in text


def test_the_other_tasks_have_their_outputs(tmp_path) -> None:
    number = Client(App(packed_linear("regression", tmp_path / "number")))
    found = outputs(infer(number, {"inputs": tensors(ROWS), "outputs": [{"name": "prediction"}, {"name": "interval"}]}))
    one = number.post("/v1/predict?coverage=0.9", ROW).json()
    assert found["interval"]["data"][:2] == [one["interval"]["low"], one["interval"]["high"]]
    problem(number.post("/invocations", {"instances": ROWS, "params": {"probabilities": True}}), 400)
    ahead = Client(App(bundle(tmp_path / "ahead", "forecast")))
    week = [
        {"name": "shop", "datatype": "BYTES", "shape": [1], "data": ["south"]},
        {"name": "day", "datatype": "BYTES", "shape": [1], "data": ["2024-01-03"]},
    ]
    assert outputs(infer(ahead, {"inputs": week}))["interval"]["data"] == [49.0, 55.0]
