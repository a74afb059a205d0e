"""Rollouts on a real server with several workers: candidates that fail or are good, and processes that are killed."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from functools import partial

import pytest

from bundles import CITIES, ROW
from disks import fill, mounted
from modelyard.bundle.load import load_bundle
from modelyard.core.canonical import to_plain
from modelyard.core.errors import WorkspaceError
from modelyard.serving.app import App
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.rollout.board import ARM, CANDIDATE, ERRORS, REQUESTS
from modelyard.serving.rollout.control import move, status, status_lines
from modelyard.serving.rollout.live import Live
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.router import count
from modelyard.serving.rollout.shadow import Shadow
from modelyard.serving.rollout.store import Rollouts
from modelyard.serving.version import Version
from processes import workers_of
from rollouts import OLD, QUICK, arms, ask, begin, newest, on_board, packed, server, until, until_loaded


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return arms(tmp_path_factory.mktemp("arms"))


def test_an_all_failing_canary_is_stopped_within_ten_of_its_requests_and_no_caller_sees_an_error(tmp_path, bundles):
    stable = load_bundle(bundles["stable"]).hash[:12]
    # Looks are far apart, so that it is workers who stop it.
    plan = Plan(steps=(0.05, 0.5), look=300.0, bake=600.0, horizon=3600.0)
    with server(tmp_path, bundles["stable"]) as (_, address):
        begin(tmp_path, bundles, "failing", plan)
        board = on_board(tmp_path)
        until(lambda: board.share == 0.05)
        statuses, served = Counter(), Counter()
        while not board.tripped:
            code, answer = ask(address, OLD)
            statuses[code] += 1
            served[answer["bundle"]] += 1
            assert sum(statuses.values()) < 5_000
        counted = board.sums()[CANDIDATE]
        for _ in range(100):
            assert ask(address, OLD)[0] == 200
        until(lambda: newest(tmp_path).state == "rolled_back")
        after = board.sums()[CANDIDATE]
        board.close()
    assert statuses == {200: sum(statuses.values())}
    assert served == {stable: sum(statuses.values())}
    assert counted[ERRORS] == counted[REQUESTS] <= 10
    assert list(after) == list(counted)  # none after it was stopped
    shown = status(Rollouts(tmp_path / "rollouts"), newest(tmp_path))
    assert shown["last"]["decision"] == "ROLLBACK"
    assert [d["after"] for d in shown["decisions"]] == ["running", "rolled_back"]


def test_a_good_canary_is_promoted_and_a_killed_server_goes_on_with_it(tmp_path, bundles):
    stable, good = (load_bundle(bundles[name]).hash[:12] for name in ("stable", "good"))
    with server(tmp_path, bundles["stable"]) as (process, address):
        begin(tmp_path, bundles, "good", Plan(steps=(0.5,), **QUICK))
        keys = [f"client-{i}" for i in range(20)]
        arms: dict[str, set[str]] = {}
        board = on_board(tmp_path)
        until_loaded(address, newest(tmp_path), good)

        killed = False
        while newest(tmp_path).state == "running":
            for key in keys:
                code, answer = ask(address, ROW, key=key)
                assert code == 200
                if board.share == 0.5 and not killed:
                    arms.setdefault(key, set()).add(answer["bundle"])
            counted = board.sums()[CANDIDATE, REQUESTS]
            if not killed and counted > 50:
                os.kill(workers_of(process.pid)[0].pid, signal.SIGKILL)  # counts and evidence outlive it
                until(lambda: len(workers_of(process.pid)) == 2)
                assert board.sums()[CANDIDATE, REQUESTS] >= counted
                killed = True
                until(lambda: all(ask(address, None, "/health/ready")[0] == 200 for _ in range(8)))
        assert killed
        assert newest(tmp_path).state == "promoted"
        assert all(len(met) == 1 for met in arms.values()), arms
        assert set().union(*arms.values()) == {stable, good}
        assert {ask(address, ROW)[1]["bundle"] for _ in range(20)} == {good}
        process.send_signal(signal.SIGKILL)
        process.wait()
        board.close()
    with server(tmp_path, bundles["stable"]) as (_, address):
        assert {ask(address, ROW)[1]["bundle"] for _ in range(20)} == {good}
        # Nothing but the board and the loaded version are needed to go back.
        for path in bundles["stable"], bundles["good"]:
            path.rename(path.with_name(path.name + "-away"))
        try:
            move(tmp_path / "rollouts", "churn", "rollback", "anna")
            assert {ask(address, ROW)[1]["bundle"] for _ in range(20)} == {stable}
        finally:
            for path in bundles["stable"], bundles["good"]:
                path.with_name(path.name + "-away").rename(path)
    looks = Rollouts(tmp_path / "rollouts").looks(1)
    assert looks[-1]["decision"] == "PROMOTE"
    assert all(look["readings"] for look in looks)


def test_a_promoted_candidate_is_counted_as_the_stable_one_it_is(tmp_path, bundles):
    app = App(load_bundle(bundles["stable"]))
    live = Live(app, tmp_path / "rollouts", str(bundles["stable"]))
    begin(tmp_path, bundles, "good", Plan(steps=(1.0,), **QUICK))
    live.tick()
    canary = app.router.choose(b"")
    assert canary.variant == "canary"
    move(tmp_path / "rollouts", "churn", "promote", "anna")
    live.tick()
    chosen = app.router.choose(b"")
    assert (chosen.variant, chosen.number, chosen.bundle) == ("stable", canary.number, canary.bundle)
    assert app.router.stable is chosen
    live.tick()
    assert app.router.choose(b"") is chosen
    move(tmp_path / "rollouts", "churn", "rollback", "anna")
    live.tick()
    assert app.router.choose(b"").bundle.hash == load_bundle(bundles["stable"]).hash
    app.close()


def test_while_a_candidate_is_loaded_the_one_before_it_answers_nothing(tmp_path, bundles, monkeypatch):
    stable, other = load_bundle(bundles["stable"]), packed(tmp_path / "other", 6)
    app = App(stable)
    live = Live(app, tmp_path / "rollouts", str(bundles["stable"]))
    begin(tmp_path, bundles, "good", Plan(steps=(1.0,), **QUICK))
    move(tmp_path / "rollouts", "churn", "promote", "anna")
    live.tick()
    assert app.router.choose(b"").bundle.hash == load_bundle(bundles["good"]).hash
    meanwhile, load = [], Live._candidate

    def candidate(self, rollout):
        meanwhile.append(app.router.choose(b"").bundle.hash)
        return load(self, rollout)

    monkeypatch.setattr(Live, "_candidate", candidate)
    begin(tmp_path, {**bundles, "other": other}, "other", Plan(steps=(1.0,), **QUICK))
    live.tick()
    assert meanwhile == [stable.hash]
    assert app.router.choose(b"").bundle.hash == load_bundle(other).hash
    app.close()


def test_whatever_a_candidate_does_when_it_is_loaded_it_is_rolled_back_and_told_once(
    tmp_path, bundles, monkeypatch, caplog
):
    app = App(load_bundle(bundles["stable"]))
    live = Live(app, tmp_path / "rollouts", str(bundles["stable"]))

    def breaks(*_):
        raise KeyError("odd")

    with monkeypatch.context() as patched:
        patched.setattr(Version, "prove", breaks)
        begin(tmp_path, bundles, "good", Plan(steps=(1.0,), **QUICK))
        live._safe_tick()
    assert newest(tmp_path).state == "rolled_back"
    assert "odd" in newest(tmp_path).why
    live._safe_tick()
    monkeypatch.setattr(live, "tick", breaks)
    for _ in range(3):
        live._safe_tick()
    assert caplog.text.count("the rollout cannot go on") == 2
    app.close()


def test_a_candidate_that_cannot_be_warmed_is_rolled_back_before_it_meets_a_request(tmp_path, bundles):
    root = tmp_path / "broken"
    broken = packed(root, 6)
    with server(tmp_path, bundles["stable"], workers=1) as (_, address):
        begin(tmp_path, {**bundles, "broken": broken}, "broken", Plan(steps=(0.5,), **QUICK))
        (broken / "model.onnx").write_bytes(b"damaged")
        until(lambda: newest(tmp_path).state == "rolled_back")
        assert ask(address, ROW)[0] == 200
    assert "cannot be loaded" in newest(tmp_path).why


def test_on_a_full_disk_a_failing_candidate_loses_its_share_and_that_is_written_once_there_is_room(tmp_path, bundles):
    with mounted(tmp_path / "small", "size=2m") as small:
        app = App(load_bundle(bundles["stable"]))
        live = Live(app, small / "rollouts", str(bundles["stable"]))
        begin(small, bundles, "failing", Plan(steps=(0.5,), look=0.1, bake=600.0))
        live.tick()
        board = on_board(small)
        assert board.share == 0.5
        filler = fill(small)
        # As a worker would count them, but for its alarm: this is about the look.
        at = board.claim()
        for _ in range(30):
            count(board.words, at + CANDIDATE * ARM, False, 0.001, None, math.inf)
        time.sleep(0.2)
        for _ in range(2):
            with pytest.raises(WorkspaceError, match="cannot be read or written"):
                live.tick()
            assert board.share == 0.0
        filler.unlink()
        live.tick()
        assert newest(small).state == "rolled_back"
        assert newest(small).why.startswith("errors")
        board.close()
        app.close()


def test_the_admin_interface_starts_moves_and_tells(tmp_path, bundles):
    store = KeyStore(tmp_path / "keys.db")
    key, secret = store.create("anna", ["admin"], by="anna")
    with server(tmp_path, bundles["stable"], workers=1, keys=store.path) as (_, address):
        asked = partial(ask, address, path="/admin/rollout", secret=secret)
        assert ask(address, {"move": "pause"}, "/admin/rollout")[0] == 401
        assert asked()[0] == 404
        plan = {"kind": "canary", "steps": [0.5], **QUICK}
        code, shown = asked({"candidate": str(bundles["good"]), "plan": plan})
        assert (code, shown["state"]) == (200, "running")
        assert asked({"candidate": str(bundles["good"])})[0] == 409
        assert asked({"move": "pause"})[1]["state"] == "paused"
        assert asked({"move": "jump"})[0] == 400
        assert asked({"move": "resume"})[1]["state"] == "running"
        assert asked({"move": "rollback"})[1]["state"] == "rolled_back"
        assert asked({"move": "promote"})[0] == 409
        assert asked({"candidate": 3})[0] == 400
        assert asked({"candidate": "x", "plan": {"horizon": "x"}})[0] == 400
        assert asked()[1]["state"] == "rolled_back"
        assert newest(tmp_path).why == f"rollback by {key.id}"


def test_a_server_without_keys_moves_nothing_over_http(tmp_path, bundles):
    with server(tmp_path, bundles["stable"], workers=1) as (_, address):
        assert ask(address, None, "/admin/rollout")[0] == 404
        for body in ({"candidate": str(bundles["good"])}, {"move": "rollback"}):
            code, said = ask(address, body, "/admin/rollout")
            assert (code, "--auth" in said["detail"]) == (403, True)


def test_a_shadow_is_compared_and_answers_nobody(tmp_path, bundles):
    stable = load_bundle(bundles["stable"]).hash[:12]
    with server(tmp_path, bundles["stable"], workers=1) as (_, address):
        begin(tmp_path, bundles, "good", Plan(kind="shadow", steps=(0.0,), look=0.5, bake=0.0))
        board = on_board(tmp_path)
        until(lambda: board.rollout == 1)
        time.sleep(0.5)
        sent = 0
        while newest(tmp_path).state == "running" and sent < 2_000:
            varied = {"age": 20 + 7 * sent % 60, "income": 9e4 * (sent % 5) / 5, "member": sent % 2 == 0}
            code, answer = ask(address, {**ROW, **varied, "city": CITIES[sent % 3]})
            assert (code, answer["bundle"]) == (200, stable)
            sent += 1
        pairs = board.sums()[CANDIDATE, REQUESTS]
        board.close()
    # Another seed is another model: they disagree too often, and that is found.
    assert newest(tmp_path).state == "rolled_back"
    assert "disagreement" in newest(tmp_path).why
    shown = status(Rollouts(tmp_path / "rollouts"), newest(tmp_path))
    apart = [r["difference"] for r in shown["last"]["readings"] if r["difference"] is not None]
    assert apart
    assert all(0 < one < 1 for one in apart)
    assert any("apart in the mean" in line for line in status_lines(shown))
    looks = [to_plain(look) for look in Rollouts(tmp_path / "rollouts").looks(1)]
    timed = [look for look in looks if any(r["times"] for r in look["readings"])]
    assert any("median" in line and "beside" in line for line in status_lines({**shown, "last": timed[-1]}))
    assert 0 < pairs <= sent


def test_a_number_of_any_size_does_not_end_the_copies(tmp_path, bundles):
    with server(tmp_path, bundles["stable"], workers=1) as (_, address):
        begin(tmp_path, bundles, "good", Plan(kind="shadow", steps=(0.0,), look=300.0, bake=0.0))
        board = on_board(tmp_path)
        until(lambda: board.rollout == 1)
        time.sleep(0.5)
        assert ask(address, {**ROW, "age": 10**30})[0] == 200

        def copied() -> bool:
            assert ask(address, ROW)[0] == 200
            return board.sums()[CANDIDATE, REQUESTS] > 10

        until(copied, 30.0)
        board.close()


def test_of_a_large_request_the_queue_of_a_shadow_holds_few_rows(tmp_path, bundles):
    begin(tmp_path, bundles, "good", Plan(kind="shadow", steps=(0.0,)))
    shadow = Shadow(newest(tmp_path), tmp_path / "rollouts", bundles["good"], bundles["stable"])
    shadow.close()  # nobody takes anything out
    shadow.copy([ROW] * 1_000, [{"prediction": 1}] * 1_000)
    ((rows, answers),) = shadow._queue
    assert len(rows) == len(answers) == 32


def test_a_shadow_that_cannot_score_says_why_and_is_not_started_over_and_over(tmp_path, bundles, monkeypatch, capfd):
    begin(tmp_path, bundles, "good", Plan(kind="shadow", steps=(0.0,)))
    shadow = Shadow(newest(tmp_path), tmp_path / "rollouts", tmp_path / "gone", bundles["stable"])
    first = shadow._process
    first.join(60)
    shadow.keep_alive()
    assert shadow._process is first
    monkeypatch.setattr(shadow, "_again", 0.0)
    shadow.keep_alive()
    assert shadow._process is not first
    shadow.close()
    said = capfd.readouterr().err
    assert "the shadow cannot score: There is no bundle" in said
    assert "Traceback" not in said
