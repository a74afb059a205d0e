"""Traces of real servers, as a real collector is sent them."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import psutil
import pytest

from bundles import ROW, bundle, make
from collectors import SERVER, collector, plain
from modelyard.adapters import otel_traces
from modelyard.adapters.otel_traces import SHARE, OtelTraces, sampling, traces_of
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.cli.main import main
from modelyard.core.errors import MissingExtra, ServingError
from modelyard.serving.app import App
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.log import SUFFIX, PredictionLog, read_log
from serving_client import Client

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
ALWAYS = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make(tmp_path_factory.mktemp("served") / "bundle")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bundle(tmp_path_factory.mktemp("bundles") / "binary", "binary")


@contextmanager
def serving(packed, yard, *words, **environment):
    """Start the command line's server; yield its process and where it listens."""
    code = "from modelyard.cli.main import main; main()"
    command = [sys.executable, "-c", code, "serve", packed, "--port", "0", "--workspace", yard, "--no-load", *words]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    with (yard.parent / "stderr").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env)
    found = psutil.Process(process.pid)
    try:
        host, _, port = process.stdout.readline().split("http://")[1].split()[0].partition(":")
        yield process, (host, int(port))
    finally:
        with suppress(psutil.NoSuchProcess):
            for child in found.children(recursive=True):
                child.kill()
        process.kill()
        process.communicate()


