"""A running server under load, while workers are killed, releases change and callers misbehave."""

from __future__ import annotations

import http.client
import json
import re
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broken_graphs import answers_nan, broken, raises
from bundles import PLAIN, make, make_plain
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import with_file
from modelyard.core.errors import ServingError
from modelyard.flow.releases import promote_release, roll_back
from modelyard.flow.workspace import Workspace
from modelyard.registry.store import Registry
from modelyard.serving.app import App
from modelyard.serving.copies import copies_for
from modelyard.serving.follow import Follower, follow
from modelyard.serving.listen import listen_unix
from modelyard.serving.log import read_log
from modelyard.serving.rollout.control import FOLDER, move, start
from modelyard.serving.rollout.live import Live
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.serve import serve
from modelyard.serving.terms import Terms
from processes import workers_of
from serving_client import Client

APPROVED = {"approved_by": "tests", "why": "tests"}
PROGRAM = """
import json, sys
from pathlib import Path
from modelyard.serving.serve import serve
from modelyard.serving.terms import Terms
if __name__ == "__main__":
    path, log, workers, terms, more = json.loads(sys.argv[1])
    terms = {k: Path(v) if k == "registry" else v for k, v in terms.items()}
    more = {k: Path(v) if k in ("uds", "certificate", "key") else v for k, v in more.items()}
    serve(path, port=0, log=log and Path(log), workers=workers, drain=0.0, terms=Terms(**terms),
          started=lambda a: print(a, flush=True), **more)
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make_plain(tmp_path_factory.mktemp("served") / "bundle")


@contextmanager
def server(folder: Path, packed: Path, *, log: Path | None = None, workers: int = 1, terms=None, first="", **more):
    """Start a server, after what is to come first; yield its process and its port, or the path of its socket."""
    script = folder / "start.py"
    script.write_text(first + PROGRAM)
    given = {k: str(v) if k == "registry" else v for k, v in (terms or {}).items()}
    words = json.dumps([str(packed), log and str(log), workers, given, {k: str(v) for k, v in more.items()}])
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen([sys.executable, script, words], stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        address = process.stdout.readline().strip()
        yield process, int(address.rpartition(":")[2]) if address.startswith("http") else address
    finally:
        process.kill()
        process.communicate()


@dataclass
class Load:
    """Callers that ask one after the other until told to stop; a connection that breaks is opened again."""

    port: int
    callers: int = 4
    answers: list[dict] = field(default_factory=list)
    problems: list[tuple[int, bytes]] = field(default_factory=list)
    broken: int = 0
    stop: bool = False

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._call) for _ in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop = True
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps(PLAIN)
        while not self.stop:
            try:
                connection.request("POST", "/v1/predict", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                self.broken += 1
                connection.close()
                continue
            if response.status == 200:
                self.answers.append(json.loads(content))
            else:
                self.problems.append((response.status, content))
        connection.close()

    def reach(self, count: int) -> None:
        """Wait until so many more were answered."""
        end = time.monotonic() + 60
        least = len(self.answers) + count
        while len(self.answers) < least:
            assert time.monotonic() < end, f"{len(self.answers)} answers, {self.problems[:3]}"
            time.sleep(0.02)


def get(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def until(holds, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_worker_is_replaced_and_loses_nothing_it_told(tmp_path, packed):
    with server(tmp_path, packed, log=tmp_path / "log", workers=2) as (process, port):
        assert get(port, "/health/ready")[0] == 200
        until(lambda: len(workers_of(process.pid)) == 2)
        with Load(port) as load:
            load.reach(100)
            for _ in range(2):
                victim = workers_of(process.pid)[0]
                victim.send_signal(signal.SIGKILL)
                load.reach(100)
                until(lambda gone=victim.pid: len([p for p in workers_of(process.pid) if p.pid != gone]) == 2)
        # Whoever was connected to the killed worker lost at most the request it had under way.
        assert load.problems == []
        assert load.broken <= 2 * load.callers + 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    told = {answer["id"] for answer in load.answers}
    assert len(told) == len(load.answers)
    assert told <= {record.id for record in read_log(tmp_path / "log")}


def test_a_worker_that_cannot_be_replaced_leaves_the_others_to_answer(tmp_path, packed):
    folder = tmp_path / "log"
    well = "from modelyard.serving import workers\nworkers._TOO_SOON = 0.5\n"
    with server(tmp_path, packed, log=folder, workers=2, first=well) as (process, port):
        assert get(port, "/health/ready")[0] == 200
        until(lambda: len(workers_of(process.pid)) == 2)
        time.sleep(1.0)
        with Load(port, 2) as load:
            load.reach(20)
            folder.rename(tmp_path / "away")
            folder.write_text("no folder")  # nobody who starts can write a log
            workers_of(process.pid)[0].kill()
            until(lambda: (tmp_path / "said").read_text().count("ended with code 1;") >= 2)
            load.reach(20)
            for worker in workers_of(process.pid):
                worker.kill()
            until(lambda: (tmp_path / "said").read_text().count("ended with code 1;") >= 4)
            folder.unlink()
            (tmp_path / "away").rename(folder)
            until(lambda: len(workers_of(process.pid)) == 2)
            load.reach(20)
        assert (load.problems, process.poll()) == ([], None)
    said = (tmp_path / "said").read_text()
    assert "The prediction log cannot be written" in said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="another process is limited by prlimit")
def test_a_worker_the_system_has_no_room_for_leaves_the_others_to_answer(tmp_path, packed):
    well = "from modelyard.serving import workers\nworkers._TOO_SOON = 0.5\n"
    with server(tmp_path, packed, workers=2, first=well) as (process, port):
        assert get(port, "/health/ready")[0] == 200
        until(lambda: len(workers_of(process.pid)) == 2)
        time.sleep(1.0)
        files, most = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (4, most))
        with Load(port, 1) as load:
            workers_of(process.pid)[0].kill()
            until(lambda: "a worker cannot be started" in (tmp_path / "said").read_text())
            load.reach(20)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (files, most))
            until(lambda: len(workers_of(process.pid)) == 2)
            load.reach(20)
        assert (load.problems, process.poll()) == ([], None)


def test_ctrl_c_ends_every_process_without_a_trace(tmp_path, packed):
    met = set()

    def both_answered() -> bool:
        met.add(json.loads(get(port, "/v1/predict", "POST", json.dumps(PLAIN).encode())[2])["id"].partition("-")[0])
        return len(met) == 2

    with server(tmp_path, packed, workers=2) as (process, port):
        until(both_answered)
        for one in [*workers_of(process.pid), process]:  # as a terminal does
            one.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "said").read_text() == ""


@pytest.fixture
def registry(tmp_path):
    """Return a registry with two bundles of a name, the first in production."""
    store = Registry(tmp_path / "registry.db")
    folders = [make_plain(tmp_path / f"bundle-{seed}", seed=seed) for seed in (3, 4)]
    for number, folder in enumerate(folders, 1):
        store.register("churn", folder, load_bundle(folder).hash, f"run-{number}", by="tests")
    promote(store, 1)
    return store, folders


def promote(store: Registry, version: int) -> None:
    for _ in range(2):
        store.promote("churn", version, by="tests", **APPROVED)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_release_is_taken_up_under_load(tmp_path, registry, workers):
    store, folders = registry
    bundles = {bundle.hash[:12]: bundle for bundle in map(load_bundle, folders)}
    first, second = bundles
    terms = {"registry": store.path, "release": "1"}

    def flips() -> float:
        found = re.search(r'flips_total\{.*result="done"\} (\S+)', get(port, "/metrics")[2].decode())
        return float(found[1]) if found else 0.0

    with server(tmp_path, folders[0], log=tmp_path / "log", workers=workers, terms=terms) as (_, port):
        assert get(port, "/health/ready")[0] == 200
        with Load(port) as load:
            load.reach(100)
            promote(store, 2)
            until(lambda: flips() == workers)
            until(lambda: {a["bundle"] for a in load.answers[-40:]} == {second})
            load.reach(50)
            store.rollback("churn", by="tests", why="tests")
            until(lambda: flips() == 2 * workers)
            until(lambda: {a["bundle"] for a in load.answers[-40:]} == {first})
    assert (load.problems, load.broken) == ([], 0)
    expected = {short: bundle.predict_proba(PLAIN)[1] for short, bundle in bundles.items()}
    assert expected[first] != pytest.approx(expected[second])
    for answer in load.answers:
        assert answer["probabilities"]["1"] == pytest.approx(expected[answer["bundle"]], abs=1e-6)
        assert answer["served_by"] == "model"
    assert {record.version for record in read_log(tmp_path / "log")} == {"1", "2"}


@pytest.mark.parametrize("back", [False, True], ids=["taken", "rolled back"])
def test_workers_that_start_while_the_registry_is_gone_answer_with_what_those_before_them_did(tmp_path, registry, back):
    store, folders = registry

    def flips() -> list[str]:
        return re.findall(r"version (\d) answers from now on", (tmp_path / "said").read_text())

    with server(tmp_path, folders[0], workers=2, terms={"registry": store.path, "release": "1"}) as (process, port):
        assert get(port, "/health/ready")[0] == 200
        until(lambda: len(workers_of(process.pid)) == 2)
        promote(store, 2)
        until(lambda: flips() == ["2"] * 2)
        if back:
            store.rollback("churn", by="tests", why="tests")
            until(lambda: flips() == ["2", "2", "1", "1"])
        store.path.rename(tmp_path / "away.db")
        first = workers_of(process.pid)
        for worker in first:
            worker.kill()
        with Load(port, 1) as load:
            until(lambda: len(load.answers) > 20)
        assert not {worker.pid for worker in first} & {worker.pid for worker in workers_of(process.pid)}
    assert {a["bundle"] for a in load.answers} == {load_bundle(folders[0 if back else 1]).hash[:12]}


def test_a_worker_that_starts_later_answers_with_what_is_in_production(tmp_path, registry):
    store, folders = registry
    promote(store, 2)
    with server(tmp_path, folders[0], terms={"registry": store.path, "release": "1"}) as (_, port):
        answer = json.loads(get(port, "/v1/predict", "POST", json.dumps(PLAIN).encode())[2])
    assert answer["bundle"] == load_bundle(folders[1]).hash[:12]


def test_what_was_in_production_before_stands_in_from_the_start(tmp_path, registry, caplog):
    store, folders = registry
    first, second = map(load_bundle, folders)
    promote(store, 2)

    def broken_since(bundle) -> tuple[str, str]:
        """Start a server, have its model fail, and return what answers, and with what."""
        app = App(bundle)
        follow(app, store.path)
        client = Client(app)
        bundle.runtime.run._run = raises
        answer = client.post("/v1/predict", new).json()
        follower = app.background[-1].__self__
        held.append(None if follower._before is None else follower._before.bundle.hash)
        return answer.get("served_by"), answer.get("prediction")

    def raises(names, inputs, options=None):
        raise RuntimeError("the graph broke")

    held, new = [], {**PLAIN, "age": 77}
    assert broken_since(load_bundle(folders[1])) == ("previous", first.predict(new))
    assert held == [first.hash]
    (folders[0] / "model.onnx").write_bytes(b"damaged")
    assert broken_since(load_bundle(folders[1]))[0] is None
    assert held == [first.hash, None]
    assert "the version before does not stand in" in caplog.text
    store.rollback("churn", by="tests", why="tests")
    other = Follower(App(second), store.path)
    other.recall()  # of what is not in production nothing is before
    assert other._before is None


def replace_workers(pid: int) -> None:
    """Kill a server's two workers, one after the other, each once the last killed one's place is taken."""
    for victim in workers_of(pid):
        victim.send_signal(signal.SIGKILL)
        until(lambda gone=victim.pid: len([p for p in workers_of(pid) if p.pid != gone]) == 2)


@pytest.mark.parametrize("followed", [True, False])
def test_a_worker_is_replaced_though_its_bundle_s_folder_is_gone(tmp_path, registry, monkeypatch, followed):
    store, folders = registry
    answering = load_bundle(folders[followed]).hash[:12]
    terms = {"registry": store.path, "release": "1"} if followed else {}
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with server(tmp_path, folders[0], workers=2, terms=terms) as (process, port):
        assert list((tmp_path / "tmp").glob("modelyard-served-*"))
        if followed:
            promote(store, 2)
            until(lambda: b'result="done"} 2.0' in get(port, "/metrics")[2])
        until(lambda: len(workers_of(process.pid)) == 2)
        for folder in folders:
            shutil.rmtree(folder)
        replace_workers(process.pid)
        with Load(port) as load:
            load.reach(200)
        assert {(a["bundle"], a["served_by"]) for a in load.answers} == {(answering, "model")}
        assert (load.problems, load.broken) == ([], 0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert not list((tmp_path / "tmp").glob("modelyard-served-*"))


def test_copies_are_those_of_what_is_served_and_made_once(tmp_path, registry, caplog):
    store, folders = registry
    hashes = [load_bundle(folder).hash for folder in folders]
    for seed in (5, 6):
        folders.append(make_plain(tmp_path / f"bundle-{seed}", seed=seed))
        hashes.append(load_bundle(folders[-1]).hash)
        store.register("churn", folders[-1], hashes[-1], f"run-{seed}", by="tests")
    with copies_for(2) as copies:
        app = App(copies.load(folders[0]))
        follower = Follower(app, store.path, copies=copies)
        for version in (2, 3, 4):
            promote(store, version)
            follower.look()
        there = {path.name for path in copies.folder.iterdir() if path.is_dir()}
        assert there == set(hashes[2:])  # what is served, and what it may go back to: workers start with these
        shutil.rmtree(folders[2])
        inode = (copies.folder / hashes[2]).stat().st_ino
        assert copies.load(folders[2], hashes[2]).hash == hashes[2]
        assert copies.place(folders[2], hashes[2]).stat().st_ino == inode
        shutil.rmtree(copies.folder)  # nothing can be copied there
        assert copies.load(folders[3]).path == folders[3]
        assert "without a copy" in caplog.text
    with copies_for(1) as none:
        assert none.load(folders[3]).path == folders[3]


def test_a_candidate_whose_folder_is_gone_is_loaded_by_a_worker_that_starts_later(tmp_path, registry):
    _, folders = registry
    first, second = map(load_bundle, folders)
    rollouts = tmp_path / FOLDER
    start(rollouts, Plan(), (str(folders[0]), first), str(folders[1]), "tests", **APPROVED)
    with copies_for(2) as copies:
        Live(App(first), rollouts, str(folders[0]), copies)
        shutil.rmtree(folders[1])
        move(rollouts, "churn", "promote", "tests")
        late = App(first)
        Live(late, rollouts, str(folders[0]), copies)
        assert late.router.choose(b"").bundle.hash == second.hash


def test_a_damaged_bundle_and_a_lost_registry_change_nothing(tmp_path, registry):
    store, folders = registry
    graph = folders[1] / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-20] + b"x" * 20)
    terms = {"registry": store.path, "release": "1"}
    with server(tmp_path, folders[0], terms=terms) as (_, port):
        assert get(port, "/health/ready")[0] == 200
        with Load(port, 2) as load:
            promote(store, 2)
            until(lambda: b'result="refused"} 1.0' in get(port, "/metrics")[2])
            store.path.rename(tmp_path / "away.db")
            until(lambda: b'result="unreachable"}' in get(port, "/metrics")[2])
            assert not store.path.exists()
            load.reach(20)
        said = (tmp_path / "said").read_text()
    assert (load.problems, load.broken) == ([], 0)
    assert {a["bundle"] for a in load.answers} == {load_bundle(folders[0]).hash[:12]}
    assert said.count("version 2 is refused") == 1
    assert "model.onnx" in said


@pytest.mark.parametrize("workers", [1, 2])
def test_callers_are_told_that_a_release_ends_without_a_restart(tmp_path, registry, workers):
    store, folders = registry

    def told(path: str = "/v1/predict") -> tuple[str | None, str | None]:
        headers = get(port, path, "POST", json.dumps(PLAIN).encode())[1]
        return headers.get("deprecation"), headers.get("sunset")

    def every_worker_tells(*said: str | None) -> None:
        until(lambda: {told() for _ in range(8 * workers)} == {said})

    begins = datetime(2027, 1, 1, tzinfo=UTC)
    with server(tmp_path, folders[0], workers=workers, terms={"registry": store.path, "release": "1"}) as (_, port):
        every_worker_tells(None, None)
        store.deprecate("churn", 1, since=begins, by="tests")
        every_worker_tells("@1798761600", "Thu, 01 Apr 2027 00:00:00 GMT")
        assert told("/invocations") == told()
        promote(store, 2)
        every_worker_tells(None, None)  # another version answers
        store.rollback("churn", by="tests")
        every_worker_tells("@1798761600", "Thu, 01 Apr 2027 00:00:00 GMT")
        store.deprecate("churn", 1, since=begins, sunset=datetime(2027, 2, 1, tzinfo=UTC), by="tests")
        every_worker_tells("@1798761600", "Mon, 01 Feb 2027 00:00:00 GMT")
        store.deprecate("churn", 1, since=None, by="tests")
        every_worker_tells(None, None)


def test_what_the_command_line_says_of_the_end_goes_before_the_registry(registry):
    store, folders = registry
    begins = datetime(2027, 1, 1, tzinfo=UTC)
    store.deprecate("churn", 1, since=begins, by="tests")
    apps = [App(load_bundle(folders[0]), terms=terms) for terms in (Terms(), Terms(sunset=begins))]
    for app in apps:
        Follower(app, store.path).look()
    said = [dict(app._notice) for app in apps]
    assert [b"deprecation" in one for one in said] == [True, False]
    assert said[1][b"sunset"] == b"Fri, 01 Jan 2027 00:00:00 GMT"


def test_a_server_of_one_version_tells_of_its_end_and_takes_up_no_other(tmp_path, registry):
    store, folders = registry
    yard = Workspace.open(tmp_path / "yard")
    shutil.copy(store.path, yard.registry)
    store = Registry(yard.registry)
    code = "from modelyard.cli.main import main; main()"
    words = ["serve", "churn@1", "--port", "0", "--workspace", yard.root, "--no-log"]
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(re.search(r":(\d+) ", process.stdout.readline())[1])
            promote(store, 2)
            store.deprecate("churn", 1, since=datetime(2027, 1, 1, tzinfo=UTC), by="tests")
            until(lambda: "deprecation" in get(port, "/v1/predict", "POST", json.dumps(PLAIN).encode())[1])
            answer = json.loads(get(port, "/v1/predict", "POST", json.dumps(PLAIN).encode())[2])
            assert answer["bundle"] == load_bundle(folders[0]).hash[:12]
            assert get(port, "/v2/models/churn/versions/1")[0] == 200
        finally:
            process.terminate()


def test_a_registry_of_a_later_format_does_not_end_following(registry, caplog):
    store, folders = registry
    app = App(load_bundle(folders[0]))
    follower = Follower(app, store.path)
    promote(store, 2)
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("ALTER TABLE releases ADD COLUMN later TEXT")
        follower.look()
        assert "the registry cannot be read" in caplog.text
        db.execute("ALTER TABLE releases DROP COLUMN later")
    follower.look()
    assert app.bundle.hash == load_bundle(folders[1]).hash


def test_a_rollback_is_obeyed_though_it_takes_a_column_away(tmp_path):
    store = Registry(tmp_path / "registry.db")
    folders = [make_plain(tmp_path / "without"), make(tmp_path / "with-joined")]
    first, second = map(load_bundle, folders)
    for bundle in (first, second):
        store.register("churn", bundle.path, bundle.hash, "run", by="tests")
        promote(store, 1 if bundle is first else 2)
    app = App(second)  # a server that was started after the second release, and never held the first
    Follower(app, store.path).look()
    assert app.bundle.hash == second.hash
    store.rollback("churn", by="tests", why="tests")
    # What was written down of it since changes nothing about that.
    store.deprecate("churn", 1, since=datetime(2027, 1, 1, tzinfo=UTC), by="tests")
    Follower(app, store.path).look()
    assert app.bundle.hash == first.hash


@pytest.mark.parametrize("how", ["roll back", "promote"])
def test_what_the_registry_puts_back_answers_though_a_rollout_had_promoted_the_other(tmp_path, monkeypatch, how):
    monkeypatch.setattr("modelyard.flow.releases._mirror", lambda yard, release: "")
    yard = Workspace.open(tmp_path / "yard")
    store = Registry(yard.registry)
    first, second = (load_bundle(make_plain(yard.root / f"bundle-{seed}", seed=seed)) for seed in (3, 4))
    for bundle in (first, second):
        store.register("churn", bundle.path, bundle.hash, "run", by="tests")
    promote(store, 1)
    app = App(first)
    live = Live(app, yard.root / FOLDER, str(first.path))
    follower = Follower(app, store.path)

    def answers() -> str:
        live.tick()
        follower.look()
        live.tick()
        return app.router.choose(b"").bundle.hash

    start(yard.root / FOLDER, Plan(), (str(first.path), first), str(second.path), "tests", **APPROVED)
    move(yard.root / FOLDER, "churn", "promote", "tests")
    assert answers() == second.hash  # the registry has not been told, and does not take it back
    promote(store, 2)
    assert answers() == second.hash
    if how == "roll back":
        roll_back(yard, "churn", by="tests")
    else:
        for _ in range(2):
            promote_release(yard, store.release("churn", 1), None, by="tests", **APPROVED)
    assert answers() == first.hash


def test_a_release_that_breaks_callers_is_refused(tmp_path):
    store = Registry(tmp_path / "registry.db")
    first, second = load_bundle(make(tmp_path / "with-joined")), load_bundle(make_plain(tmp_path / "without"))
    for version, bundle in enumerate((first, second), 1):
        store.register("churn", bundle.path, bundle.hash, "run", by="tests")
        promote(store, version)
    app = App(first)
    Follower(app, store.path).look()
    assert app.bundle.hash == first.hash
    assert b'flips_total{model="churn",result="refused"} 1.0' in app.metrics.text()


@pytest.mark.parametrize("how", [raises, answers_nan])
def test_a_release_whose_model_answers_nothing_is_refused(tmp_path, registry, how):
    store, folders = registry
    content = broken((folders[1] / "model.onnx").read_bytes(), how)
    dead = load_bundle(with_file(folders[1], "model.onnx", content, tmp_path / "dead"))
    store.register("churn", dead.path, dead.hash, "run-3", by="tests")
    promote(store, 3)
    app = App(load_bundle(folders[0]))
    Follower(app, store.path).look()
    assert app.bundle.hash == load_bundle(folders[0]).hash
    assert b'flips_total{model="churn",result="refused"} 1.0' in app.metrics.text()


def test_a_registry_that_may_not_be_looked_at_for_a_while_is_looked_at_again(tmp_path, registry, monkeypatch):
    store, folders = registry
    app = App(load_bundle(folders[0]))
    follower = Follower(app, store.path)
    promote(store, 2)

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "is_file", refuse)
        follower.look()
    assert app.bundle.hash == load_bundle(folders[0]).hash
    follower.look()
    assert app.bundle.hash == load_bundle(folders[1]).hash


def head(length: int) -> bytes:
    lines = ["POST /v1/predict HTTP/1.1", "Host: m", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def ask(caller: socket.socket, body: bytes) -> bytes:
    """Send a request over a connection that stays open; return the answer."""
    caller.sendall(head(len(body)) + body)
    return answer(caller)


def answer(caller: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said or len(said.partition(b"\r\n\r\n")[2]) < length_of(said):
        part = caller.recv(65_536)
        if not part:
            break
        said += part
    return said


def length_of(said: bytes) -> int:
    return int(re.search(rb"content-length: (\d+)", said)[1])


def test_slow_callers_are_let_go_and_the_others_answered(tmp_path, packed):
    terms = {"head_seconds": 1.0, "body_seconds": 1.0}
    body = json.dumps(PLAIN).encode()
    with server(tmp_path, packed, terms=terms) as (_, port):
        assert get(port, "/health/ready")[0] == 200
        address = ("127.0.0.1", port)
        mute = [socket.create_connection(address) for _ in range(20)]
        heads = [socket.create_connection(address) for _ in range(20)]
        bodies = [socket.create_connection(address) for _ in range(20)]
        for one in heads:
            one.sendall(head(len(body))[:30])
        for number, one in enumerate(bodies):
            one.sendall(head(len(body)) + body[: 5 * (number % 2)])
        with Load(port, 2) as load:
            load.reach(50)
            for one in [*mute, *heads]:
                one.settimeout(20)
                assert one.recv(100) == b""
            for one in bodies:
                one.settimeout(20)
                said = answer(one)
                assert said.startswith(b"HTTP/1.1 408")
                assert b"application/problem+json" in said
        for one in [*mute, *heads, *bodies]:
            one.close()
        # A caller that stays for long, and is quick each time, is never let go.
        with socket.create_connection(address) as kept:
            for _ in range(4):
                assert ask(kept, body).startswith(b"HTTP/1.1 200")
                time.sleep(0.9)
    assert (load.problems, load.broken) == ([], 0)


def test_oversized_and_malformed_bodies_harm_nobody(tmp_path, packed):
    with server(tmp_path, packed, terms={"body_limit": 10_000}) as (process, port):
        assert get(port, "/health/ready")[0] == 200
        with Load(port, 2) as load:
            for body in (b"x" * 20_000, b'{"age": "' + b"9" * 20_000 + b'"}'):
                status, headers, _ = get(port, "/v1/predict", "POST", body)
                assert (status, headers["connection"]) == (413, "close")
            for number in range(300):
                bad = (b"", b"{", b"[]", b"\xff" * 50, b'{"age": NaN}', b"[" * 5_000, b'{"age": 1e999}')[number % 7]
                assert get(port, "/v1/predict", "POST", bad)[0] == 400
            load.reach(20)
        assert process.poll() is None
    assert (load.problems, load.broken) == ([], 0)


def test_over_the_number_in_flight_callers_are_asked_to_come_back(tmp_path, packed):
    body = json.dumps(PLAIN).encode()
    with server(tmp_path, packed, terms={"in_flight": 3}) as (_, port):
        assert get(port, "/health/ready")[0] == 200
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        for one in waiting:
            one.sendall(head(len(body)))
        until(lambda: b'http_server_active_requests{model="churn"} 3.0' in get(port, "/metrics")[2])
        status, headers, said = get(port, "/v1/predict", "POST", body)
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(said)["title"] == "Service Unavailable"
        assert get(port, "/health/live")[0] == 200
        for one in waiting:
            one.sendall(body)
            assert one.recv(2_000).startswith(b"HTTP/1.1 200")
            one.close()
        assert get(port, "/v1/predict", "POST", body)[0] == 200


def test_head_and_options(tmp_path, packed):
    with server(tmp_path, packed) as (_, port):
        assert get(port, "/health/ready", "HEAD")[0::2] == (200, b"")
        status, headers, body = get(port, "/v1/predict", "OPTIONS")
        assert (status, headers["allow"], body) == (204, "POST, OPTIONS", b"")
        assert get(port, "/metrics", "OPTIONS")[1]["allow"] == "GET, HEAD, OPTIONS"
        assert get(port, "/v1/predict", "HEAD")[0] == 405


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unix_socket(tmp_path, packed, workers):
    path = tmp_path / "m.sock"
    stale = listen_unix(path)
    with pytest.raises(ServingError, match="cannot listen"):
        listen_unix(path)
    stale.close()  # left behind, as by a killed server
    body = json.dumps(PLAIN).encode()
    with server(tmp_path, packed, workers=workers, uds=path) as (process, address):
        assert address == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            assert ask(caller, body).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert not path.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_tls(tmp_path, packed, workers):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    with pytest.raises(ServingError, match="certificate and its key"):
        serve(packed, port=0, certificate=key)
    with pytest.raises(ServingError, match="needs its certificate"):
        serve(packed, port=0, key=key)
    with server(tmp_path, packed, workers=workers, certificate=certificate, key=key) as (_, port):
        with socket.create_connection(("localhost", port), timeout=30) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert plain.recv(1) == b""  # who speaks no TLS is turned away, and harms nobody
        trust = ssl.create_default_context(cafile=certificate)
        caller = http.client.HTTPSConnection("localhost", port, timeout=30, context=trust)
        caller.request("POST", "/v1/predict", json.dumps(PLAIN), {"Content-Type": "application/json"})
        assert caller.getresponse().status == 200
        caller.close()


def test_terms_nobody_could_be_served_on():
    for terms in ({"in_flight": 0}, {"body_limit": 0}, {"body_limit": 2**30}, {"body_seconds": 0.0}):
        with pytest.raises(ServingError):
            Terms(**terms)
