"""The registry's store: moves, refusals, a past nobody can change, several processes, and a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelyard.cli.main import cli, main
from modelyard.core.errors import GateFailed, ModelyardError, RegistryError, Undecided, WorkspaceError
from modelyard.flow.workspace import Workspace
from modelyard.registry.release import STAGES, Gate
from modelyard.registry.store import MOVES, Registry

GOOD = (Gate("target met", "pass", "0.83 [0.81, 0.85], n = 900"), Gate("parity", "pass", "1e-7"))
DOUBTFUL = (*GOOD, Gate("latency", "inconclusive", "nothing was measured"))
BAD = (*GOOD, Gate("no open leak", "fail", "discharge alone reaches 0.97"))
BETTER = Gate("better than production", "pass", "gain 0.02 [0.01, 0.03]")


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry.db")


def enter(registry: Registry, hash: str, gates=GOOD, name: str = "readmission"):
    bundle = registry.path.parent / hash
    bundle.mkdir(exist_ok=True)
    return registry.register(name, bundle, hash, f"run-{hash}", by="anna", gates=gates)


def to_production(registry: Registry, hash: str):
    release = enter(registry, hash)
    registry.promote(release.name, release.version, by="anna", gates=[BETTER])
    return registry.promote(release.name, release.version, by="anna", gates=[BETTER])


def told(registry: Registry) -> list[tuple]:
    return [(e.version, e.action, e.before, e.after) for e in registry.history("readmission")]


def test_versions_count_up_by_name(registry):
    assert [enter(registry, h).version for h in "abc"] == [1, 2, 3]
    assert enter(registry, "a", name="fraud").version == 1
    assert [r.version for r in registry.releases("readmission")] == [3, 2, 1]
    assert len(registry.releases()) == 4


def test_the_same_bundle_is_entered_once(registry):
    assert enter(registry, "a") == enter(registry, "a")
    assert len(registry.history("readmission")) == 1


def test_new_evidence_for_the_same_bundle_takes_the_place_of_the_old(registry):
    enter(registry, "a", DOUBTFUL)
    enter(registry, "a", GOOD)
    assert registry.promote("readmission", by="anna").stage == "staging"


def test_the_way_to_production(registry):
    release = to_production(registry, "a")
    assert release.stage == "production"
    assert registry.current("readmission") == release
    assert told(registry) == [
        (1, "register", None, "development"),
        (1, "promote", "development", "staging"),
        (1, "promote", "staging", "production"),
    ]


def test_promoting_archives_the_release_before(registry):
    to_production(registry, "a")
    to_production(registry, "b")
    assert [(r.version, r.stage) for r in registry.releases("readmission")] == [(2, "production"), (1, "archived")]
    assert told(registry)[-2:] == [(1, "archive", "production", "archived"), (2, "promote", "staging", "production")]


def test_rollback_goes_back_one_release_at_a_time(registry):
    for hash in "abc":
        to_production(registry, hash)
    assert registry.rollback("readmission", by="ben", why="recall fell").version == 2
    assert registry.rollback("readmission", by="ben").version == 1
    with pytest.raises(RegistryError, match="first release in production"):
        registry.rollback("readmission", by="ben")
    assert [r.stage for r in registry.releases("readmission")] == ["archived", "archived", "production"]
    assert registry.history("readmission", 2)[-2].note == "recall fell"


def test_rollback_never_brings_back_what_was_rolled_back_from(registry):
    for hash in "abc":
        to_production(registry, hash)
    assert registry.rollback("readmission", by="ben").version == 2
    to_production(registry, "d")
    assert registry.rollback("readmission", by="ben").version == 2  # and not 3, which was found to be bad
    assert registry.rollback("readmission", by="ben").version == 1


def test_rollback_needs_something_to_go_back_to(registry):
    enter(registry, "a")
    with pytest.raises(RegistryError, match="no release in production"):
        registry.rollback("readmission", by="ben")
    to_production(registry, "b")
    to_production(registry, "c")
    (registry.path.parent / "b").rmdir()
    with pytest.raises(RegistryError, match="is gone"):
        registry.rollback("readmission", by="ben")
    assert registry.current("readmission").hash == "c"


def test_a_failed_gate_refuses_and_the_refusal_is_kept(registry):
    enter(registry, "a", BAD)
    with pytest.raises(GateFailed, match="discharge alone") as raised:
        registry.promote("readmission", by="anna", approved_by="anna", why="we need it")
    assert raised.value.exit_code == 2
    assert registry.release("readmission").stage == "development"
    event = registry.history("readmission")[-1]
    assert (event.action, event.before, event.after) == ("refuse", "development", "staging")
    assert BAD[-1] in event.gates
    assert event.note == f"refused: {sum(g.answer != 'pass' for g in BAD)} gate"  # told once, by the gates


def test_an_inconclusive_gate_needs_a_person_with_a_reason(registry):
    enter(registry, "a", DOUBTFUL)
    for half in ({}, {"approved_by": "anna"}, {"why": "measured by hand"}):
        with pytest.raises(Undecided, match="nothing was measured") as raised:
            registry.promote("readmission", by="ben", **half)
        assert raised.value.exit_code == 3
    registry.promote("readmission", by="ben", approved_by="anna", why="measured by hand")
    event = registry.history("readmission")[-1]
    assert (event.action, event.by, event.note) == ("promote", "ben", "approved by anna: measured by hand")


def test_what_was_registered_without_evidence_is_undecided(registry):
    enter(registry, "a", ())
    with pytest.raises(Undecided, match="without a report"):
        registry.promote("readmission", by="anna")


def test_a_rival_in_production_must_be_compared_with(registry):
    to_production(registry, "a")
    enter(registry, "b")
    with pytest.raises(Undecided, match="better than production inconclusive: version 1: not compared"):
        registry.promote("readmission", 2, by="anna")
    with pytest.raises(GateFailed):
        registry.promote("readmission", 2, by="anna", gates=[Gate(BETTER.name, "fail", "gain -0.02")])
    assert registry.promote("readmission", 2, by="anna", gates=[BETTER]).stage == "staging"


def test_a_comparison_with_a_release_no_longer_in_production_is_refused(registry):
    to_production(registry, "a")
    enter(registry, "c")
    to_production(registry, "b")
    with pytest.raises(RegistryError, match="no longer version 1"):
        registry.promote("readmission", 2, by="anna", gates=[BETTER], against=1)


@pytest.mark.parametrize("to", ["production", "development"])
def test_stages_are_not_skipped(registry, to):
    enter(registry, "a")
    with pytest.raises(RegistryError, match="From development: staging, archived"):
        registry.promote("readmission", to=to, by="anna")


def test_archiving_asks_no_gate(registry):
    enter(registry, "a", BAD)
    assert registry.promote("readmission", to="archived", by="anna", why="a leak").stage == "archived"
    assert registry.history("readmission")[-1].action == "archive"


def test_unknown_names_and_versions(registry):
    with pytest.raises(RegistryError, match="registry is empty"):
        registry.release("readmission")
    enter(registry, "a")
    with pytest.raises(RegistryError, match="Did you mean 'readmission'"):
        registry.history("readmision")
    with pytest.raises(RegistryError, match=r"no version 7.*\n.*Versions: 1"):
        registry.promote("readmission", 7, by="anna")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE history SET by = 'nobody'",
        "DELETE FROM history",
        "UPDATE releases SET hash = 'other'",
        "DELETE FROM releases",
        "UPDATE releases SET stage = 'production'",
        "INSERT INTO history (at, by, name, version, action, note, gates) VALUES ('', '', 'x', 1, '', '', '')",
    ],
)
def test_the_file_itself_refuses_to_change_the_past(registry, statement):
    enter(registry, "a")
    enter(registry, "b")
    before = registry.history("readmission"), registry.releases()
    with closing(sqlite3.connect(registry.path)) as db, db:
        db.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(statement)
    db.close()
    assert (registry.history("readmission"), registry.releases()) == before


def test_a_release_is_deprecated_and_that_is_told_in_the_history(registry):
    to_production(registry, "a")
    enter(registry, "b")
    since = datetime(2027, 1, 1, tzinfo=UTC)
    said = registry.deprecate("readmission", 1, since=since, by="anna", why="version 2 comes")
    assert (said.deprecated, said.sunset) == ("2027-01-01T00:00:00Z", "2027-04-01T00:00:00Z")  # 90 days
    assert said == registry.current("readmission") == registry.holding("readmission", "a")
    assert registry.release("readmission", 2).deprecated is None
    event = registry.history("readmission", 1)[-1]
    assert (event.action, event.by, event.before, event.after) == ("deprecate", "anna", "production", "production")
    assert event.note == "deprecated from 2027-01-01T00:00:00Z, ends 2027-04-01T00:00:00Z: version 2 comes"
    later = since.astimezone(timezone(timedelta(hours=2)))
    assert registry.deprecate("readmission", 1, since=since, sunset=later, by="ben").sunset == said.deprecated
    before = registry.releases(), registry.history()
    with pytest.raises(RegistryError, match="Give a later --sunset"):
        registry.deprecate("readmission", 1, since=since, sunset=since - timedelta(days=1), by="ben")
    with pytest.raises(RegistryError, match="no version 7"):
        registry.deprecate("readmission", 7, since=since, by="ben")
    assert (registry.releases(), registry.history()) == before
    assert registry.deprecate("readmission", 1, since=None, by="ben").sunset is None
    assert registry.history("readmission", 1)[-1].note == "no longer deprecated"
    assert registry.holding("readmission", "c") is None


def test_the_command_deprecates_and_takes_it_back(tmp_path):
    yard = Workspace.open(tmp_path / "yard")
    registry = Registry(yard.registry)
    to_production(registry, "a")
    enter(registry, "b")

    def said(*words: str) -> str:
        done = CliRunner().invoke(cli, ["deprecate", *words, "--workspace", str(yard.root)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    dates = ("--since", "2027-01-01", "--sunset", "2027-06-30T12:00:00")
    told = "is deprecated from 2027-01-01T00:00:00Z and ends 2027-06-30T12:00:00Z"
    assert said("readmission", *dates) == f"readmission version 1 {told}\n"  # production's
    event = registry.history("readmission", 1)[-1]
    assert event.note.startswith("deprecated from 2027")
    assert event.by
    plain = json.loads(said("readmission@2", "--by", "ben", "--json"))
    since, sunset = (datetime.fromisoformat(plain[name]) for name in ("deprecated", "sunset"))
    assert (sunset - since, plain["version"]) == (timedelta(days=90), 2)
    assert said("readmission@1", "--undo") == "readmission version 1 is no longer deprecated\n"
    shown = CliRunner().invoke(cli, ["history", "readmission", "--workspace", str(yard.root)]).output
    assert shown.count("deprecate ") == 3
    for words in (("--undo", *dates), ("--since", "2027-01-01", "--sunset", "2026-01-01"), ("--sunset", "soon")):
        with pytest.raises(SystemExit) as raised:
            main(["deprecate", "readmission", *words, "--workspace", str(yard.root)])
        assert raised.value.code == 1
    assert registry.release("readmission", 1).sunset is None


def test_a_registry_of_the_first_format_is_read_and_then_brought_to_this_one(registry):
    release = to_production(registry, "a")
    with closing(sqlite3.connect(registry.path)) as db:
        for column in ("deprecated", "sunset"):
            db.execute(f"ALTER TABLE releases DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    assert Registry.at(registry.path).current("readmission") == release  # as a server does that only looks
    again = Registry(registry.path)
    assert again.current("readmission") == release
    assert len(again.history("readmission")) == 3
    assert again.deprecate("readmission", since=datetime(2027, 1, 1, tzinfo=UTC), by="anna").sunset
    assert Registry(registry.path).releases() == again.releases()


def test_files_that_are_no_registry(tmp_path):
    other = tmp_path / "notes.db"
    other.write_text("these are my notes, and they are longer than a header" * 30)
    with pytest.raises(RegistryError, match="not a registry"):
        Registry(other)
    assert other.read_text().startswith("these are my notes")
    newer = Registry(tmp_path / "newer.db")
    with closing(sqlite3.connect(newer.path)) as db, db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(RegistryError, match="format 99"):
        Registry(newer.path)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(WorkspaceError):
        Registry(tmp_path / "folder.db")


PROMOTE = """
import sys
from modelyard.registry.release import Gate
from modelyard.registry.store import Registry
better = Gate("better than production", "pass", "")
registry = Registry(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for version in map(int, sys.argv[2:]):
    registry.promote("readmission", version, "production", by=sys.argv[0], gates=[better])
"""


def start(*arguments: str, code: str = PROMOTE) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_promote_at_once_leave_one_in_production(registry):
    for number in range(12):
        release = enter(registry, f"{number:x}")
        registry.promote(release.name, release.version, by="anna", gates=[BETTER])
    shares = [("1", "4", "7", "10"), ("2", "5", "8", "11"), ("3", "6", "9", "12")]
    processes = [start(str(registry.path), *share) for share in shares]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] or process.returncode for process in processes] == [0, 0, 0]
    stages = [r.stage for r in registry.releases("readmission")]
    assert stages.count("production") == 1
    assert stages.count("archived") == 11
    # Each replaced the one before: the history is one chain, whatever the order was.
    moves = [e for e in registry.history("readmission") if "production" in (e.before, e.after)]
    live = None
    for event in moves:
        if event.after == "production":
            assert live is None
            live = event.version
        else:
            assert event.version == live
            live = None
    assert registry.current("readmission").version == live


def test_making_the_file_at_once_is_safe(tmp_path):
    code = (
        "import sys\nfrom modelyard.registry.store import Registry\nprint('ready', flush=True)\nsys.stdin.readline()\n"
    )
    code += "Registry(sys.argv[1]).register('a', sys.argv[1], sys.argv[2], 'run', by='x')"
    processes = [start(str(tmp_path / "new" / "registry.db"), str(i), code=code) for i in range(4)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] or process.returncode for process in processes] == [0] * 4
    assert len(Registry(tmp_path / "new" / "registry.db").releases("a")) == 4


SWING = """
import sys
from modelyard.registry.release import Gate
from modelyard.registry.store import Registry
better = Gate("better than production", "pass", "")
registry = Registry(sys.argv[1])
print("ready", flush=True)
while True:
    for version in (1, 2):
        registry.promote("readmission", version, "staging", by="x", gates=[better])
        registry.promote("readmission", version, "production", by="x", gates=[better])
"""


@pytest.mark.parametrize("after", [0.03, 0.1, 0.2, 0.35])
def test_a_killed_process_leaves_stages_and_history_in_agreement(registry, after):
    for hash in "ab":
        enter(registry, hash)
    process = start(str(registry.path), code=SWING)
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = Registry(registry.path)
    for release in again.releases("readmission"):
        moved = [e for e in again.history("readmission", release.version) if e.action != "refuse"]
        assert release.stage == moved[-1].after
        for earlier, later in pairwise(moved):
            assert later.before == earlier.after
    assert len([r for r in again.releases("readmission") if r.stage == "production"]) <= 1
    with closing(sqlite3.connect(registry.path)) as db, db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    enter(again, "c")


class Moves(RuleBasedStateMachine):
    """Whatever is asked of a registry, in any order, what must always hold holds."""

    @initialize(folder=st.uuids())
    def begin(self, folder):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.registry = Registry(Path(self.folder.name) / "registry.db")
        self.events = 0

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(hash=st.sampled_from("abcd"), gates=st.sampled_from([GOOD, DOUBTFUL, BAD]))
    def register(self, hash, gates):
        enter(self.registry, hash, gates)

    @rule(version=st.integers(1, 4), to=st.sampled_from([None, *STAGES]), approve=st.booleans())
    def promote(self, version, to, approve):
        person = {"approved_by": "anna", "why": "seen"} if approve else {}
        try:
            before = self.registry.release("readmission", version)
            moved = self.registry.promote("readmission", version, to, by="ben", gates=[BETTER], **person)
        except ModelyardError:
            return
        assert moved.stage in MOVES[before.stage]

    @rule()
    def rollback(self):
        try:
            former = self.registry.current("readmission")
            back = self.registry.rollback("readmission", by="ben")
        except ModelyardError:
            return
        assert back.stage == "production"
        assert back.version != former.version
        assert self.registry.release("readmission", former.version).stage == "archived"

    @invariant()
    def stages_follow_from_history(self):
        if not hasattr(self, "registry"):
            return
        releases = self.registry.releases("readmission")
        history = self.registry.history()
        assert len([r for r in releases if r.stage == "production"]) <= 1
        assert [r.version for r in releases] == list(range(len(releases), 0, -1))
        for release in releases:
            moved = [e for e in history if e.version == release.version and e.action != "refuse"]
            assert moved[-1].after == release.stage
        assert len(history) >= self.events
        self.events = len(history)


Moves.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
test_whatever_is_asked = Moves.TestCase