def ask(address, row=ROW, path="/v1/predict", **headers) -> tuple[int, dict]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("POST", path, json.dumps(row), {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def stop(process) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


@contextmanager
def traced(made, **app):
    """Start a collector and an application in this process that sends to it; yield both, and a caller."""
    with collector() as found:
        traces = OtelTraces(found.url + "/v1/traces")
        one = App(made, traces=traces, **app)
        yield found, one, Client(one)
        one.close()


def test_a_sampled_request_is_a_span_of_its_caller_s_trace_and_joins_the_log(tmp_path, packed):
    yard = tmp_path / "yard"
    environment = {"OTEL_SERVICE_NAME": "ward", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hidden", **QUICKLY}
    with collector() as found, serving(packed, yard, "--traces", found.url, **environment) as (process, address):
        status, answer = ask(address, traceparent=SAMPLED, tracestate="vendor=1")
        assert status == 200
        (server,) = found.wait(1)
        stop(process)
    (record,) = read_log(yard / "predictions")
    assert (record.id, record.trace) == (answer["id"], TRACE)
    assert (server.trace, server.span.parent_span_id.hex(), server.span.trace_state) == (TRACE, PARENT, "vendor=1")
    assert (server.name, server.span.kind) == ("POST /v1/predict", SERVER)
    assert server.facts == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/predict",
        "modelyard.id": answer["id"],
        "modelyard.model": "churn",
        "modelyard.rows": 1,
        "modelyard.served_by": "model",
        "modelyard.variant": "stable",
        "modelyard.version": answer["bundle"],
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": address[1],
        "url.path": "/v1/predict",
        "url.scheme": "http",
    }
    assert server.span.status.code == 0
    assert server.resource["service.name"] == "ward"
    (model,) = [one for one in found.sent if one is not server]
    assert (model.name, model.trace, model.span.parent_span_id) == ("model", TRACE, server.span.span_id)
    begins = (server.span.start_time_unix_nano, model.span.start_time_unix_nano)
    ends = (model.span.end_time_unix_nano, server.span.end_time_unix_nano)
    assert list(begins) == sorted(begins)
    assert begins[1] < ends[0] <= ends[1]
    path, headers, _ = found.requests[0]
    assert (path, headers["content-type"], headers["api-key"]) == ("/v1/traces", "application/x-protobuf", "hidden")


def test_a_request_without_a_parent_is_logged_under_the_trace_it_began(tmp_path, packed):
    yard = tmp_path / "yard"
    zeros, later = f"00-{32 * '0'}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-more"
    with collector() as found:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url, **ALWAYS, **QUICKLY}
        with serving(packed, yard, **environment) as (process, address):
            ids = [ask(address)[1]["id"], ask(address, traceparent=zeros)[1]["id"]]
            ids.append(ask(address, traceparent=later)[1]["id"])
            stop(process)
    spans = {one.facts["modelyard.id"]: one for one in found.served}
    records = {record.id: record.trace for record in read_log(yard / "predictions")}
    assert records == {name: one.trace for name, one in spans.items()}
    assert [spans[name].span.parent_span_id.hex() for name in ids] == ["", "", PARENT]
    assert len({*records.values(), 32 * "0"}) == 4
    assert {one.resource["service.name"] for one in found.sent} == {"modelyard"}


def test_what_a_caller_does_not_sample_is_not_exported(tmp_path, packed):
    yard = tmp_path / "yard"
    with collector() as found, serving(packed, yard, "--traces", found.url, **ALWAYS) as (process, address):
        assert ask(address, traceparent=UNSAMPLED)[0] == 200
        assert ask(address, traceparent=SAMPLED.replace("4bf9", "0001"))[0] == 200
        stop(process)
    assert [one.trace[:4] for one in found.served] == ["0001"]
    assert sorted(record.trace[:4] for record in read_log(yard / "predictions")) == ["0001", "4bf9"]


def test_every_worker_sends_what_it_has_when_it_stops(tmp_path, packed):
    yard = tmp_path / "yard"
    many = {"OTEL_BSP_MAX_QUEUE_SIZE": "100000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100000"}
    slowly = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", **many}
    with collector() as found:
        words = ("--workers", "2", "--traces", found.url)
        with serving(packed, yard, *words, **ALWAYS, **slowly) as (process, address):
            ids = set()
            while len(list((yard / "predictions").glob(f"*{SUFFIX}"))) < 2:  # each worker has a file of its own
                callers = [threading.Thread(target=lambda: ids.add(ask(address)[1]["id"])) for _ in range(4)]
                for caller in callers:
                    caller.start()
                for caller in callers:
                    caller.join()
            assert found.requests == []
            stop(process)
    assert len({one.resource["service.instance.id"] for one in found.sent}) == 2
    assert {one.facts["modelyard.id"] for one in found.served} == ids
    assert {record.id for record in read_log(yard / "predictions")} == ids


def test_a_collector_that_is_gone_is_told_of_once_and_nobody_else_notices(tmp_path, packed):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://user:secret@127.0.0.1:{port}/?token=secret"
    environment = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1", **ALWAYS, **QUICKLY}
    with serving(packed, tmp_path / "yard", **environment) as (process, address):
        log = tmp_path / "stderr"
        while "traces_lost" not in log.read_text():
            assert ask(address)[0] == 200
        for _ in range(50):
            assert ask(address)[0] == 200
        with collector(port) as found:
            while "traces_back" not in log.read_text():
                assert ask(address)[0] == 200
            assert found.sent
            assert found.requests[0][0] == "/?token=secret"
            stop(process)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lost = {"event": "traces_lost", "why": "no answer", "to": f"http://127.0.0.1:{port}/"}
    assert lines == [lost, {"event": "traces_back"}]


def test_a_collector_that_never_answers_holds_up_neither_requests_nor_the_end(tmp_path, packed):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        few = {
            "OTEL_BSP_MAX_QUEUE_SIZE": "4",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
        }
        with serving(packed, tmp_path / "yard", "--traces", url, **ALWAYS, **few) as (process, address):
            for _ in range(50):
                assert ask(address)[0] == 200
            stop(process)
    assert (tmp_path / "stderr").read_text() == ""


def test_what_a_collector_refuses_is_told_by_its_status(made, caplog):
    with traced(made) as (found, app, client):
        found.status = 401
        client.post("/v1/predict", ROW, headers={"traceparent": SAMPLED})
        app.close()
    (line,) = [json.loads(record.message) for record in caplog.records if "traces" in record.message]
    assert line == {"event": "traces_lost", "why": "HTTP 401", "to": found.url + "/v1/traces"}


def test_only_a_fault_of_the_server_is_an_error(made, monkeypatch):
    with traced(made) as (found, _, client):
        assert client.post("/v1/predict", {}, headers={"traceparent": SAMPLED}).status_code == 422
        assert client.send("PUT", "/v1/predict", headers={"traceparent": SAMPLED}).status_code == 405

        def broken(self, inputs):
            raise RuntimeError("the graph broke")

        monkeypatch.setattr(OnnxRuntime, "answer", broken)
        assert client.post("/v1/predict", ROW, headers={"traceparent": SAMPLED}).status_code == 200
        other = {**ROW, "income": 17.0}
        assert client.post("/v1/predict", other, headers={"traceparent": SAMPLED}).status_code == 503
    refused, method, instead, failed = found.served
    assert [one.facts["http.response.status_code"] for one in found.served] == [422, 405, 200, 503]
    assert [one.span.status.code for one in found.served] == [0, 0, 0, 2]
    assert [one.facts.get("error.type") for one in found.served] == [None, None, None, "503"]
    assert instead.facts["modelyard.served_by"] == "cached"
    assert failed.span.status.message == ""
    assert {one.facts.get("modelyard.version") for one in (refused, failed)} == {made.hash[:12]}
    assert "modelyard.id" not in failed.facts
    assert method.name == "PUT /v1/predict"


def test_no_value_and_no_secret_is_in_a_span(made, tmp_path):
    store = KeyStore(tmp_path / "keys.db")
    _, secret = store.create("ward", by="anna")
    guard = Access(keys=store.path).guard()
    with traced(made, guard=guard, log=PredictionLog(tmp_path / "log")) as (found, _, client):
        headers = {"authorization": f"Bearer {secret}", "traceparent": SAMPLED}
        for row in ({**ROW, "city": "Nowhere"}, {**ROW, "city": 3.25}):
            client.post("/v1/predict?coverage=Nowhere", row, headers=headers)
            client.post("/v1/predict", row, headers=headers)
            client.post("/invocations", {"dataframe_records": [row]}, headers=headers)
    assert len(found.served) == 6
    sent = b"".join(body for _, _, body in found.requests)
    for kept in (b"Nowhere", b"Oslo", b"2024", b"coverage", secret.encode(), secret[-20:].encode()):
        assert kept not in sent
    assert b"churn" in sent


def test_many_rows_and_other_protocols_say_the_same_of_themselves(made):
    with traced(made) as (found, _, client):
        headers = {"traceparent": SAMPLED, "host": "models.example.org"}
        many = client.post("/v1/predict", {"instances": [ROW] * 40}, headers=headers).json()
        other = client.post("/invocations", {"dataframe_records": [ROW, ROW]}, headers=headers)
        assert other.status_code == 200
    first, second = found.served
    assert (first.facts["modelyard.rows"], second.facts["modelyard.rows"]) == (40, 2)
    assert first.facts["modelyard.id"] == many["id"]
    assert (second.name, second.facts["http.route"]) == ("POST /invocations", "/invocations")
    assert (first.facts["server.address"], first.facts["server.port"]) == ("models.example.org", 80)


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("[::1]:8000", "::1", 8000),
        ("[::1]", "::1", 80),
        ("a" * 900, "a" * 255, 80),
        (f"a:{10**30}", f"a:{10**30}", 80),
        ("å", "å", 80),
    ],
)
def test_a_host_may_be_anything(made, host, address, port):
    with traced(made) as (found, _, client):
        headers = [(b"host", host.encode("latin-1")), (b"traceparent", SAMPLED.encode()), (b"tracestate", b"\xff=,=")]
        assert client.send("POST", "/v1/predict", json=ROW, headers=headers).status_code == 200
    (server,) = found.served
    assert (server.facts["server.address"], server.facts["server.port"]) == (address, port)


