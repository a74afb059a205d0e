"""Rollouts over HTTP: whatever is sent gets a problem that says why, and none of them is the server's fault."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.bundle.load import load_bundle
from modelyard.serving.app import App
from modelyard.serving.guard.admitted import Admitted
from modelyard.serving.rollout.live import PATH, Live
from modelyard.serving.rollout.rollout import KINDS, Plan
from modelyard.serving.rollout.store import FILE
from rollouts import packed
from serving_client import Client, problem


class Anna:
    """A guard that takes everybody for Anna."""

    needs = ()

    async def admit(self, scope, wanted):
        return Admitted("anna")

    def admit_now(self, scope, wanted):
        return Admitted("anna")

    def close(self):
        pass


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("arms") / "good", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def client(folder):
    app = App(load_bundle(packed(folder / "stable", 3)), guard=Anna())
    Live(app, folder / "rollouts", str(folder / "stable"))
    yield Client(app)
    app.close()


def deep(depth: int) -> bytes:
    return b'{"candidate": "x", "plan": ' + b'{"a": [' * depth + b"1" + b"]}" * depth + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"3", b"{}", b'{"move": 3}', b'{"move": "jump"}', b'{"move": "pause", "candidate": "x"}',
        b"\xff\xfe", b'{"candidate": "\\ud800"}', deep(50), deep(4_000), b"[" * 60_000,
        b'{"candidate": "x", "plan": {"kind": []}}', b'{"candidate": "x", "plan": {"kind": {}}}',
        b'{"candidate": "x", "plan": {"kind": "big-bang"}}', b'{"candidate": "x", "plan": {"horizon": -1}}',
        b'{"candidate": "x", "plan": {"horizon": 1e999}}', b'{"candidate": "x", "plan": {"look": 1%s}}' % (b"0" * 400),
        b'{"candidate": "x", "plan": {"steps": {"a": 1}}}', b'{"candidate": "x", "plan": {"step": 1}}',
        b'{"candidate": "%s"}' % (b"x" * 5_000), b'{"candidate": "x\\u0000y"}', b'{"candidate": ""}',
        b'{"candidate": "/dev/null"}', b'{"candidate": "/"}', b'{"candidate": "x", "approve": "anna"}',
    ],
)  # fmt: skip
def test_a_malformed_body_is_the_callers_fault(client, body):
    problem(client.send("POST", PATH, content=body), 400)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
plans = st.dictionaries(st.sampled_from([*Plan.__slots__, "other"]), plain | st.sampled_from(KINDS), max_size=4)
starts = st.fixed_dictionaries({"candidate": plain}, optional={"plan": plans | plain, "approve": plain, "why": plain})
moves = st.fixed_dictionaries({"move": plain | st.sampled_from(["pause", "promote", "rollback"])})


@given(body=st.one_of(starts, moves, plain).map(msgspec.json.encode) | st.binary(max_size=60))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_body_makes_the_server_fail(client, body):
    response = client.send("POST", PATH, content=body)
    # 409: it can be read, and there is no rollout that it could move.
    problem(response, response.status_code)
    assert response.status_code in (400, 409)


def test_what_conflicts_is_told_from_what_cannot_be_written(client, good, folder, monkeypatch):
    assert client.post(PATH, {"candidate": str(good)}).json()["state"] == "running"
    assert "open rollout" in problem(client.post(PATH, {"candidate": str(good)}), 409)["detail"]
    assert "no resume" in problem(client.post(PATH, {"move": "resume"}), 409)["detail"]
    monkeypatch.setattr("modelyard.serving.rollout.store._SECONDS", 0.1)
    file = folder / "rollouts" / FILE
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in problem(client.post(PATH, {"move": "pause"}), 503)["detail"]
    assert client.post(PATH, {"move": "rollback"}).json()["state"] == "rolled_back"
    file.write_bytes(b"no database at all, but long enough to be looked at" * 99)
    for suffix in ("-wal", "-shm"):
        file.with_name(FILE + suffix).unlink(missing_ok=True)
    problem(client.send("GET", PATH), 503)
    problem(client.post(PATH, {"move": "pause"}), 503)
