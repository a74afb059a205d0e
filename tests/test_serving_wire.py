"""A connection: requests answered at once and requests that wait are told apart by nobody but the server."""

from __future__ import annotations

import itertools
import json
import re
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import PLAIN, make_plain
from connections import BODY, answers, listening, post, said
from modelyard.bundle.load import load_bundle
from modelyard.serving.app import App
from modelyard.serving.endpoint import Endpoint
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.router import OneVersion
from modelyard.serving.terms import Terms


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return load_bundle(make_plain(tmp_path_factory.mktemp("bundles") / "binary"))


@pytest.fixture(scope="module")
def port(made):
    app = App(made)
    app.warm()
    with listening(app) as found:
        yield found


@pytest.fixture
def waited(monkeypatch):
    """The paths of requests that were not answered at once."""
    paths = []
    real = Endpoint.__call__

    async def call(self, scope, receive, send):
        paths.append(scope["path"])
        await real(self, scope, receive, send)

    monkeypatch.setattr(Endpoint, "__call__", call)
    return paths


def test_a_whole_request_is_answered_at_once_as_one_that_waits(port, waited):
    (quick,) = answers(port, post())
    assert waited == []
    (slow,) = answers(port, post()[:-5], post()[-5:], pause=0.5)
    assert waited == ["/v1/predict"]
    assert quick[0] == slow[0] == 200
    assert said(quick) == said(slow)
    assert quick[1].keys() == slow[1].keys() == {"date", "content-type", "content-length"}
    assert json.loads(quick[2])["id"] != json.loads(slow[2])["id"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"{}"), 422),
        (post(b"nothing"), 400),
        (post(BODY, path="/v1/predict?nothing=1"), 400),
        (post(BODY, path="/v1/nothing"), 404),
        (post(BODY, "Content-Encoding: gzip"), 415),
        (post(json.dumps({"instances": [PLAIN]}).encode()), 200),
        (post(BODY, "Connection: close"), 200),
        (post(BODY, "Expect: 100-continue"), 200),
        (post(BODY, version="1.0"), 200),
        (post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), "Transfer-Encoding: chunked", length=False), 200),
        (b"GET /v1/predict HTTP/1.1\r\nHost: model\r\n\r\n", 405),
    ],
)
def test_every_other_request_is_answered_as_ever(port, request_, status):
    (answer,) = answers(port, request_)
    assert answer[0] == status, answer


def test_requests_in_one_piece_are_answered_in_their_order(port, waited):
    rows = [BODY, json.dumps({"instances": [PLAIN]}).encode(), BODY, b"{}", BODY]
    found = answers(port, b"".join(map(post, rows)), count=5)
    assert [answer[0] for answer in found] == [200, 200, 200, 422, 200]
    assert "predictions" in json.loads(found[1][2])
    assert len(waited) >= 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 3 * len(post()) - 1), max_size=5, unique=True))
def test_where_a_stream_is_cut_changes_no_answer(port, cuts):
    stream = post() + post(b"{}") + post()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    found = answers(port, *(stream[a:b] for a, b in itertools.pairwise(places)), count=3)
    assert [answer[0] for answer in found] == [200, 422, 200]
    assert said(found[0]) == said(found[2])


def test_a_connection_that_breaks_within_a_body_leaves_the_server_well(port):
    for cut in (10, len(post()) - 3):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(post()[:cut])
    assert answers(port, post())[0][0] == 200


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"GET /health/live HTTP/1.1\r\nHost: model\r\nX-Endless: ", b"HTTP/1.1 431 "),
        (b"GET /", b"HTTP/1.1 431 "),
        (post(b"%x\r\n%b\r\n0\r\nX-Endless: " % (len(BODY), BODY), "Transfer-Encoding: chunked", length=False), b""),
        (post(b"1;", "Transfer-Encoding: chunked", length=False), b""),
    ],
    ids=["field", "target", "trailer", "chunk"],
)
def test_what_is_no_body_is_not_taken_for_ever(port, begin, said):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(begin)
        for _ in range(9):
            time.sleep(0.05)
            connection.sendall(b"x" * 2**13)
        try:
            assert connection.recv(13) == said
        except ConnectionResetError:  # it was closed before all was read
            assert said == b""
    assert answers(port, post())[0][0] == 200


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"\x16\x03\x01 no HTTP at all\r\n\r\n", [400]),
        (b"GET /health/live HTTP/9.9 and more\r\n\r\n", [400]),
        (post() + b"no request\r\n\r\n", [200, 400]),
        (post(b"no chunk\r\n", "Transfer-Encoding: chunked", length=False), [400]),
        (post(b"no chunk\r\n", "Transfer-Encoding: chunked", path="/invocations", length=False), [400]),
    ],
    ids=["bytes", "version", "after an answer", "chunk", "chunk of one that waits"],
)
def test_what_is_no_http_is_a_problem_as_everything_that_is_refused(port, waited, sent, statuses):
    found = answers(port, sent, count=9)  # until the connection is closed
    assert [answer[0] for answer in found] == statuses
    fields, problem = found[-1][1], json.loads(found[-1][2])
    assert (fields["content-type"], fields["connection"]) == ("application/problem+json", "close")
    assert (problem["status"], "not valid HTTP" in problem["detail"]) == (400, True)
    assert "/v1/predict" not in waited
    assert answers(port, post())[0][0] == 200


