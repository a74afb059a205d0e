"""The server's answers, through the ASGI application itself: what is right, and everything that can be wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import jsonschema
import numpy as np
import pytest
from fastapi.openapi.models import OpenAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import ROW, bundle
from modelyard.brief.brief import Brief, Latency
from modelyard.core.errors import ServingError
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.terms import Terms


class Client:
    """Sends requests straight into an application, started and warmed."""

    def __init__(self, app: App) -> None:
        self.app = app
        app.warm()
        self._transport = httpx.ASGITransport(app)

    def send(self, method: str, path: str, **content) -> httpx.Response:
        async def once():
            async with httpx.AsyncClient(transport=self._transport, base_url="http://model") as client:
                return await client.request(method, path, **content)

        return asyncio.run(once())

    def predict(self, body, **content) -> httpx.Response:
        return self.send("POST", "/v1/predict", json=body, **content)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("bundles")
    return {task: bundle(home / task, task) for task in ("binary", "multiclass", "regression", "forecast")}


@pytest.fixture(scope="module")
def client(made):
    return Client(App(made["binary"]))


def problem(response: httpx.Response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return body


def test_one_row(client, made):
    answer = client.predict(ROW).json()
    expected = made["binary"]
    assert answer["prediction"] == expected.predict(ROW)
    assert answer["probabilities"] == pytest.approx(
        dict(zip(("0", "1"), expected.predict_proba(ROW), strict=True)), abs=1e-6
    )
    assert (answer["model"], answer["bundle"], answer["served_by"]) == ("churn", expected.hash[:12], "model")
    assert answer["id"] != client.predict(ROW).json()["id"]


@pytest.mark.parametrize("count", [1, 3, 200])
def test_many_rows_in_order(client, made, count):
    rows = [{**ROW, "age": 18 + i % 70, "city": ("Oslo", "Bergen", None)[i % 3]} for i in range(count)]
    answer = client.predict({"instances": rows}).json()
    assert [p["prediction"] for p in answer["predictions"]] == made["binary"].predict(rows).tolist()
    assert {p["served_by"] for p in answer["predictions"]} == {"model"}


def test_the_other_tasks(made):
    assert Client(App(made["multiclass"])).predict(ROW).json()["prediction"] in ("basic", "family", "pro")
    number = Client(App(made["regression"])).predict(ROW).json()
    assert number["prediction"] == pytest.approx(made["regression"].predict(ROW))
    assert "probabilities" not in number
    ahead = Client(App(made["forecast"])).predict({"shop": "south", "day": "2024-01-03"}).json()
    assert ahead["interval"] == {"low": 49.0, "high": 55.0, "coverage": 0.8}
    assert ahead["prediction"] == 52.0


def test_a_forecast_it_does_not_have_is_the_callers_fault(made):
    client = Client(App(made["forecast"]))
    body = problem(client.predict({"shop": "east", "day": "2024-01-03"}), 422)
    assert body["errors"][0]["pointer"] == "/shop"
    rows = [{"shop": "south", "day": "2024-01-03"}, {"shop": "south", "day": "2031-01-01"}]
    body = problem(client.predict({"instances": rows}), 422)
    assert [e["pointer"] for e in body["errors"]] == ["/instances/1/day"]


def test_every_bad_field_is_named(client):
    body = problem(client.predict({**ROW, "age": "old", "member": "maybe", "joined": "3/4/24", "agee": 1}), 422)
    assert {e["pointer"] for e in body["errors"]} == {"/age", "/member", "/joined", "/agee"}
    assert all(e["what"] and e["allowed"] for e in body["errors"])
    body = problem(client.predict({"instances": [ROW, {**ROW, "age": None}, 7]}), 422)
    assert [e["pointer"] for e in body["errors"]] == ["/instances/1/age", "/instances/2"]


def test_refusals_are_told_in_one_line_without_values(made, caplog):
    fresh = Client(App(made["binary"]))
    for _ in range(5):
        problem(fresh.predict({**ROW, "age": "secret", "my secret": 1}), 422)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "modelyard.serving"]
    assert json.loads(line) == {"event": "refused", "status": 422, "fields": ["age"], "unreported_before": 0}


def test_pointers_of_a_request_in_slices_name_the_callers_rows(made, client):
    answered = client.predict({"instances": [ROW] * 2_500}).json()["predictions"]
    assert len(answered) == 2_500
    body = problem(client.predict({"instances": [*[ROW] * 1_500, {**ROW, "age": "old"}, *[ROW] * 600, 7]}), 422)
    assert [e["pointer"] for e in body["errors"]] == ["/instances/1500/age", "/instances/2101"]
    known = {"shop": "south", "day": "2024-01-03"}
    body = problem(
        Client(App(made["forecast"])).predict({"instances": [*[known] * 1_200, {**known, "shop": "x"}]}), 422
    )
    assert [e["pointer"] for e in body["errors"]] == ["/instances/1200/shop"]
    body = problem(client.predict({"instances": [{}] * 3_000}), 422)
    assert len(body["errors"]) == 1_000
    assert "More than 1,000" in body["detail"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"age": NaN}', b"[1]", b'"row"', b"\xff\xfe", b"[" * 100_000, b'{"instances": []}',
     b'{"instances": {}}', b'{"instances": [{}], "more": 1}', b'{"age": 1e999}'],
)  # fmt: skip
def test_what_is_not_a_row(client, content):
    problem(client.send("POST", "/v1/predict", content=content, headers={"content-type": "application/json"}), 400)


def test_the_wrong_method_type_path_and_size(client, made):
    response = client.send("GET", "/v1/predict")
    problem(response, 405)
    assert response.headers["allow"] == "POST, OPTIONS"
    for headers in ({"content-type": "text/csv"}, {"content-type": "application/json", "content-encoding": "gzip"}):
        problem(client.send("POST", "/v1/predict", content=json.dumps(ROW), headers=headers), 415)
    problem(client.send("GET", "/v1/nothing"), 404)
    problem(client.send("POST", "/health/live"), 405)
    small = Client(App(made["binary"], terms=Terms(body_limit=300)))
    assert small.predict(ROW).status_code == 200
    response = small.predict({"instances": [ROW] * 5})
    problem(response, 413)
    assert response.headers["connection"] == "close"


def test_a_body_in_pieces_is_limited_too(made):
    async def pieces():
        for _ in range(100):
            yield b" " * 10

    client = Client(App(made["binary"], terms=Terms(body_limit=300)))
    response = client.send("POST", "/v1/predict", content=pieces(), headers={"content-type": "application/json"})
    problem(response, 413)


class Broken:
    """A runtime that fails, or answers NaN."""

    def __init__(self, answer) -> None:
        self._answer = answer

    def rows(self, rows):
        if isinstance(self._answer, Exception):
            raise self._answer
        return np.full((len(rows), 2), self._answer, dtype=np.float32)


@pytest.mark.parametrize("answer", [RuntimeError("the graph broke"), float("nan"), float("inf")])
def test_the_rule_stands_in_when_the_model_fails(made, answer, caplog):
    with_rule = replace(made["binary"].manifest, brief=Brief(use_case="churn", rule="age > 40 and city = 'Oslo'"))
    failing = replace(made["binary"], manifest=with_rule, runtime=Broken(answer))
    app = App(failing)
    client = Client.__new__(Client)
    client.app, client._transport = app, httpx.ASGITransport(app)
    answer = client.predict({"instances": [ROW, {**ROW, "age": 30}, {**ROW, "city": None}]}).json()
    assert [(p["prediction"], p["served_by"]) for p in answer["predictions"]] == [(1, "rule"), (0, "rule"), (0, "rule")]
    assert "probabilities" not in answer["predictions"][0]
    assert 'modelyard_source_failures_total{model="churn",source="model"' in app.metrics.text().decode()
    without = App(replace(failing, manifest=replace(with_rule, brief=Brief(use_case="churn"))))
    client._transport = httpx.ASGITransport(without)
    problem(client.predict(ROW), 503)
    assert len(caplog.records) >= 1  # said in the server's own log as well


def test_a_rule_over_columns_that_rows_do_not_bring_is_no_fallback(made):
    unusable = replace(made["binary"].manifest, brief=Brief(use_case="churn", rule="id > 3"))
    app = App(replace(made["binary"], manifest=unusable, runtime=Broken(float("nan"))))
    response = asyncio.run(_post(app, ROW))
    problem(response, 503)


async def _post(app: App, row: dict) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model") as client:
        return await client.post("/v1/predict", json=row)


def test_health_follows_the_server(made):
    app = App(made["binary"])
    client = Client(app)
    assert client.send("GET", "/health/live").json() == {"status": "live"}
    problem(client.send("GET", "/health/ready"), 503)
    app.ready = True
    assert client.send("GET", "/health/ready").json() == {"status": "ready"}
    app.drain()
    problem(client.send("GET", "/health/ready"), 503)
    assert client.predict(ROW).status_code == 200  # it still answers what comes


def test_answered_requests_are_in_the_log_and_refused_ones_are_not(made, tmp_path):
    app = App(made["binary"], log=PredictionLog(tmp_path))
    client = Client(app)
    one = client.predict(ROW).json()
    client.predict({**ROW, "age": "old"})
    many = client.predict({"instances": [ROW, {**ROW, "age": 20}]}).json()
    first, second = read_log(tmp_path)
    assert (first.id, first.rows, first.answers[0]["prediction"]) == (one["id"], [ROW], one["prediction"])
    assert (second.id, len(second.rows)) == (many["id"], 2)
    assert second.answers == many["predictions"]
    assert first.bundle == made["binary"].hash
    assert 0 < first.milliseconds < 1000
    text = app.metrics.text().decode()
    assert "modelyard_prediction_log_records_total" in text
    app.close()


def test_metrics_count_by_route_and_status_and_end_a_bucket_at_the_limit(made):
    limited = replace(made["binary"].manifest, brief=Brief(use_case="churn", latency=Latency(99.0, 20.0)))
    client = Client(App(replace(made["binary"], manifest=limited)))
    for row in (ROW, ROW, {**ROW, "age": "old"}):
        client.predict(row)
    client.send("GET", "/nothing/else")
    client.send("BREW", "/nothing")
    text = client.send("GET", "/metrics").text
    route = 'http_request_method="POST",http_response_status_code="{}",http_route="/v1/predict",model="churn"'
    assert f"http_server_request_duration_seconds_count{{{route.format(200)}}} 2.0" in text
    assert f"http_server_request_duration_seconds_count{{{route.format(422)}}} 1.0" in text
    status = route.format(200).removesuffix(',model="churn"')
    assert f'http_server_request_duration_seconds_bucket{{{status},le="0.02",model="churn"}}' in text
    assert 'http_route="other"' in text
    assert "/nothing" not in text
    assert 'http_request_method="_OTHER"' in text
    assert 'modelyard_predictions_total{model="churn",variant="stable",version="' in text


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "forecast"])
def test_openapi_describes_what_the_server_does(made, task, tmp_path):
    app = App(made[task], log=PredictionLog(tmp_path))
    client = Client(app)
    document = asyncio.run(started(app, "/openapi.json")).json()
    OpenAPI.model_validate(document)
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operation = document["paths"]["/v1/predict"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]

    def valid(value, name):
        held = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        return jsonschema.Draft202012Validator(held).is_valid(value)

    row = examples["row"]["value"]
    assert valid(row, "Row")
    assert valid(client.predict(row).json(), "Answer")
    assert valid(client.predict(examples["instances"]["value"]).json(), "Answers")
    bad = {**row, "unheard": 1}
    assert not valid(bad, "Row")
    assert valid(client.predict(bad).json(), "Problem")
    shown = operation["responses"]["200"]["content"]["application/json"]["examples"]
    assert valid(shown["row"]["value"], "Answer")
    assert valid(shown["instances"]["value"], "Answers")
    shown = document["paths"]["/v1/labels"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for name, form in (("label", "Label"), ("labels", "Labels")):
        assert valid(shown[name]["value"], form)
        assert client.send("POST", "/v1/labels", json=shown[name]["value"]).status_code == 202
    refused = {"label": shown["label"]["value"]["label"], "id": ""}
    assert not valid(refused, "Label")
    assert client.send("POST", "/v1/labels", json=refused).status_code == 422
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert all("431" in one["responses"] for one in operations)  # whatever is asked has a head
    unlogged = asyncio.run(started(App(made[task]), "/openapi.json")).json()
    assert "/v1/labels" not in unlogged["paths"]
    assert "Label" not in unlogged["components"]["schemas"]


async def started(app: App, path: str) -> httpx.Response:
    """Start the application as a server does, and ask once."""
    rest = app._rest
    async with rest.router.lifespan_context(rest):
        assert app.ready
        return await _get(app, path)


async def _get(app: App, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://model") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("terms", "sunset"),
    [
        (Terms(deprecated=datetime(2026, 1, 1, tzinfo=UTC)), "Wed, 01 Apr 2026 00:00:00 GMT"),
        (
            Terms(deprecated=datetime(2026, 1, 1, tzinfo=UTC), sunset=datetime(2027, 1, 1, tzinfo=UTC)),
            "Fri, 01 Jan 2027 00:00:00 GMT",
        ),
    ],
)
def test_answers_say_when_the_interface_is_deprecated_and_ends(made, terms, sunset):
    client = Client(App(made["binary"], terms=terms))
    for response in (client.predict(ROW), client.predict({})):
        assert response.headers["deprecation"] == "@1767225600"
        assert response.headers["sunset"] == sunset
    assert "deprecation" not in Client(App(made["binary"])).predict(ROW).headers
    with pytest.raises(ServingError, match="before it is deprecated"):
        Terms(deprecated=datetime(2026, 1, 2, tzinfo=UTC), sunset=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_trace_is_kept_where_it_is_one(made, tmp_path):
    app = App(made["binary"], log=PredictionLog(tmp_path))
    client = Client(app)
    for sent in ("00-" + "4" * 32 + "-" + "5" * 16 + "-01", "nonsense"):
        client.predict(ROW, headers={"traceparent": sent})
    assert [record.trace for record in read_log(tmp_path)] == ["4" * 32, ""]
    app.close()


def test_the_document_follows_the_version_that_answers(made, tmp_path):
    app = App(made["binary"])
    other = bundle(tmp_path / "other", "binary", threshold=0.7)

    async def asked() -> tuple[str, str]:
        rest = app._rest
        async with rest.router.lifespan_context(rest):
            first = (await _get(app, "/openapi.json")).json()["info"]["version"]
            app.router.stable = app.version(other, "2")
            return first, (await _get(app, "/openapi.json")).json()["info"]["version"]

    assert asyncio.run(asked()) == (made["binary"].hash[:12], other.hash[:12])


def test_the_page_needs_nothing_from_elsewhere(made):
    page = asyncio.run(started(App(made["binary"]), "/docs")).text
    assert "curl" in page
    assert "Bergen" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://127.0.0.1", "").replace("http://www.w3.org", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(ROW, JSON) | {"instances": JSON}))
def test_whatever_is_sent_gets_an_answer_or_a_problem(client, body):
    response = client.predict(body)
    assert response.status_code in (200, 400, 422)
    if response.status_code == 200:
        assert "prediction" in response.json() or "predictions" in response.json()
    else:
        problem(response, response.status_code)
