"""The guard before a real application and a real server: every status, every path, and no secret anywhere."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import httpx
import pytest
from fastapi.openapi.models import OpenAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount

from bundles import ROW, bundle, make
from issuers import AUDIENCE, issuer
from modelyard.core.errors import ServingError
from modelyard.serving import serve as serving
from modelyard.serving.app import App
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.log import PredictionLog, read_log


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bundle(tmp_path_factory.mktemp("bundles") / "binary", "binary")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with issuer(tmp_path_factory.mktemp("issuer")) as started:
        yield started


class Server:
    """An application with a guard, and a few callers."""

    def __init__(self, made, folder, **access) -> None:
        store = KeyStore(folder / "keys.db")
        self.secrets = {
            name: store.create(name, [name], by="anna")[1] for name in ("predict", "labels", "metrics", "admin")
        }
        self.key, self.secrets["twice"] = store.create("twice", by="anna", rate=1, burst=2)
        access = Access(keys=store.path, **access)
        log = PredictionLog(folder / "log")
        self.app = App(made, log=log, guard=access.guard(), guarded_metrics=access.metrics)
        self.app.warm()
        self.log = folder / "log"

    def send(self, method: str, path: str, *authorization: str, **content) -> httpx.Response:
        async def once():
            async with self.client() as client:
                headers = [(b"Authorization", a.encode()) for a in authorization]
                return await client.request(method, path, headers=headers, **content)

        return asyncio.run(once())

    def started(self, *paths: str) -> list[httpx.Response]:
        """Start the application, get the paths, and stop it."""

        async def life():
            async with self.app._rest.router.lifespan_context(self.app._rest), self.client() as client:
                return [await client.get(path) for path in paths]

        return asyncio.run(life())

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://model")

    def predict(self, *authorization: str) -> httpx.Response:
        return self.send("POST", "/v1/predict", *authorization, json=ROW)


@pytest.fixture
def server(made, tmp_path):
    return Server(made, tmp_path, metrics=True)


def problem(response: httpx.Response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


def test_a_key_is_answered_and_logged_by_its_id(server):
    response = server.predict(f"Bearer {server.secrets['twice']}")
    assert response.status_code == 200
    assert response.headers["ratelimit-policy"] == '"default";q=2;w=120'
    assert response.headers["ratelimit"] == '"default";r=1;t=60'
    assert server.predict(f"bearer   {server.secrets['twice']}").status_code == 200  # schemes have no case
    assert [record.key for record in read_log(server.log)] == [server.key.id] * 2


def test_over_the_limit(server):
    for _ in range(2):
        assert server.predict(f"Bearer {server.secrets['twice']}").status_code == 200
    response = server.predict(f"Bearer {server.secrets['twice']}")
    assert "2 requests in 120 s" in problem(response, 429)["detail"]
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert response.headers["ratelimit"] == f'"default";r=0;t={response.headers["retry-after"]}'
    assert server.predict(f"Bearer {server.secrets['predict']}").status_code == 200
    assert len(list(read_log(server.log))) == 3


def test_a_bad_row_counts_too_and_is_told_what_is_left(server):
    authorization = f"Bearer {server.secrets['twice']}"
    response = server.send("POST", "/v1/predict", authorization, json={**ROW, "age": "old"})
    problem(response, 422)
    assert response.headers["ratelimit"] == '"default";r=1;t=60'


@pytest.mark.parametrize("sent", [(), ("",), ("Basic dXNlcjpwYXNz",), ("Bearer",), ("modelyard_a_b",)])
def test_who_does_not_say_who_they_are(server, sent):
    response = server.predict(*sent)
    problem(response, 401)
    assert response.headers["www-authenticate"] == 'Bearer realm="modelyard"'


def test_a_key_nobody_has(server):
    response = server.predict("Bearer modelyard_aaaaaaaa_" + 43 * "x")
    assert problem(response, 401)["detail"] == "The key is not known."
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


def test_a_permission_one_does_not_have(server):
    response = server.predict(f"Bearer {server.secrets['admin']}")
    assert "permission 'predict'" in problem(response, 403)["detail"]
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
    assert response.headers["www-authenticate"].endswith('scope="predict"')


def test_said_twice(server):
    good = f"Bearer {server.secrets['predict']}"
    response = server.predict(good, good)
    problem(response, 400)
    assert 'error="invalid_request"' in response.headers["www-authenticate"]


def test_health_and_documents_are_open_and_metrics_if_nothing_else_is_asked_for(server, made, tmp_path):
    problem(server.send("GET", "/metrics"), 401)
    problem(server.send("GET", "/metrics", f"Bearer {server.secrets['predict']}"), 403)
    shown = server.send("GET", "/metrics", f"Bearer {server.secrets['metrics']}")
    assert shown.status_code == 200
    assert 'http_response_status_code="401"' in shown.text
    plain = ("/health/live", "/health/ready", "/openapi.json", "/docs")
    assert [r.status_code for r in server.started(*plain, "/metrics")] == [200, 200, 200, 200, 401]
    assert Server(made, tmp_path / "other").send("GET", "/metrics").status_code == 200


def test_other_paths_ask_for_their_own_permission(server):
    async def answer(scope, receive, admitted):
        return 200, [], admitted.key.encode()

    server.app.add("/v1/labels", answer, wanted="labels")
    server.app.add("/admin/", answer, wanted="admin", methods=("GET", "POST"))
    server.app.add("/ping", answer, wanted="", methods=("GET",))
    assert server.send("GET", "/ping").status_code == 200
    for path, wanted in (("/v1/labels", "labels"), ("/admin/rollouts/7", "admin")):
        problem(server.send("POST", path), 401)
        for name in ("predict", "labels", "admin"):
            response = server.send("POST", path, f"Bearer {server.secrets[name]}")
            assert response.status_code == (200 if name == wanted else 403)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda b: b"Bearer " + b),
        st.binary(max_size=80).map(lambda b: b"Bearer modelyard_" + b),
        st.binary(max_size=80).map(lambda b: b"Bearer eyJ" + b),
        st.tuples(st.sampled_from([b"bEARER", b"Bearer\t", b"Token", b"Bearer:"]), st.binary(max_size=80)).map(
            lambda p: p[0] + b" " + p[1]
        ),
    )
)
def test_whatever_the_header_says_it_is_refused_and_nothing_breaks(server, sent):
    found = {}

    async def send(message):
        found.update(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"authorization", sent)],
    }

    async def receive():
        return {"type": "http.request", "body": json.dumps(ROW).encode()}

    call = server.app(scope, receive, send)
    with pytest.raises(StopIteration):  # nothing waits: keys are in memory
        call.send(None)
    scope["headers"].clear()
    assert json.loads(found["body"])["status"] == 401


def test_keys_and_tokens_together(made, tmp_path, running):
    server = Server(made, tmp_path, issuer=running.url, audience=AUDIENCE, rate=1, burst=3)
    assert server.predict(f"Bearer {server.secrets['predict']}").status_code == 200
    left = [server.predict(f"Bearer {running.signed(jti=str(i))}").headers["ratelimit"][12] for i in range(3)]
    assert left == ["2", "1", "0"]  # of the subject, whichever token it sends
    problem(server.predict(f"Bearer {running.token()}"), 429)
    problem(server.predict(f"Bearer {running.token('labels')}"), 403)
    response = server.predict(f"Bearer {running.signed(exp=1)}")
    assert problem(response, 401)["detail"] == "The token has expired."
    assert [record.key for record in read_log(server.log)][1:] == ["ward"] * 3


def test_the_openapi_document_says_what_is_asked_for(made, tmp_path, running):
    server = Server(made, tmp_path, issuer=running.url, audience=AUDIENCE, metrics=True)
    document, page = server.started("/openapi.json", "/docs")
    described = document.json()
    OpenAPI.model_validate(described)
    schemes = described["components"]["securitySchemes"]
    assert schemes["key"]["scheme"] == "bearer"
    assert schemes["token"]["openIdConnectUrl"] == f"{running.url}/.well-known/openid-configuration"
    predict = described["paths"]["/v1/predict"]["post"]
    assert predict["security"] == [{"key": ["predict"]}, {"token": ["predict"]}]
    assert {"400", "401", "403", "429", "503"} <= set(predict["responses"])
    assert "Retry-After" in predict["responses"]["429"]["headers"]
    assert described["paths"]["/metrics"]["get"]["security"] == [{"key": ["metrics"]}, {"token": ["metrics"]}]
    assert described["paths"]["/v1/labels"]["post"]["security"] == [{"key": ["labels"]}, {"token": ["labels"]}]
    assert "security" not in described["paths"]["/health/live"]["get"]
    assert "Authorization: Bearer $KEY" in page.text


def test_whoever_has_no_key_meets_nothing_but_health_and_what_describes_the_model(made, tmp_path):
    server = Server(made, tmp_path, metrics=True)
    (document,) = server.started("/openapi.json")
    paths = document.json()["paths"]
    guarded = {path for path, operations in paths.items() if any("security" in one for one in operations.values())}
    answering = {"/v1/predict", "/v1/explain", "/v1/labels", "/invocations", "/metrics"}
    assert answering <= guarded
    assert not [path for path in set(paths) - guarded if paths[path].keys() - {"get"}]  # nothing else takes a body
    for path in guarded:
        method = next(iter(paths[path])).upper()
        problem(server.send(method, path.replace("{version}", "1"), json={}), 401)


SPELT = (
    "{}", "{}/", "{}//", "/{}", "//{}", "/.{}", "/..{}", "/x/..{}", "{}/.", "{}/x/..", "{}\n", "{}\r", "{}\0", "{} ",
    "{}\n/", "{};x", "{}#", "\\{}",
)  # fmt: skip


@pytest.mark.parametrize("root", ["", "/model", "/metrics", "/v1"])
def test_no_spelling_and_no_mount_leads_round_the_guard(server, root):
    async def answer(scope, receive, admitted):
        return 200, [], admitted.key.encode()

    server.app.add("/admin/rollout", answer, wanted="admin", methods=("GET", "POST"))
    outer = Starlette(routes=[Mount(root, server.app)]) if root else server.app

    def asked(method: str, path: str, *secret: str) -> tuple[int, bytes]:
        sent, headers = [], [(b"content-type", b"application/json"), (b"host", b"model")]
        headers += [(b"authorization", b"Bearer " + one.encode()) for one in secret]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
                 "query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http",
                 "server": ("model", 80)}  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": json.dumps(ROW).encode()}

        async def send(message):
            sent.append(message)

        asyncio.run(outer(scope, receive, send))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

    for route in server.app._permissions:
        path = root + (f"{route}1/infer" if route.endswith("/") else route)
        assert {asked(method, path)[0] for method in ("GET", "POST")} <= {401, 405}
        for spelt in SPELT:
            for method in ("GET", "POST", "HEAD"):
                for found in (root + spelt.format(path.removeprefix(root)), spelt.format(path)):
                    status, body = asked(method, found)
                    assert status in (307, 401, 404, 405), (method, found, status)
                    assert b"# TYPE" not in body
    assert asked("GET", f"{root}/metrics", server.secrets["metrics"])[0] == 200
    assert asked("POST", f"{root}/v1/predict", server.secrets["predict"])[0] == 200
    assert asked("GET", f"{root}/health/live")[0] == 200


def test_no_secret_is_in_any_log_answer_or_metric(made, tmp_path, running, caplog):
    caplog.set_level(logging.DEBUG)
    server = Server(made, tmp_path, issuer=running.url, audience=AUDIENCE)
    secrets = [
        server.secrets["predict"],
        server.secrets["admin"],
        server.secrets["twice"],
        "modelyard_aaaaaaaa_" + 43 * "x",
        running.token(),
        running.signed(exp=1),
        running.signed({"alg": "RS512"}),
        "not-a-token-but-a-secret",
    ]
    seen = []
    for secret in secrets * 3:
        for header in (f"Bearer {secret}", f"Basic {secret}", secret):
            response = server.predict(header)
            seen.append(response.text + str(response.headers))
    seen += [server.send("GET", "/metrics").text, caplog.text]
    seen += [path.read_bytes().decode("latin-1") for path in server.log.iterdir()]
    assert any('"status":401' in text for text in seen)
    for secret in secrets:
        assert not any(secret in text or secret[-20:] in text for text in seen)


def test_nobody_could_be_let_in():
    with pytest.raises(ServingError, match="keys or an issuer"):
        Access().guard()
    with pytest.raises(ServingError, match="audience"):
        Access(issuer="https://issuer.example").guard()


def modelyard(*words: object) -> list[str]:
    return [sys.executable, "-c", "from modelyard.cli.main import main; main()", *map(str, words)]


def status_of(port: int, target: str) -> int:
    """Send a request line as it stands; return the answer's status."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.sendall(f"GET {target} HTTP/1.1\r\nHost: model\r\nConnection: close\r\n\r\n".encode())
        return int(line.makefile("rb").readline().split()[1])


