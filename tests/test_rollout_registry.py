"""Rollouts and the registry: numbers of releases, gates before a candidate, and a stable version that leaves."""

from __future__ import annotations

import json
import time

import pytest

import modelyard as my
from bundles import PLAIN, make_plain
from modelyard.bundle.load import load_bundle
from modelyard.cli.main import _run
from modelyard.flow.releases import promote_release, roll_back
from modelyard.flow.workspace import Workspace
from modelyard.registry.release import Gate
from modelyard.registry.store import Registry
from modelyard.serving.app import App
from modelyard.serving.follow import Follower
from modelyard.serving.log import PredictionLog
from modelyard.serving.rollout.board import Board
from modelyard.serving.rollout.control import FOLDER, move, start, status, status_lines
from modelyard.serving.rollout.live import Live
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.store import Rollouts
from serving_client import Client

PASS, FAIL = Gate("target met", "pass", "fine"), Gate("no open leak", "fail", "a column gives the label away")
OPEN = Gate("beats baseline", "inconclusive", "no baseline was measured")
APPROVED = {"approved_by": "Dr. Berg", "why": "reviewed"}
PLAN = Plan(steps=(1.0,), look=0.05, bake=0.0)


class Yard:
    """A workspace with releases of one use case, and a server of the first of them."""

    def __init__(self, root, seeds=(3, 4, 5)) -> None:
        self.workspace = Workspace.open(root)
        self.rollouts = self.workspace.root / FOLDER
        self.registry = Registry(self.workspace.registry)
        self.bundles = [load_bundle(make_plain(self.workspace.root / f"bundle-{seed}", seed=seed)) for seed in seeds]

    def register(self, *gates: Gate) -> int:
        """Enter the next bundle."""
        bundle = self.bundles[len(self.registry.releases("churn"))]
        return self.registry.register("churn", bundle.path, bundle.hash, "run", by="tests", gates=gates).version

    def promote(self, version: int) -> None:
        for _ in range(2):
            promote_release(self.workspace, self.registry.release("churn", version), None, by="anna", **APPROVED)

    def start(self, version: int, plan: Plan = PLAN, **approval):
        first, other = self.bundles[0], self.bundles[version - 1]
        return start(self.rollouts, plan, (str(first.path), first), str(other.path), "anna", **approval)

    def live(self, app: App) -> Live:
        return Live(app, self.rollouts, str(self.bundles[0].path))

    def last(self):
        return Rollouts(self.rollouts).last("churn")


@pytest.fixture
def yard(tmp_path, monkeypatch):
    monkeypatch.setattr("modelyard.flow.releases._mirror", lambda yard, release: "")
    made = Yard(tmp_path / "yard")
    for _ in made.bundles:
        made.register(PASS)
    made.promote(1)
    return made


def test_a_release_in_a_rollout_is_logged_counted_and_called_by_its_number(yard, tmp_path):
    app = App(yard.bundles[0], log=PredictionLog(tmp_path / "log"))
    live = yard.live(app)
    made = yard.start(3)
    assert (made.stable.number, made.candidate.number) == ("1", "3")
    assert any("version 3, " in line for line in status_lines(status(Rollouts(yard.rollouts), made)))
    live.tick()
    client = Client(app)
    for expected in ("canary", "stable"):
        assert client.post("/v1/predict", PLAIN).status_code == 200
        chosen = app.router.choose(b"")
        assert (chosen.number, chosen.variant) == ("3", expected)
        if expected == "canary":
            move(yard.rollouts, "churn", "promote", "anna")
            live.tick()
    assert client.send("GET", "/v2/models/churn/versions/3").json()["versions"] == ["3"]
    app.close()
    logged = [(record.version, record.variant) for record in my.read_log(tmp_path / "log")]
    assert logged == [("3", "canary"), ("3", "stable")]


def test_what_the_registry_has_no_release_of_goes_by_its_hash(tmp_path):
    yard = Yard(tmp_path / "yard", (3, 4))
    made = yard.start(2)
    assert (made.stable.number, made.candidate.number) == ("", "")