def test_long_heads_long_bodies_and_many_requests_in_one_piece_are_taken(port):
    long = post(BODY, "X-Long: " + 40_000 * "x")
    (answer,) = answers(port, *(long[i : i + 10_000] for i in range(0, len(long), 10_000)))
    assert answer[0] == 200
    assert [answer[0] for answer in answers(port, 2_000 * post(), count=2_000)] == 2_000 * [200]
    many = json.dumps({"instances": 3_000 * [PLAIN]}).encode()
    chunks = [b"%x\r\n%b\r\n" % (len(many[i : i + 99]), many[i : i + 99]) for i in range(0, len(many), 99)]
    chunked = post(b"", "Transfer-Encoding: chunked", length=False)
    (answer,) = answers(port, chunked, b"".join(chunks) + b"0\r\n\r\n")
    assert (answer[0], len(json.loads(answer[2])["predictions"])) == (200, 3_000)


def test_key_limit_and_log_are_the_same_at_once(made, tmp_path, waited):
    store = KeyStore(tmp_path / "keys.db")
    _, secret = store.create("twice", ["predict"], by="anna", rate=1, burst=3)
    app = App(made, log=PredictionLog(tmp_path / "log"), guard=Access(keys=store.path).guard())
    app.warm()
    bearer = f"Authorization: Bearer {secret}"
    with listening(app) as port:
        found = answers(port, post(), post(BODY, bearer), post(b"{}", bearer), *2 * [post(BODY, bearer)], count=5)
    assert [answer[0] for answer in found] == [401, 200, 422, 200, 429]  # a row that waits is taken from it once
    assert waited == ["/v1/predict"]
    assert "www-authenticate" in found[0][1]
    left = [re.search(r";r=(\d)", answer[1]["ratelimit"])[1] for answer in found[1:]]
    assert left == ["2", "1", "0", "0"]
    records = list(read_log(tmp_path / "log"))
    assert [record.id for record in records] == [json.loads(found[i][2])["id"] for i in (1, 3)]
    assert records[0].rows == [PLAIN]
    text = app.metrics.text().decode()
    assert 'http_response_status_code="401"' in text
    app.close()


def test_a_version_is_chosen_once_for_a_request_whichever_way_it_is_answered(made, waited):
    class Counting(OneVersion):
        chosen = 0

        def choose(self, key):
            self.chosen += 1
            return super().choose(key)

    app = App(made)
    app.warm()
    app.router = Counting(app.router.stable)
    bodies = [BODY, b"{}", json.dumps({"instances": [PLAIN]}).encode(), b"nothing"]
    with listening(app) as port:
        found = [answers(port, post(body))[0][0] for body in bodies]
    assert found == [200, 422, 200, 400]
    assert waited == 3 * ["/v1/predict"]
    assert app.router.chosen == len(bodies)


def test_a_server_that_has_all_it_can_do_says_so_at_once_too(made):
    app = App(made, terms=Terms(in_flight=1))
    app.warm()
    with listening(app) as port:
        assert answers(port, post())[0][0] == 200
        app.load.count = 1
        (answer,) = answers(port, post())
    assert answer[0] == 503
    assert answer[1]["retry-after"] == "1"


def test_an_idle_connection_is_closed_however_its_last_answer_was_given(made, waited):
    app = App(made)
    app.warm()
    with listening(app, idle=1) as port:
        for request, count in ((post(), 0), (post(json.dumps({"instances": [PLAIN]}).encode()), 1)):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(request)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
                connection.sendall(request)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
                assert connection.recv(65536) == b""
            assert len(waited) == 2 * count