def ask(port: int, authorization: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
        connection.request("POST", "/v1/predict", json.dumps(ROW), headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def until(port: int, secret: str, status: int) -> None:
    """Ask until eight answers in a row, of whichever worker, have the status."""
    row = 0
    for _ in range(400):
        row = row + 1 if ask(port, f"Bearer {secret}") == status else 0
        if row == 8:
            return
        time.sleep(0.02)
    pytest.fail(f"never {status}")


def test_running_workers_notice_keys_and_tell_nobody_their_secrets(tmp_path):
    packed = make(tmp_path / "bundle")
    yard = tmp_path / "yard"

    store = KeyStore(yard / "keys.db")
    _, first = store.create("first", by="anna")
    command = modelyard("serve", packed, "--port", 0, "--workers", 2, "--auth", "keys", "--workspace", yard)
    command += ["--redis", f"unix://{tmp_path}/nothing", "--rate", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+) ", process.stdout.readline())[1])
        until(port, first, 200)
        assert ask(port) == 401
        _, second = store.create("second", by="anna")
        until(port, second, 200)
        turned = store.rotate("second", overlap=0)[1]
        until(port, second, 401)
        until(port, turned, 200)
        store.revoke("first")
        until(port, first, 401)
        shown = metrics(port)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    for secret in (first, second, turned):
        assert secret[-43:] not in out + err
    assert '"status":401' in err
    assert '"limits_lost"' in err
    assert float(re.search(r'failures_total{model="churn",needed="limits"} (\S+)', shown)[1]) >= 1
    assert 'failures_total{model="churn",needed="keys"} 0' in shown


@pytest.mark.parametrize(("host", "loud"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])
def test_a_server_without_a_guard_says_so_if_others_reach_it(made, monkeypatch, caplog, host, loud):
    monkeypatch.setattr(serving, "run", lambda *_, **__: None)
    serving.serve(made.path, host=host, port=0)
    assert ("there is no guard" in caplog.text) is loud


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rate", "10"], "--rate needs to tell callers apart"),
        (["--guard-metrics"], "--guard-metrics needs"),
        (["--auth", "oidc"], "needs --issuer URL and --audience NAME"),
        (["--auth", "keys", "--issuer", "https://i.example"], "go with --auth oidc"),
        (["--auth", "keys", "--auth", "none"], "goes with no other"),
        (["--auth", "keys", "--rate", "0"], "rate cannot be 0"),
        (["--auth", "keys"], "There are no keys"),
        (["--auth", "oidc", "--issuer", "http://i.example", "--audience", "a"], "not an https address"),
    ],
)
def test_options_that_cannot_be(made, tmp_path, words, says, capsys):
    from modelyard.cli.main import main

    if "--rate" in words and "0" in words:
        KeyStore(tmp_path / "keys.db")
    with pytest.raises(SystemExit) as caught:
        main(["serve", str(made.path), "--port", "0", "--workspace", str(tmp_path), *words])
    assert caught.value.code == 1
    assert says in capsys.readouterr().err


def test_a_running_server_shows_its_metrics_under_no_other_spelling(tmp_path):
    packed, yard = make(tmp_path / "bundle"), tmp_path / "yard"
    KeyStore(yard / "keys.db").create("first", by="anna")
    words = ("serve", packed, "--port", 0, "--auth", "keys", "--guard-metrics", "--workspace", yard, "--no-log")
    process = subprocess.Popen(modelyard(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = int(re.search(r":(\d+) ", process.stdout.readline())[1])
        same = ("/metrics", "/%6detrics", "/metrics?x=1", f"http://127.0.0.1:{port}/metrics", "/metrics#x")
        assert {target: status_of(port, target) for target in same} == dict.fromkeys(same, 401)
        other = ("/metrics%0a", "/metrics%0D", "/metrics/", "/metrics%2f", "//metrics", "/%2fmetrics", "/./metrics",
                 "/x/../metrics", "/x/%2e%2e/metrics", "/metrics%00", "/metrics;x", "/METRICS")  # fmt: skip
        assert {target: status_of(port, target) for target in other} == dict.fromkeys(other, 404)
        assert status_of(port, "/health/live") == 200
    finally:
        process.kill()
        process.communicate()
