"""The benchmark of faults: its callers hide nothing, its judge can find fault, and a short run of it holds."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from faults import bodies
from faults.__main__ import run
from faults.bodies import Told
from faults.judge import Call, judge
from faults.report import last_line, report
from faults.stage import Served, Window
from modelyard.serving.log import PredictionLog, Record

LOAD = Path(__file__).parents[1] / "benchmarks/faults/load.py"
ROW = {"number_00": 1.0, "number_01": 2.0, "category_0": "level 1"}


@contextmanager
def answering(answer):
    """Serve bytes: whatever `answer` returns for the number of a request; None closes the connection."""
    count = iter(range(10**6))

    def serve(connection) -> None:
        while connection.recv(65_536):
            said = answer(next(count))
            if said is None:
                break
            connection.sendall(said)
        connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def called(tmp_path, port, seconds=1.0, rate=50):
    """Have the callers call for a while; return their calls."""
    request = ["POST / HTTP/1.1\r\nContent-Length: 0\r\ntraceparent: 00-", "-00f067aa0ba902b7-01\r\n\r\n"]
    asked = {"address": ["127.0.0.1", port], "requests": [request], "rate": rate, "connections": 4}
    asked |= {"into": str(tmp_path / "calls.json")}
    with subprocess.Popen([sys.executable, str(LOAD)], stdin=subprocess.PIPE, text=True) as callers:
        callers.stdin.write(json.dumps(asked) + "\n")
        callers.stdin.flush()
        time.sleep(seconds)
    return [Call(*plain) for plain in json.loads((tmp_path / "calls.json").read_text())["calls"]]


def whole(body, status="200 OK"):
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


def test_broken_connections_are_tried_again_and_every_try_is_kept(tmp_path):
    with answering(lambda number: None if number % 5 == 4 else whole(f'{{"id":"w-{number}"}}')) as port:
        calls = called(tmp_path, port)
    assert len(calls) >= 10
    assert {call.status for call in calls} == {200}
    tries = [how for call in calls for _, _, how, _ in call.tries]
    assert tries.count("answered") == len(calls)
    assert tries.count("broken") >= len(calls) // 5
    assert any(before for call in calls for _, _, _, before in call.tries)
    assert all(call.done >= call.due for call in calls)


def test_answers_of_any_status_are_not_tried_again_and_a_server_that_is_not_there_is_given_up(tmp_path):
    with answering(lambda number: whole("{}", "503 Service Unavailable")) as port:
        calls = called(tmp_path, port)
    assert {(call.status, len(call.tries)) for call in calls} == {(503, 1)}
    calls = called(tmp_path, port)
    assert {(call.status, *(how for _, _, how, _ in call.tries)) for call in calls} == {(0, *["refused"] * 4)}


def test_malformed_bodies_are_many_of_each_kind_the_same_each_time_and_seldom_right():
    rows = [ROW, {**ROW, "category_0": "level 2"}]
    made = list(bodies.malformed(rows, 1_000))
    assert made == list(bodies.malformed(rows, 1_000))
    assert {kind: sum(kind == one for one, _ in made) for kind in bodies.KINDS} == dict.fromkeys(bodies.KINDS, 100)
    assert sum(json.dumps(row, separators=(",", ":")).encode() in (body for _, body in made) for row in rows) <= 2

    def read(body):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None

    assert sum(read(body) is None for _, body in made) > 300  # from 3.12 on, Python reads the deep ones too


NOW = 1_000.0
ANSWER = {"prediction": "yes", "probabilities": {"no": 0.25, "yes": 0.75}, "served_by": "model"}


def call(number, worker="a", **changes):
    """Return an answered request that was due so many seconds after the beginning."""
    told = {"id": f"{worker}-{number}", **ANSWER, "model": "faults", "bundle": "b1"} | changes.pop("told", {})
    due = NOW + number
    tries = [*changes.pop("before", []), (due, due + 0.01, "answered", f"{worker}-0")]
    return replace(Call(number, 0, due, due + 0.01, 200, tries, json.dumps(told)), **changes)


def record(one, **changes):
    told = json.loads(one.answer)
    answer = {name: told[name] for name in ANSWER if name in told}
    plain = {"id": told["id"], "at": one.due, "model": "faults", "bundle": told["bundle"] + "ff", "rows": [ROW]}
    plain |= {"answers": [answer], "milliseconds": 1.0, "trace": f"{one.number + 1:032x}"}
    return Record(**{**plain, **changes})


def judged(tmp_path, calls, records=None, windows=(), **changes):
    """Judge a run in which version 1 answers until 50 seconds after the beginning, and version 2 from then on."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    log = PredictionLog(folder / "log")
    for one in [record(one) for one in calls if one.status == 200] if records is None else records:
        assert log.append(one)
    log.close()
    releases = SimpleNamespace(
        rows=[ROW], rule="number_00 > 0", hashes={1: "b1", 2: "b2"}, answers={"b1": [0.75], "b2": [0.5]},
        model_of=lambda version: version, bad=lambda version, row: False,
    )  # fmt: skip
    stage = SimpleNamespace(
        log=log.folder, releases=releases, windows=list(windows), dropped=0, strangers=defaultdict(list), late=[],
        served=[Served(1, NOW, NOW + 50), Served(2, NOW + 49)], began=NOW, ended=NOW + 100, left_out=[],
    )  # fmt: skip
    vars(stage).update(changes)
    path = folder / "calls.json"
    plain = [[c.number, c.row, c.due, c.done, c.status, c.tries, c.answer] for c in calls]
    path.write_text(json.dumps({"calls": plain}))
    found = judge(stage, path)
    report(stage, found)
    _, good = last_line(stage, found)
    broken = [question.text for question in found.questions if not question.holds]
    assert good == (not broken)
    return broken


