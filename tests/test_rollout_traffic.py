"""Rollouts of each kind on one server of two workers, under requests that come all the time."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from bundles import ROW
from modelyard.bundle.load import load_bundle
from modelyard.serving.rollout.board import CANDIDATE, ERRORS, REQUESTS
from modelyard.serving.rollout.control import move
from modelyard.serving.rollout.rollout import planned
from modelyard.serving.rollout.store import Rollouts
from rollouts import OLD, QUICK, arms, ask, begin, newest, on_board, server, until, until_loaded

CALLERS = 6


class Traffic:
    """Callers who send requests over connections they keep, and what they were answered."""

    def __init__(self, address, row) -> None:
        self.statuses, self.served = Counter(), Counter()
        self._address, self._body = address, json.dumps(row)
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def _call(self) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        while not self._ends.is_set():
            connection.request("POST", "/v1/predict", self._body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            self.statuses[response.status] += 1
            self.served[answer.get("bundle")] += 1
        connection.close()

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return arms(tmp_path_factory.mktemp("arms"))


@pytest.fixture(scope="module")
def hashes(bundles):
    return {name: load_bundle(path).hash[:12] for name, path in bundles.items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory, bundles):
    folder = tmp_path_factory.mktemp("served")
    with server(folder, bundles["stable"]) as (_, address):
        yield folder, address


@contextmanager
def traffic(address, row=ROW):
    """Have callers call; none of them may see anything but answers."""
    with Traffic(address, row) as found:
        yield found
    assert set(found.statuses) == {200}


def decided(folder) -> list[str]:
    return [d["after"] for d in Rollouts(folder / "rollouts").decisions(newest(folder).id)]


def test_an_all_failing_canary_is_stopped_within_a_second_of_its_first_request_and_no_caller_sees_an_error(
    served, bundles, hashes
):
    folder, address = served
    board = on_board(folder)
    took = []
    # A machine that is busy with other things makes it late, and never early: the best of three counts.
    while not took or (min(took) >= 1.0 and len(took) < 3):
        before = board.sums()[CANDIDATE]
        with traffic(address, OLD) as callers:
            rollout = begin(folder, bundles, "failing", planned({"steps": [0.25], "look": 300.0, "bake": 600.0}))
            first = time.monotonic()
            while not (board.tripped and board.rollout == rollout.id):
                if board.sums()[CANDIDATE, REQUESTS] == before[REQUESTS]:
                    first = time.monotonic()  # the last moment at which it had none
                time.sleep(0.001)
            took.append(time.monotonic() - first)
            until(lambda: newest(folder).state == "rolled_back")
        counted = board.sums()[CANDIDATE] - before
        # Ten, and those that were under way when it was stopped.
        assert 0 < counted[ERRORS] == counted[REQUESTS] <= 10 + CALLERS
        assert set(callers.served) == {hashes["stable"]}
    board.close()
    assert min(took) < 1.0


def test_a_slow_canary_is_rolled_back_for_its_slowness(served, bundles, hashes):
    folder, address = served
    with traffic(address) as callers:
        begin(folder, bundles, "slow", planned({**QUICK, "steps": [0.1], "look": 0.3, "slow_factor": 2.0}))
        until(lambda: newest(folder).state != "running")
    assert decided(folder) == ["running", "rolled_back"]
    assert newest(folder).why.startswith("slow: ")
    assert callers.served[hashes["slow"]] > 0


def test_a_canary_that_is_paused_answers_nothing_until_it_is_resumed(served, bundles, hashes):
    folder, address = served
    board = on_board(folder)
    begin(folder, bundles, "good", planned({**QUICK, "steps": [0.5], "bake": 600.0}))
    until(lambda: board.share == 0.5)
    with traffic(address) as callers:
        until(lambda: callers.served[hashes["good"]] > 0)
    move(folder / "rollouts", "churn", "pause", "anna")
    counted = board.sums()[CANDIDATE, REQUESTS]
    with traffic(address) as callers:
        until(lambda: callers.statuses[200] > 200)
    assert set(callers.served) == {hashes["stable"]}
    assert board.sums()[CANDIDATE, REQUESTS] == counted
    move(folder / "rollouts", "churn", "resume", "anna")
    with traffic(address) as callers:
        until(lambda: callers.served[hashes["good"]] > 0)
    move(folder / "rollouts", "churn", "rollback", "anna")
    board.close()
    assert decided(folder) == ["running", "paused", "running", "rolled_back"]


def test_blue_green_moves_every_request_at_once_and_back_at_once(served, bundles, hashes):
    folder, address = served
    board = on_board(folder)
    with traffic(address) as callers:
        until(lambda: callers.statuses[200] > 300)  # what its response times are compared with
        begin(folder, bundles, "good", planned({**QUICK, "kind": "blue-green"}))
        until(lambda: callers.served[hashes["good"]] > 0)
        until(lambda: newest(folder).state == "promoted")
    assert decided(folder) == ["running", "promoted"]
    with traffic(address) as callers:
        until(lambda: callers.statuses[200] > 100)
    assert set(callers.served) == {hashes["good"]}
    move(folder / "rollouts", "churn", "rollback", "anna")
    with traffic(address) as callers:
        until(lambda: callers.statuses[200] > 100)
    assert set(callers.served) == {hashes["stable"]}
    board.close()


def test_an_ab_test_keeps_each_key_on_its_arm_and_waits_for_a_person_at_its_end(served, bundles, hashes):
    folder, address = served
    said = {"kind": "ab", "metric": "sales", "look": 0.3, "horizon": 3.0, "bake": 0.5, "error_limit": 0.2}
    short = {"reason": "the test is of the machinery", "score_odds": 0.0, "slow_factor": 1e4}
    rollout = begin(folder, bundles, "good", planned({**said, **short}))
    until_loaded(address, rollout, hashes["good"])
    met: dict[str, set[str]] = {}
    for _ in range(4):
        for key in (f"client-{i}" for i in range(30)):
            code, answer = ask(address, ROW, key=key)
            assert code == 200
            met.setdefault(key, set()).add(answer["bundle"])
    assert all(len(arm) == 1 for arm in met.values())
    assert set().union(*met.values()) == {hashes["stable"], hashes["good"]}
    with traffic(address):
        until(lambda: newest(folder).state != "running")
    assert decided(folder) == ["running", "held"]
    move(folder / "rollouts", "churn", "promote", "anna")
    assert {ask(address, ROW)[1]["bundle"] for _ in range(20)} == {hashes["good"]}
    move(folder / "rollouts", "churn", "rollback", "anna")