def test_health_documents_and_metrics_leave_no_span(made):
    with traced(made) as (found, _, client):
        for path in ("/health/live", "/metrics", "/docs", "/nothing"):
            client.send("GET", path, headers={"traceparent": SAMPLED})
    assert found.sent == []


@pytest.mark.parametrize("root", ["always_on", "always_off", "traceidratio"])
@pytest.mark.parametrize("prefix", ["", "parentbased_"])
def test_samplers_decide_as_those_of_the_sdk(root, prefix, monkeypatch):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    monkeypatch.setenv("OTEL_TRACES_SAMPLER", prefix + root)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.3")
    theirs = TracerProvider(shutdown_on_exit=False).sampler
    ours = OtelTraces("http://127.0.0.1:9/v1/traces")
    source = random.Random(5)
    for _ in range(300):
        number, flags = source.getrandbits(128), source.choice([0, 1, 2, 3])
        context = trace.SpanContext(number, 1, is_remote=True, trace_flags=trace.TraceFlags(flags))
        within = trace.set_span_in_context(trace.NonRecordingSpan(context))
        expected = theirs.should_sample(within, number, "POST /v1/predict").decision.is_sampled()
        sent = f"00-{number:032x}-{1:016x}-{flags:02x}".encode()
        assert ours.sampled({"headers": [(b"traceparent", sent)]}) == expected
        monkeypatch.setattr(otel_traces, "getrandbits", lambda _, number=number: number & (2**64 - 1))
        expected = theirs.should_sample(None, number, "POST /v1/predict").decision.is_sampled()
        assert ours.sampled({"headers": []}) == expected
    ours.close()


