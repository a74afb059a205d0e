"""The benchmark of serving: its generator is honest, its servers answer as the bundle does, its bars can fail."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from serving import generator, rounds
from serving.bars import Results, bars, merged, percentile, ratio, read
from serving.generator import Connection, histogram, load, whole
from serving.packed import pack
from serving.report import MARKS, last_line, markdown
from serving.running import Running, Wrong
from serving.servers import BARE, CONSTANT, OURS, SERVERS, TWICE, Server

ROOT = Path(__file__).parents[1]
REQUEST = b"POST / HTTP/1.1\r\nHost: steady\r\nContent-Length: 0\r\n\r\n"
STEADY = ROOT / "benchmarks/serving/steady.py"


@contextmanager
def steady(milliseconds, *stall):
    """Run the server of known times and yield connections to it."""
    words = [sys.executable, str(STEADY), str(milliseconds), *map(str, stall)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        address = "127.0.0.1", int(server.stdout.readline())
        connections = [Connection(address) for _ in range(4)]
        try:
            yield connections
        finally:
            for connection in connections:
                connection.socket.close()
            server.kill()


def test_the_open_loop_sends_what_is_due_and_sees_the_known_time():
    with steady(5) as connections:
        found = load(connections, [REQUEST], seconds=0.5, rate=200, patience=60)
    assert len(found.latencies) == len(found.services) == 100
    assert found.refused == found.unanswered == 0
    assert min(found.latencies) >= 0.005


def test_the_closed_loop_cannot_be_faster_than_the_server():
    with steady(10) as connections:
        found = load(connections, [REQUEST], seconds=0.4)
    assert 4 <= len(found.latencies) <= 4 * (found.seconds / 0.01 + 1)
    assert min(found.services) >= 0.01


def test_a_stall_shows_in_what_was_due_meanwhile_though_few_requests_met_it():
    # 200 a second; the 20th keeps everybody waiting for half a second, in which 100 become due on 4 connections.
    with steady(1, 500, 20) as connections:
        found = load(connections, [REQUEST], seconds=1.0, rate=200, patience=60)
    assert len(found.latencies) == 200
    corrected, naive = (sum(t > 0.25 for t in times) for times in (found.latencies, found.services))
    # Those due in the first half of the stall waited for over half of it; of them only as many were on their way as
    # there are connections. A busy machine makes more of both slow, never fewer.
    assert corrected >= 45
    assert corrected >= naive + 40
    counts = histogram(found.latencies)
    assert percentile(counts, 0.9) > 250


def test_requests_never_answered_count_as_long_as_they_waited():
    with steady(60_000) as connections:
        found = load(connections, [REQUEST], seconds=0.2, rate=50, patience=0.3)
    assert (found.unanswered, found.services, len(found.latencies)) == (10, [], 10)
    assert min(found.latencies) >= 0.3


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length:4\r\n\r\nabc", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab", False),
    ],
)
def test_an_answer_is_whole_when_all_of_it_is_there(answer, ends):
    assert whole(answer) is ends


def test_an_answer_whose_end_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="unknown length"):
        whole(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc")


def test_the_clock_of_another_process_counts_what_it_uses():
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=-1) as process:
        process.stdout.readline()
        before = generator.cpu([process.pid])
        while generator.cpu([process.pid]) < before + 0.01:
            pass
        process.kill()
    with pytest.raises(OSError, match=r"Invalid argument|No such process"):
        generator.cpu([process.pid])


def test_percentiles_of_a_histogram_are_right_to_a_bucket_and_absent_where_too_few_lie_beyond():
    counts = histogram(i / 1000 for i in range(1, 1001))
    assert 500 <= percentile(counts, 0.5) <= 500 * generator.BASE
    assert 990 <= percentile(counts, 0.99) <= 990 * generator.BASE
    assert math.isnan(percentile(counts, 0.999))
    assert merged([{"latency": {"3": 1}}, {"latency": {"3": 2, "5": 1}}], "latency") == {3: 3, 5: 1}


def test_ratios_compare_figures_of_one_round():
    # Every round is twice as slow as the one before: their ratio is the same in all.
    ours = {r: 100.0 * 2**r for r in range(6)}
    peer = {r: 300.0 * 2**r for r in range(6)}
    assert ratio(peer, ours) == pytest.approx((3, 3, 3))
    value, low, high = ratio({0: 100.0, 1: 400.0}, {0: 100.0, 1: 100.0, 2: 7.0})
    assert (value, low, high) == pytest.approx((2, 1, 4))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("packed"), trees=20)


@pytest.mark.parametrize("name", [OURS, TWICE, BARE, "fastapi"])
def test_servers_of_the_project_s_own_answer_as_the_bundle_does_and_are_measured(name, model, tmp_path):
    one = Running(SERVERS[name], model, tmp_path / "server")
    try:
        one.check()
        one.hold()
        one.go_on()
        found = rounds.generate(one.port, one.requests(), 100, 0.2, one.pids(), warm=0.1)
    finally:
        one.end()
    assert (found["answered"], found["refused"], found["unanswered"]) == (20, 0, 0)
    assert found["server_s"] > 0
    assert found["generator_s"] > 0
    assert not one.tree()


def test_a_server_that_answers_something_else_is_not_measured(model, tmp_path):
    constant = SERVERS[CONSTANT]
    wrong = Server("wrong", constant.command, constant.path, constant.body, constant.read)
    one = Running(wrong, model, tmp_path / "server")
    try:
        with pytest.raises(Wrong, match="the bundle"):
            one.check()
    finally:
        one.end()


def test_a_server_that_ends_is_named_with_what_it_said(model, tmp_path):
    ending = Server("ending", lambda *_: ["-c", "raise SystemExit('no such thing')"], "/", None, None)
    one = Running(ending, model, tmp_path / "server")
    ending_body = Server("ending", ending.command, "/", lambda model, row: row, float)
    one.server = ending_body
    with pytest.raises(Wrong, match="no such thing"):
        one.check()
    one.end()


def test_the_bare_endpoint_has_the_settings_modelyard_serves_with(model, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/serving/apps"))
    import settings
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from modelyard.serving.serve import serve

    given = {}

    class Stop(Exception):
        pass

    def config(app, **words):
        given.update(words)
        raise Stop

    monkeypatch.setattr(uvicorn, "Config", config)
    with pytest.raises(Stop):
        serve(model.folder / "bundle", port=0)
    ours = {name: given[name] for name in settings.SETTINGS}
    if ours["http"] != "httptools":
        assert issubclass(ours["http"], HttpToolsProtocol)
        ours["http"] = "httptools"
    assert ours == settings.SETTINGS


COST = {OURS: 100, TWICE: 104, BARE: 95, "fastapi": 500, "kserve": 700}
COST |= {"mlserver": 1400, "mlserver, no parallel worker": 800, "litserve": 1500, "bentoml": 1800}
COST |= {"ray serve": 11_000, "mlflow": 20_000, "mlflow, tensors": 10_500}


def figures(server, turn, cost, rate=None, **more):
    """Return one load of 1,000 requests that cost so many microseconds."""
    latency = {"350": 990, "400": 10}
    return {
        "run": "a", "round": turn, "server": server, "rate": rate, "answered": 1000, "refused": 0, "unanswered": 0,
        "seconds": 1.0, "server_s": cost / 1e3, "generator_s": 0.02, "latency": latency, "service": latency,
        "lag": {"100": 1000}, "others": 0.0, "processes": 1, **more,
    }  # fmt: skip


def results(cost=COST, turns=5, **about):
    known = {
        "code": "abc", "python": "3", "cores": 2, "versions": {"uvicorn": "1"}, "pins": {"kserve": ["kserve==0.21.0"]},
        "servers": list(cost), "failed": {}, "rates": [100], "rounds": turns, "seconds": 1.0, "connections": 16,
        "request_bytes": 750, "trees": 500,
        "steady": {way: {**figures("steady", 0, 1), "latency": {"431": 1000}} for way in ("closed", "open")},
    }  # fmt: skip
    taken = [figures(s, t, c, rate) for s, c in cost.items() for t in range(turns) for rate in (None, 100)]
    return Results(known | about, tuple(taken))


def test_every_bar_holds_where_it_should_and_fails_where_it_should():
    good = results()
    assert [b.question for b in bars(good) if not b.holds] == []
    assert last_line(good) == (f"bench-serving: {len(bars(good))} of {len(bars(good))} bars hold", True)
    changes = {OURS: 120, TWICE: 80, "kserve": 550, "ray serve": 9_000, "mlflow, tensors": 9_000}
    for name, worse in changes.items():
        lost = [b.question for b in bars(results(COST | {name: worse})) if b.holds is False]
        assert lost, name
    assert not last_line(results(COST | {"fastapi": 390}))[1]
    assert not last_line(results(turns=2))[1]
    assert not last_line(results(failed={"kserve": "did not start"}))[1]
    slow = {"closed": good.about["steady"]["closed"], "open": {**good.about["steady"]["open"], "latency": {"440": 9}}}
    assert [b.holds for b in bars(results(steady=slow))].count(False) == 1


def test_a_bar_fails_where_its_interval_reaches_over_though_the_mean_does_not():
    found = results()
    noisy = [
        f | {"server_s": f["server_s"] * (1.3 if f["round"] == 0 else 1)} if f["server"] == OURS else f
        for f in found.figures
    ]
    bar = bars(Results(found.about, tuple(noisy)))[0]
    assert float(bar.found.split()[0]) < 1.15
    assert bar.holds is False


def test_a_server_that_failed_leaves_its_bar_unanswered_and_broken_loads_are_left_out():
    cost = {k: v for k, v in COST.items() if k != "kserve"}
    found = results(cost, servers=list(COST), failed={"kserve": "did not start"})
    assert [b.holds for b in bars(found) if "kserve" in b.question] == [None]
    extra = figures(OURS, 0, 9999) | {"error": "its processes changed"}
    assert results().cpu(OURS) == Results(found.about, (*results().figures, extra)).cpu(OURS)
    assert "did not start" not in markdown(found)
    assert "not measured: kserve" in last_line(found)[0]


def test_the_report_shows_what_was_found(tmp_path):
    text = markdown(results())
    assert "| modelyard |" in text
    assert "| ray serve | model | 1 | 11,000 | 110 [110, 110] |" in text
    assert "**100 requests a second**" in text
    over = (*results().figures, {"server": "late", "rate": 100, "over": True, "round": 0})
    shown = markdown(Results(results().about | {"servers": [*COST, "late"]}, over))
    assert "| late | more than it can hold |" in shown
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    assert all(page.count(mark) == 1 for mark in MARKS)


def test_the_last_run_on_record_is_read_and_a_line_cut_short_is_none(tmp_path):
    path = tmp_path / "results.jsonl"
    with pytest.raises(ValueError, match="holds no run"):
        read(path)
    lines = [{"run": "old", "about": {"n": 1}}, {"run": "a", "about": {"n": 2}}, figures(OURS, 0, 100)]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"run": "a", "ser', encoding="utf-8")
    found = read(path)
    assert found.about == {"n": 2}
    assert found.cpu(OURS) == {0: pytest.approx(100)}