CALLS = [call(number, "ab"[number % 2]) for number in range(40)]


def test_a_run_that_holds(tmp_path):
    assert judged(tmp_path, CALLS) == []


@pytest.mark.parametrize("dropped", [0, 1])
def test_an_acknowledged_prediction_that_the_log_lacks_must_be_counted_as_dropped(tmp_path, dropped):
    broken = judged(tmp_path, CALLS, [record(one) for one in CALLS[1:]], dropped=dropped)
    assert [text[:24] for text in broken] == ([] if dropped else ["acknowledged predictions"])


@pytest.mark.parametrize(
    "changes",
    [{"answers": [{**ANSWER, "prediction": "no"}]}, {"rows": [{}]}, {"trace": "f"}, {"bundle": "b2"}, {"id": "a-1"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_record_must_be_what_was_answered_and_there_once(tmp_path, changes):
    records = [record(one) for one in CALLS]
    (broken,) = judged(tmp_path, CALLS, [record(CALLS[0], **changes), *records[1:]])
    assert broken.startswith("acknowledged")


@pytest.mark.parametrize(
    ("number", "told", "right"),
    [
        (10, {"bundle": "b2", "probabilities": {"no": 0.5, "yes": 0.5}}, False),
        (60, {"bundle": "b1"}, False),
        (60, {"bundle": "b2", "probabilities": {"no": 0.5, "yes": 0.5}}, True),
        (10, {"probabilities": {"no": 0.3, "yes": 0.7}}, False),
        (10, {"served_by": "rule", "prediction": "no"}, False),
        (10, {"served_by": "rule"}, True),
    ],
    ids=["too early", "too late", "in time", "otherwise", "another rule", "the rule"],
)
def test_an_answer_must_be_of_the_version_released_then_and_what_it_answers(tmp_path, number, told, right):
    broken = judged(tmp_path, [*CALLS, call(number, told={"id": "c-1", **told})])
    assert [text[:11] for text in broken] == ([] if right else ["answers are"])


def test_a_try_that_broke_is_the_killed_workers_or_a_failure(tmp_path):
    def tried(worker, killed):
        broke = (NOW + 30.5, NOW + 30.6, "broken", f"{worker}-7")
        one = replace(call(30, "b", told={"id": "b-99"}, before=[broke]), due=NOW + 30.5, done=NOW + 30.7)
        alive = [c for c in CALLS if worker == "b" or c.number < 30 or c.number % 2]
        windows = [Window("a kill", NOW + 30, NOW + 35, [NOW + 30.5])] if killed else []
        return judged(tmp_path, [*alive, one], windows=windows)

    in_time = ["answered within the limit, over the whole run"]  # 0.2 s
    assert tried("a", killed=True) == in_time
    assert "no request to a healthy worker fails" in tried("b", killed=True)
    assert "no request to a healthy worker fails" in tried("a", killed=False)


def test_refusals_and_lateness_are_found_and_what_was_due_without_a_server_stands_apart(tmp_path):
    late = call(41, done=NOW + 41.2)
    assert len(judged(tmp_path, [*CALLS, late])) == 2
    refused = replace(call(41), status=503, answer="{}")
    assert "no request to a healthy worker fails" in judged(tmp_path, [*CALLS, refused])
    down = [Window("no server", NOW + 40, NOW + 45, [NOW + 40], (NOW + 40, NOW + 42))]
    gone = replace(call(41), status=0, tries=[(NOW + 41, NOW + 41, "refused", "")] * 4, answer="")
    assert judged(tmp_path, [*CALLS, gone], [], windows=down, dropped=len(CALLS)) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("malformed", Told("cut", b"{", 500, b"", b"{}")),
        ("malformed", Told("cut", b"{", 0)),
        ("malformed", Told("cut", b"{", 400, b"connection: close", b'{"status": 400, "detail": "x"}')),
        ("malformed", Told("cut", b"{", 400, b"", b'{"status": 422, "detail": "x"}')),
        ("oversized", Told("chunked", b"", 0)),
        ("slow", Told("mute", b"", -1)),
        ("slow", Told("slow body", b"", 0)),
    ],
)
def test_what_strangers_get_must_be_documented(tmp_path, name, told):
    right = {"malformed": [Told("cut", b"{", 400, b"", b'{"status": 400, "detail": "x"}')]}
    right |= {"oversized": [Told("chunked", b"", 413)], "slow": [Told("mute", b"", 0), Told("slow body", b"", 408)]}
    assert judged(tmp_path, CALLS, strangers=defaultdict(list, right)) == []
    (broken,) = judged(tmp_path, CALLS, strangers=defaultdict(list, right | {name: [told]}))
    assert broken.startswith("malformed, oversized")


@pytest.mark.slow
def test_a_short_run_holds(tmp_path):
    stage, found = run(tmp_path / "run", share=0.1, rate=60, trees=50)
    assert [question for question in found.questions if not question.holds and not question.timed] == []
    assert len(stage.windows) + len(stage.left_out) == 16
    assert len(found.calls) > 1_000
    assert len(found.apart) < len(found.calls) / 2