def test_without_a_sampler_one_request_in_a_hundred_is_sampled_where_no_parent_says(monkeypatch):
    assert sampling() == (True, SHARE) == (True, 0.01)
    ours = OtelTraces("http://127.0.0.1:9/v1/traces")
    count = sum(ours.sampled({"headers": []}) for _ in range(40_000))
    assert 250 < count < 550  # 400 expected, and 20 the standard deviation
    assert ours.sampled({"headers": [(b"traceparent", SAMPLED.encode())]})
    assert not ours.sampled({"headers": [(b"traceparent", UNSAMPLED.encode())]})
    ours.close()


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/here"}, "http://c:4318/here"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_environment_says_where_spans_go(environment, where, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = traces_of()
    assert (None if found is None else found.args[0]) == where
    assert "OTEL_SDK_DISABLED" in environment or traces_of("http://d:1").args == ("http://d:1/v1/traces",)


@pytest.mark.parametrize(
    ("environment", "words", "told"),
    [
        ({}, ("--traces", "collector:4317"), "This is no address of a collector.\n  --traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:secret@:1"}, (), "OTEL_EXPORTER_OTLP_ENDPOINT\n  http://HOST:PORT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, (), "by 'grpc'"),
        ({"OTEL_TRACES_SAMPLER": "some"}, ("--traces", "http://c:1"), "No sampler is called 'some'"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1%"},
            ("--traces", "http://c:1"),
            "'1%' is no share.\n  OTEL_TRACES_SAMPLER_ARG",
        ),
        (
            {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "few"},
            ("--traces", "http://c:1"),
            "cannot be sent as the environment",
        ),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, ("--traces", "http://c:1"), "max_queue_size must be a positive"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(environment, words, told, packed, tmp_path, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["serve", str(packed), "--port", "0", "--workspace", str(tmp_path), "--no-load", *words])
    said = capsys.readouterr().err
    assert (ended.value.code, told in said) == (1, True), said
    assert "secret" not in said


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(
        MissingExtra, match=r"Sending traces needs the package 'opentelemetry\.exp.*\n.*modelyard\[otel\]"
    ):
        traces_of("http://c:1")()
    assert traces_of() is None


def test_a_header_that_cannot_be_read_is_told_and_not_repeated(tmp_path, packed):
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization:secret"}
    with serving(packed, tmp_path / "yard", "--traces", "http://127.0.0.1:9", **environment) as (process, address):
        assert ask(address)[0] == 200
        stop(process)
    said = (tmp_path / "stderr").read_text()
    assert "Header format invalid" in said
    assert "secret" not in said


def test_an_application_without_traces_is_the_plain_one(made):
    app = App(made)
    assert type(app._paths["/v1/predict"]).__name__ == "Endpoint"
    assert type(app.answerer).__name__ == "Answerer"
    assert plain([]) == {}
    with pytest.raises(ServingError):
        traces_of("nowhere")
