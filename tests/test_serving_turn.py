"""Rows that are there at the same time are answered by one call of the model, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from bundles import PLAIN, make_plain
from connections import listening, post
from modelyard.brief.brief import Brief
from modelyard.bundle.load import load_bundle
from modelyard.serving.app import App
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.turn import MOST
from modelyard.serving.wire import Wire

OLD = {**PLAIN, "age": 77}
RULE = "age > 60"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_plain(tmp_path_factory.mktemp("bundles") / "binary")


@pytest.fixture
def app(path, tmp_path):
    app = App(load_bundle(path), log=PredictionLog(tmp_path / "log"))
    app.warm()
    yield app
    app.close()


def rows(count: int) -> list[dict]:
    return [{**PLAIN, "income": float(1_000 * i)} for i in range(count)]


def watched(app: App, fault=None) -> list[int]:
    """Return how many rows each call of the model had, as they come."""
    quick = app.router.stable.quick
    real, sizes = quick._run, []

    def run(names, inputs, options):
        sizes.append(len(inputs["numbers"]))
        if fault is not None:
            fault(inputs)
        return real(names, inputs, options)

    quick._run = run
    return sizes


class Caller:
    """The other end of a connection: what the server writes, and whether it closed."""

    def __init__(self) -> None:
        self.written, self.closed = b"", False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name, default=None):
        return default

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def answers(self) -> list[tuple[int, bytes]]:
        return answers_in(self.written)


def answers_in(rest: bytes) -> list[tuple[int, bytes]]:
    found = []
    while rest:
        head, rest = rest.split(b"\r\n\r\n", 1)
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found.append((int(head[9:12]), rest[:size]))
        rest = rest[size:]
    return found


def connect(app: App) -> tuple[Wire, Caller]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", proxy_headers=False)
    config.load()
    wire, caller = Wire(config=config, server_state=ServerState(), app_state={}), Caller()
    wire.connection_made(caller)
    return wire, caller


def test_what_came_together_is_answered_together_and_logged_in_its_order(app, tmp_path):
    sizes = watched(app)
    sent = rows(7)

    async def turn():
        pairs = [connect(app) for _ in sent]
        for (wire, _), row in zip(pairs, sent, strict=True):
            wire.data_received(post(json.dumps(row).encode()))
        assert not any(caller.written for _, caller in pairs)
        await asyncio.sleep(0)
        return [caller.answers() for _, caller in pairs]

    found = [json.loads(body) for ((status, body),) in asyncio.run(turn()) if status == 200]
    assert sizes == [7]
    chances = [app.bundle.predict_proba(row)[1] for row in sent]
    assert [list(one["probabilities"].values())[1] for one in found] == pytest.approx(chances, abs=1e-6)
    assert len({one["id"] for one in found}) == 7
    records = list(read_log(tmp_path / "log"))
    assert [record.id for record in records] == [one["id"] for one in found]
    assert [record.rows for record in records] == [[row] for row in sent]


def test_callers_of_a_busy_server_share_a_call(app):
    begun, go_on = threading.Event(), threading.Event()
    go_on.set()

    def waits(inputs):
        begun.set()
        assert go_on.wait(30)

    sizes = watched(app, waits)
    sent = rows(6)
    with listening(app) as port, ExitStack() as opened:
        callers = [opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in sent]

        def ask(caller, row):
            caller.sendall(post(json.dumps(row).encode()))

        def answer(caller):
            (found,) = answers_in(caller.recv(65536))
            return json.loads(found[1])

        for caller in callers:
            ask(caller, PLAIN)
            answer(caller)
        del sizes[:]
        go_on.clear()
        begun.clear()
        ask(callers[0], sent[0])
        assert begun.wait(30)
        for caller, row in zip(callers[1:], sent[1:], strict=True):
            ask(caller, row)
        go_on.set()
        found = [answer(caller) for caller in callers]
    assert sizes == [1, 5]
    chances = [app.bundle.predict_proba(row)[1] for row in sent]
    assert [list(one["probabilities"].values())[1] for one in found] == pytest.approx(chances, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_a_neighbour_changes_no_bit_of_an_answer(path, ages):
    quick = App(load_bundle(path)).router.stable.quick
    read = [quick.read(json.dumps({**PLAIN, "age": 18 + age}).encode())[1] for age in ages]
    assert quick.answer(read) == [quick.answer([one])[0] for one in read]


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_a_row_the_model_fails_on_costs_its_neighbours_nothing(path, how):
    bundle = load_bundle(path)
    brief = Brief(rule=RULE, fallback=("rule",))
    app = App(replace(bundle, manifest=replace(bundle.manifest, brief=brief)))
    app.warm()
    real = app.bundle.runtime.run

    def run(names, inputs, options=None):
        old = inputs["numbers"][:, 0] == OLD["age"]
        if how == "raises" and old.any():
            raise RuntimeError("the graph broke")
        outputs = real(names, inputs, options)
        return [np.where(old[:, None], np.nan, outputs[0])]

    app.bundle.runtime.run = app.router.stable.quick._run = run
    sent = [PLAIN, OLD, PLAIN]

    async def turn():
        pairs = [connect(app) for _ in sent]
        for (wire, _), row in zip(pairs, sent, strict=True):
            wire.data_received(post(json.dumps(row).encode()))
        await asyncio.sleep(0.1)
        return [json.loads(caller.answers()[0][1]) for _, caller in pairs]

    assert [one["served_by"] for one in asyncio.run(turn())] == ["model", "rule", "model"]


def test_many_are_answered_before_the_turn_ends(app):
    sizes = watched(app)

    async def turn():
        pairs = [connect(app) for _ in range(MOST + 1)]
        for wire, _ in pairs:
            wire.data_received(post())
        before = sum(bool(caller.written) for _, caller in pairs)
        await asyncio.sleep(0)
        return before, [caller.answers()[0][0] for _, caller in pairs]

    assert asyncio.run(turn()) == (MOST, [200] * (MOST + 1))
    assert sizes == [MOST, 1]


@pytest.mark.parametrize("then", ["another", "the long way", "nonsense", "its end", "the server's end", "nothing"])
def test_whatever_happens_to_a_connection_meanwhile_comes_after_its_answer(app, then):
    wanted = {"another": [200, 200], "the long way": [200, 422], "nonsense": [200, 400]}.get(then, [200])

    async def turn():
        wire, caller = connect(app)
        more = {"another": post(), "the long way": post(b"{}"), "nonsense": b"nonsense\r\n\r\n"}.get(then, b"")
        wire.data_received(post() + more)
        if then == "its end":
            wire.eof_received()
        elif then == "the server's end":
            wire.shutdown()
        before = len(caller.answers())
        await asyncio.sleep(0.1)
        return before, caller

    before, caller = asyncio.run(turn())
    assert [status for status, _ in caller.answers()] == wanted
    assert before >= (then != "nothing")
    assert caller.closed == (then in ("nonsense", "the server's end"))


def test_a_caller_that_has_gone_harms_nobody(app, tmp_path):
    async def turn():
        (wire, gone), (other, there) = connect(app), connect(app)
        wire.data_received(post())
        other.data_received(post(json.dumps(OLD).encode()))
        gone.close()
        wire.connection_lost(None)
        await asyncio.sleep(0)
        return gone.written, there.answers()

    written, found = asyncio.run(turn())
    assert written == b""
    assert [status for status, _ in found] == [200]
    assert len(list(read_log(tmp_path / "log"))) == 2  # the model answered both


def test_an_answer_that_cannot_be_sent_costs_its_neighbours_nothing(app, caplog):
    async def turn():
        (wire, broken), (other, there) = connect(app), connect(app)
        wire.server_state.default_headers = [(b"x-broken", b"a\nb")]
        for each in (wire, other):
            each.data_received(post())
        await asyncio.sleep(0)
        return broken, there.answers()

    broken, found = asyncio.run(turn())
    assert (broken.written, broken.closed) == (b"", True)
    assert [status for status, _ in found] == [200]
    assert "could not be sent" in caplog.text


def test_two_versions_that_are_compared_answer_each_row_alone(app, monkeypatch):
    sizes = watched(app)
    monkeypatch.setattr(type(app.router), "compares", True)

    async def turn():
        pairs = [connect(app) for _ in range(3)]
        for wire, _ in pairs:
            wire.data_received(post())
        return [caller.answers()[0][0] for _, caller in pairs]

    assert asyncio.run(turn()) == [200] * 3
    assert sizes == [1, 1, 1]