def test_a_candidate_whose_gates_failed_is_refused_whatever_a_person_says(tmp_path, capsys):
    yard = Yard(tmp_path / "yard")
    for gates in ((PASS,), (PASS, FAIL), (PASS, OPEN)):
        yard.register(*gates)
    words = ["rollout", "start", "churn@1", "churn@2", "--workspace", str(yard.workspace.root)]
    for more in ([], ["--approve", "Dr. Berg", "--why", "reviewed"]):
        assert _run([*words, *more]) == 2
        said = capsys.readouterr().err
        assert "'churn' version 2 is not let into a rollout." in said
        assert "a column gives the label away" in said
    assert yard.last() is None
    # Where a gate is open a person may decide, and that is kept.
    words[3] = "churn@3"
    assert _run(words) == 3
    assert "--approve NAME --why TEXT" in capsys.readouterr().err
    assert _run([*words, "--approve", "Dr. Berg"]) != 0
    capsys.readouterr()
    assert _run([*words, "--approve", "Dr. Berg", "--why", "reviewed", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [d["why"] for d in shown["decisions"]] == ["started, approved by Dr. Berg: reviewed"]


def test_what_a_promotion_has_decided_is_not_asked_again_and_a_shadow_needs_no_gates(tmp_path, monkeypatch):
    monkeypatch.setattr("modelyard.flow.releases._mirror", lambda yard, release: "")
    yard = Yard(tmp_path / "yard")
    for gates in ((PASS,), (OPEN,), (FAIL,)):
        yard.register(*gates)
    yard.registry.promote("churn", 2, "staging", by="anna", **APPROVED)
    assert yard.start(2).state == "running"
    move(yard.rollouts, "churn", "rollback", "anna")
    assert yard.start(3, Plan(kind="shadow", steps=(0.0,))).state == "running"


def test_a_bundle_that_is_no_release_needs_a_person_where_there_are_releases(tmp_path, capsys):
    yard = Yard(tmp_path / "yard")
    yard.register(PASS)
    words = ["rollout", "start", "churn@1", str(yard.bundles[1].path), "--workspace", str(yard.workspace.root)]
    assert _run(words) == 3
    assert "is no release of 'churn'" in capsys.readouterr().err
    assert _run([*words, "--approve", "anna", "--why", "an experiment"]) == 0


def test_a_rollout_ends_when_the_registry_puts_another_version_in_place_of_the_stable_one(yard):
    board = Board(yard.rollouts, "churn")
    app = App(yard.bundles[0])
    live = yard.live(app)
    yard.start(2)
    live.tick()
    assert board.share == 1.0
    yard.promote(3)
    assert board.share == 0.0
    assert (yard.last().state, yard.last().why) == ("ended", "version 3 took the place of version 1 in production")
    assert Rollouts(yard.rollouts).decisions(1)[-1]["by"] == "anna"
    Follower(app, yard.registry.path).look()
    live.tick()
    assert app.router.choose(b"").bundle.hash == yard.bundles[2].hash
    # Nothing is in the way of the next one.
    third, second = yard.bundles[2], yard.bundles[1]
    start(yard.rollouts, PLAN, (str(third.path), third), str(second.path), "anna")
    live.tick()
    assert app.router.choose(b"").bundle.hash == second.hash
    roll_back(yard.workspace, "churn", by="anna")
    assert yard.last().state == "ended"
    board.close()
    app.close()


def test_a_server_that_leaves_the_stable_version_ends_the_rollout_itself(yard, caplog):
    app = App(yard.bundles[0])
    live, follower = yard.live(app), Follower(app, yard.registry.path)
    yard.start(2)
    live.tick()
    # Another way into production than the command, which knows of no rollouts.
    for _ in range(2):
        yard.registry.promote("churn", 3, by="anna", **APPROVED)
    follower.look()
    live.tick()
    assert app.router.choose(b"").bundle.hash == yard.bundles[2].hash
    assert (yard.last().state, yard.last().why) == ("ended", "version 3 answers in place of the stable one")
    shown = status(Rollouts(yard.rollouts), yard.last())
    assert [d["after"] for d in shown["decisions"]] == ["running", "ended"]
    app.close()


def test_a_server_of_another_version_leaves_a_rollout_to_servers_of_the_stable_one(yard, caplog):
    other, app = App(yard.bundles[2]), App(yard.bundles[0])
    beside = Live(other, yard.rollouts, str(yard.bundles[2].path))  # makes the looks, while there is no rollout
    yard.start(2)
    for _ in range(3):
        beside.tick()
    assert yard.last().state == "running"
    assert caplog.text.count("takes no part") == 1
    shown = status(Rollouts(yard.rollouts), yard.last())
    assert not shown["unwatched"]  # it has only begun
    live = yard.live(app)
    time.sleep(0.1)
    live.tick()
    assert Rollouts(yard.rollouts).count_looks(1) == 1
    app.close()
    other.close()


def test_status_says_when_nobody_makes_looks(yard, monkeypatch):
    yard.start(2)
    now = time.time()
    for later, said in ((5.0, False), (60.0, True)):
        monkeypatch.setattr("modelyard.serving.rollout.control.time.time", lambda at=now + later: at)
        shown = status(Rollouts(yard.rollouts), yard.last())
        assert shown["unwatched"] is said
        assert any("no server of the stable version" in line for line in status_lines(shown)) is said
    move(yard.rollouts, "churn", "pause", "anna")
    assert not status(Rollouts(yard.rollouts), yard.last())["unwatched"]


def test_a_name_that_no_file_can_have_is_called_unknown(yard, capsys):
    words = ["rollout", "start", "churn@1", "x" * 5_000, "--workspace", str(yard.workspace.root)]
    assert _run(words) == 1
    assert "No bundle, run or release is called" in capsys.readouterr().err
