"""The state machine, the store and the looks: what follows from evidence, and what is kept of it."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from modelyard.core.errors import ServingError, WorkspaceError
from modelyard.serving.rollout.board import ARM, CANDIDATE, ERRORS, REQUESTS, STABLE, Board
from modelyard.serving.rollout.control import move, status
from modelyard.serving.rollout.decide import MOVES, after, decide, moved
from modelyard.serving.rollout.looks import Looks
from modelyard.serving.rollout.rollout import TWO_WEEKS, Arm, Plan, Reading, Rollout, planned
from modelyard.serving.rollout.router import count, latency_bin, place
from modelyard.serving.rollout.store import FILE, Rollouts

PLAN = Plan(steps=(0.05, 0.5), bake=100.0, horizon=1_000.0)
ROLLOUT = Rollout(1, "churn", PLAN, Arm("old", "a" * 64), Arm("new", "b" * 64), "running", 0, 0.0, 0.0, 0.0)


def read(errors: float = 0.0, shown: float = 0.0, missing: bool = False) -> list[Reading]:
    return [
        Reading("errors", 60, 0, errors, 6.0, missing),
        Reading("slow", 60, 0, 0.0, 6.0),
        Reading("errors shown", 60, 0, shown, 3.0),
        Reading("slow shown", 60, 0, 9.0, 3.0),
    ]


@pytest.mark.parametrize(
    ("readings", "now", "said"),
    [
        (read(), 200.0, "CONTINUE"),
        (read(shown=9.0), 50.0, "CONTINUE"),  # the bake time is not over
        (read(shown=9.0), 200.0, "PROMOTE"),
        (read(shown=9.0, missing=True), 200.0, "HOLD"),
        (read(errors=6.0, shown=9.0), 200.0, "ROLLBACK"),
        (read(errors=6.0, missing=True), 200.0, "ROLLBACK"),
        (read(shown=9.0), 1_000.0, "HOLD"),
        (read(errors=6.0), 5_000.0, "ROLLBACK"),
    ],
)
def test_what_follows_from_a_look(readings, now, said):
    decision, why = decide(ROLLOUT, readings, now)
    assert decision == said
    assert why


def test_steps_are_passed_one_by_one_and_the_last_one_promotes():
    second = after(ROLLOUT, "PROMOTE", "shown", 200.0)
    assert (second.state, second.step, second.stepped, second.share) == ("running", 1, 200.0, 0.5)
    assert decide(second, read(shown=9.0), 250.0)[0] == "CONTINUE"  # each step has its own bake time
    done = after(second, "PROMOTE", "shown", 400.0)
    assert (done.state, done.share) == ("promoted", 1.0)
    assert moved(done, "rollback", "anna", 500.0).share == 0.0


def test_a_look_without_data_holds_nothing_up_and_the_horizon_waits_for_a_person():
    assert after(ROLLOUT, "HOLD", "no data", 200.0) == ROLLOUT
    held = after(ROLLOUT, "HOLD", "horizon", 1_000.0)
    assert (held.state, held.share) == ("held", 0.05)
    assert after(held, "ROLLBACK", "errors", 1_100.0).state == "rolled_back"
    assert moved(held, "promote", "anna", 1_200.0).state == "promoted"
    with pytest.raises(ServingError, match="no resume"):  # it would wait again at the next look
        moved(held, "resume", "anna", 1_200.0)


def test_a_shadow_and_an_ab_test_end_without_answering_everybody():
    shadow = replace(ROLLOUT, plan=replace(PLAN, kind="shadow", steps=(0.0,)))
    assert after(shadow, "PROMOTE", "", 200.0).state == "ended"
    test = replace(ROLLOUT, plan=replace(PLAN, kind="ab", steps=(0.5,), metric="sales"))
    assert decide(test, read(shown=9.0), 200.0)[0] == "CONTINUE"
    assert decide(test, read(errors=9.0), 200.0)[0] == "ROLLBACK"


@pytest.mark.parametrize("state", ["rolled_back", "ended"])
def test_what_has_ended_is_moved_no_more(state):
    for name in MOVES:
        with pytest.raises(ServingError, match="no " + name):
            moved(replace(ROLLOUT, state=state), name, "anna", 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": ()}, {"steps": (0.5, 0.1)}, {"steps": (0.0,)}, {"alpha": 0.0}, {"bake": 2_000.0}, {"look": math.nan},
        {"kind": "ab"}, {"kind": "big-bang"}, {"score_odds": 0.5}, {"error_limit": 1.0},
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(changes):
    with pytest.raises(ServingError, match="cannot be"):
        replace(PLAN, **changes)


def test_what_a_plan_does_not_say_is_as_its_kind_has_it():
    assert planned({}) == Plan()
    assert planned({"kind": "shadow"}).steps == (0.0,)
    assert planned({"kind": "blue-green", "horizon": 60}).bake == 60.0
    test = planned({"kind": "ab", "metric": "sales"})
    assert (test.steps, test.bake, test.horizon) == ((0.5,), TWO_WEEKS, TWO_WEEKS)
    short = {"kind": "ab", "metric": "sales", "horizon": TWO_WEEKS - 1.0}
    for reason in ("", " "):
        with pytest.raises(ServingError, match="horizon") as refused:
            planned({**short, "reason": reason})
        assert "with a reason" in refused.value.render()
    assert planned({**short, "reason": "sales end on Friday"}).reason == "sales end on Friday"
    with pytest.raises(ServingError, match="error_limt"):
        planned({"error_limt": 0.05})
    with pytest.raises(msgspec.ValidationError):
        planned({"horizon": "long"})
    assert replace(ROLLOUT, plan=replace(PLAN, kind="shadow")).share == 0.0


def test_who_moves_a_rollout_while_a_look_is_made_goes_before_it(tmp_path):
    store = Rollouts(tmp_path)
    made = store.start("churn", PLAN, ROLLOUT.stable, ROLLOUT.candidate, "anna", at=5.0)
    paused = store.move(moved(made, "pause", "anna", 6.0), "anna")
    assert store.look(made, read(), "PROMOTE", "shown", after(made, "PROMOTE", "shown", 7.0), b"", 7.0) == paused
    assert store.look(made, read(), "CONTINUE", "", made, b"", 8.0) == paused
    assert store.last("churn") == paused


def test_the_store_keeps_every_look_and_decision_and_one_open_rollout(tmp_path):
    store = Rollouts(tmp_path)
    made = store.start("churn", PLAN, ROLLOUT.stable, ROLLOUT.candidate, "anna", at=5.0)
    assert store.last("churn") == made
    with pytest.raises(ServingError, match="open rollout"):
        store.start("churn", PLAN, ROLLOUT.stable, ROLLOUT.candidate)
    with pytest.raises(ServingError, match="is the bundle that serves"):
        store.start("other", PLAN, ROLLOUT.stable, ROLLOUT.stable)
    back = replace(made, state="rolled_back", why="errors")
    store.look(made, read(errors=7.0), "ROLLBACK", "errors", back, b"memory", 65.0)
    again = Rollouts(tmp_path)
    assert again.last("churn") == back
    assert again.memory("churn") == b"memory"
    (look,) = again.looks(made.id)
    assert look["readings"] == read(errors=7.0)
    assert [(d["before"], d["after"], d["by"]) for d in again.decisions(made.id)] == [
        ("", "running", "anna"),
        ("running", "rolled_back", "modelyard"),
    ]
    with pytest.raises(ServingError, match="has ended"):
        store.move(made, "anna")
    for statement in ("DELETE FROM looks", "UPDATE looks SET why = ''", "DELETE FROM decisions"):
        db = sqlite3.connect(tmp_path / FILE)
        with pytest.raises(sqlite3.IntegrityError, match="are kept"):
            db.execute(statement)
        db.close()
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / FILE).write_bytes(b"no database at all, but long enough to be looked at" * 99)
    with pytest.raises(WorkspaceError, match="cannot be read"):
        Rollouts(tmp_path / "spoilt")


def test_where_a_rollout_stands_is_told_without_reading_its_older_looks(tmp_path):
    store = Rollouts(tmp_path)
    made = store.start("churn", PLAN, ROLLOUT.stable, ROLLOUT.candidate, at=0.0)
    # Two weeks of looks, which fail whoever reads one of them: no UTF-8.
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        db.executemany(
            "INSERT INTO looks (rollout, at, step, share, readings, decision, why)"
            " VALUES (?, ?, 0, .05, CAST(x'ff' AS TEXT), 'CONTINUE', '')",
            [(made.id, 60.0 * minute) for minute in range(20_160)],
        )
    db.close()
    for minute in (20_161.0, 20_162.0):
        store.look(made, read(), "CONTINUE", "nothing shown", made, b"", 60.0 * minute)
    with pytest.raises(WorkspaceError, match="UTF-8"):
        store.looks(made.id)
    shown = status(store, made)
    assert (shown["looks"], shown["last"]["at"], shown["last"]["why"]) == (20_162, 60.0 * 20_162, "nothing shown")
    assert [look["at"] for look in store.looks(made.id, newest=2)] == [60.0 * 20_161, 60.0 * 20_162]
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:  # nor are they read to be counted
        (how,) = db.execute("EXPLAIN QUERY PLAN SELECT count(*) FROM looks WHERE rollout = 1")
    db.close()
    assert "COVERING INDEX looks_of" in how[-1]


class Traffic:
    """A board, a store and looks over them, with counts as a worker would write them."""

    def __init__(self, folder, plan: Plan) -> None:
        self.store, self.board = Rollouts(folder), Board(folder, "churn")
        self.at = self.board.claim()
        self.looks = Looks(self.store, self.board, "churn")
        self.now = 0.0
        self.random = np.random.default_rng(1)
        self.plan = plan

    def start(self) -> None:
        self.store.start("churn", self.plan, ROLLOUT.stable, ROLLOUT.candidate, at=self.now)

    def minute(self, requests: int, errors: int = 0, stable: int = 500) -> Rollout:
        for arm, n, x in ((STABLE, stable, 0), (CANDIDATE, requests, errors)):
            for i in range(n):
                score = int(self.random.integers(64))
                count(self.board.words, self.at + arm * ARM, i >= x, 0.001, score, self.board.slow_from)
        self.now += 60.0
        return self.looks.tick(self.store.last("churn"), self.now)


def test_looks_learn_the_baseline_hold_without_data_and_pass_a_step(tmp_path):
    traffic = Traffic(tmp_path, replace(PLAN, bake=60.0, horizon=1e5))
    traffic.looks.tick(None, 0.0)
    traffic.minute(0)
    traffic.minute(0)
    assert traffic.board.slow_from == pytest.approx(0.002, rel=0.2)
    traffic.start()
    traffic.looks.tick(traffic.store.last("churn"), traffic.now)
    assert traffic.board.share == 0.05
    assert traffic.minute(0).state == "running"
    assert traffic.store.looks(1)[-1]["decision"] == "HOLD"
    step = 0
    for _ in range(40):
        step = traffic.minute(60).step
        if step:
            break
    assert step == 1
    assert traffic.board.share == 0.5
    assert traffic.store.looks(1)[-1]["decision"] == "PROMOTE"
    # Another process takes over from what is written down.
    other = Looks(traffic.store, traffic.board, "churn")
    before = len(traffic.store.looks(1))
    traffic.looks = other
    traffic.minute(60)
    after_it = traffic.store.looks(1)
    assert len(after_it) == before + 1
    assert after_it[-1]["readings"][0].requests == 60


def test_looks_go_on_when_the_clock_is_set_back(tmp_path):
    traffic = Traffic(tmp_path, PLAN)
    traffic.minute(0)
    traffic.start()
    traffic.minute(0)
    before = len(traffic.store.looks(1))
    traffic.now -= 3_600.0
    for more in (1, 2):
        traffic.minute(10)
        assert len(traffic.store.looks(1)) == before + more


def test_a_worker_stops_a_failing_candidate_between_looks_and_nobody_undoes_it(tmp_path):
    traffic = Traffic(tmp_path, PLAN)
    traffic.minute(0)
    traffic.start()
    traffic.looks.tick(traffic.store.last("churn"), traffic.now)
    board = traffic.board
    other = Board(tmp_path, "churn")
    at = other.claim() + CANDIDATE * ARM
    assert at != traffic.at + CANDIDATE * ARM
    failed = 0
    while not other.tripped:
        words = other.words if failed % 2 else board.words
        place_of = at if failed % 2 else traffic.at + CANDIDATE * ARM
        words[place_of + REQUESTS] += 1
        words[place_of + ERRORS] += 1
        failed += 1
        (other if failed % 2 else board).alarm()
    assert failed <= 10
    assert board.share == 0.0
    board.share = 0.5  # a look that had begun before
    assert board.share == 0.0
    found = traffic.looks.tick(traffic.store.last("churn"), traffic.now + 1.0)
    assert found.state == "rolled_back"
    assert traffic.store.looks(1)[-1]["decision"] == "ROLLBACK"
    other.close()
    assert Board(tmp_path, "churn").claim() == at - CANDIDATE * ARM  # the slot is free again, its counts are kept


def test_a_rollback_that_cannot_be_written_takes_the_share_away_at_once_and_is_written_later(tmp_path, monkeypatch):
    monkeypatch.setattr("modelyard.serving.rollout.store._SECONDS", 0.1)
    traffic = Traffic(tmp_path, PLAN)
    traffic.minute(0)
    traffic.start()
    traffic.looks.tick(traffic.store.last("churn"), traffic.now)
    assert traffic.board.share == 0.05
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WorkspaceError, match="locked"):
            traffic.minute(60, errors=30)
        assert traffic.board.share == 0.0
        # Neither a look to come nor a process that takes over gives it back.
        for looks in (traffic.looks, Looks(traffic.store, traffic.board, "churn")):
            with pytest.raises(WorkspaceError, match="locked"):
                looks.tick(traffic.store.last("churn"), traffic.now + 0.2)
            assert traffic.board.share == 0.0
        assert traffic.store.last("churn").state == "running"
    found = traffic.looks.tick(traffic.store.last("churn"), traffic.now + 0.4)
    assert found == traffic.store.last("churn")
    assert (found.state, found.why.partition(":")[0]) == ("rolled_back", "errors")
    (look,) = traffic.store.looks(1)
    assert (look["decision"], look["readings"][0].requests, look["readings"][0].events) == ("ROLLBACK", 60, 30)


def test_a_look_that_cannot_be_written_is_made_again_with_the_next_one_and_not_before(tmp_path, monkeypatch):
    monkeypatch.setattr("modelyard.serving.rollout.store._SECONDS", 0.1)
    traffic = Traffic(tmp_path, PLAN)
    traffic.minute(0)
    traffic.start()
    traffic.looks.tick(traffic.store.last("churn"), traffic.now)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WorkspaceError, match="locked"):
            traffic.minute(60)
        assert traffic.looks.tick(traffic.store.last("churn"), traffic.now + 1.0).state == "running"
    traffic.minute(40)
    (look,) = traffic.store.looks(1)
    assert look["readings"][0].requests == 100


def test_whom_a_person_promotes_while_a_look_rolls_it_back_gets_every_request(tmp_path, monkeypatch):
    traffic = Traffic(tmp_path, PLAN)
    traffic.minute(0)
    traffic.start()
    before = traffic.store.last("churn")
    traffic.looks.tick(before, traffic.now)
    monkeypatch.setattr(traffic.store, "last", lambda name: before)
    traffic.store.move(moved(before, "promote", "anna", traffic.now), "anna")
    assert traffic.minute(60, errors=30).state == "promoted"
    assert traffic.board.share == 1.0


def test_a_person_promotes_also_what_a_worker_has_just_stopped(tmp_path):
    traffic = Traffic(tmp_path, PLAN)
    traffic.minute(0)
    traffic.start()
    traffic.looks.tick(traffic.store.last("churn"), traffic.now)
    traffic.board.tripped = True
    assert move(tmp_path, "churn", "promote", "anna").state == "promoted"
    assert traffic.board.share == 1.0


def test_a_board_that_was_lost_counts_anew(tmp_path):
    traffic = Traffic(tmp_path, PLAN)
    traffic.minute(0)
    traffic.start()
    traffic.minute(60)
    traffic.board.close()
    (tmp_path / "churn.board").unlink()
    again = Traffic(tmp_path, PLAN)
    again.now = 200.0
    assert again.minute(50).state == "running"
    assert again.store.looks(1)[-1]["readings"][0].requests == 50
    assert again.board.share == 0.05


def test_a_key_keeps_its_arm_and_rollouts_divide_keys_anew():
    keys = [f"k{i}".encode() for i in range(4_000)]
    first = np.array([place(key, b"1") for key in keys])
    assert list(first) == [place(key, b"1") for key in keys]
    assert abs((first < 0.05).mean() - 0.05) < 0.012
    assert ((first < 0.25) >= (first < 0.05)).all()
    second = np.array([place(key, b"2") for key in keys])
    assert abs(np.corrcoef(first < 0.5, second < 0.5)[0, 1]) < 0.06
    assert place(b"", b"1") != place(b"", b"1")


def test_response_times_find_their_bins():
    for seconds in (1e-6, 3.3e-5, 0.001, 0.5, 7.0):
        at = latency_bin(seconds)
        assert 1e-6 * 2 ** (at / 8) <= seconds * 1.0001 < 1e-6 * 2 ** ((at + 1) / 8) * 1.001
    assert latency_bin(0.0) == 0
    assert latency_bin(1e9) == 191
