"""`modelyard serve` with its loader, as real processes under load: whoever is killed, nothing acknowledged is lost."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress

import psutil
import pytest

from bundles import ROW, make
from modelyard.flow.loader import loading
from modelyard.serving.log import read_log
from modelyard.serving.predictions.load import Keep, load
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.record import Chosen
from prediction_logs import log_of, record
from processes import command, workers_of


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make(tmp_path_factory.mktemp("served") / "bundle")


@contextmanager
def serving(packed, yard, *words):
    """Start the command line's server; yield its process and where it listens."""
    code = "from modelyard.cli.main import main; main()"
    command = [sys.executable, "-c", code, "serve", packed, "--port", "0", "--workspace", yard, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    found = psutil.Process(process.pid)
    try:
        address = process.stdout.readline().split("http://")[1].split()[0]
        host, _, port = address.partition(":")
        yield process, (host, int(port))
    finally:
        with suppress(psutil.NoSuchProcess):
            for child in found.children(recursive=True):
                child.kill()
        process.kill()
        process.communicate()


def loader(process) -> psutil.Process | None:
    return next((p for p in psutil.Process(process.pid).children() if "modelyard.flow.loader" in command(p)), None)


def wait_for(what, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return found


def call(address, acknowledged: list[str], enough: threading.Event) -> None:
    while not enough.is_set():
        connection = http.client.HTTPConnection(*address, timeout=30)
        try:
            while not enough.is_set():
                connection.request("POST", "/v1/predict", json.dumps(ROW), {"Content-Type": "application/json"})
                acknowledged.append(json.loads(connection.getresponse().read())["id"])
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.01)
        finally:
            connection.close()


@contextmanager
def callers(address):
    acknowledged: list[str] = []
    enough = threading.Event()
    threads = [threading.Thread(target=call, args=(address, acknowledged, enough)) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def held(folder) -> list[str]:
    log = Predictions(folder)
    with closing(log.open()) as store:
        load(log, store)
        return [record.id for record in store.records(Chosen())]


def test_a_worker_the_loader_and_the_parent_may_be_killed_under_load(tmp_path, packed):
    folder = tmp_path / "yard" / "predictions"
    with serving(packed, tmp_path / "yard", "--workers", "2") as (process, address), callers(address) as acknowledged:
        first = wait_for(lambda: loader(process))
        wait_for(lambda: (folder / "store.db").exists() and len(acknowledged) > 200)
        first.kill()
        others = [p for p in psutil.Process(process.pid).children() if "spawn_main" in command(p)]
        time.sleep(1.0)
        others[0].kill()
        second = wait_for(lambda: (found := loader(process)) is not None and found.pid != first.pid and found)
        before = len(acknowledged)
        wait_for(lambda: len(acknowledged) > before + 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
        psutil.wait_procs([second, *others], timeout=60)
        assert not second.is_running()  # it saw its parent go, loaded what was there, and left
    found = held(folder)
    assert len(acknowledged) > 300
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))
    assert list(folder.glob("*.predictions")) == []


def test_a_server_that_ends_leaves_everything_in_the_store(tmp_path, packed):
    folder = tmp_path / "log"
    with serving(packed, tmp_path / "yard", "--log", str(folder)) as (process, address):
        with callers(address) as acknowledged:
            wait_for(lambda: len(acknowledged) > 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert list(folder.glob("*.predictions")) == []
    assert {record.id for record in read_log(folder)} >= set(acknowledged)
    assert workers_of(os.getpid()) == []


def test_the_log_may_be_left_in_files(tmp_path, packed):
    with serving(packed, tmp_path / "yard", "--no-load") as (process, address):
        with callers(address) as acknowledged:
            wait_for(lambda: len(acknowledged) > 5)
        assert loader(process) is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert not (tmp_path / "yard" / "predictions" / "store.db").exists()
    assert {record.id for record in read_log(tmp_path / "yard" / "predictions")} >= set(acknowledged)


def test_the_loader_loads_nothing_but_what_it_needs(tmp_path):
    code = "import sys, json, modelyard.flow.loader; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint({"numpy", "polars", "pyarrow", "onnxruntime", "fastapi", "uvicorn", "click"})


def test_a_loader_that_cannot_be_started_is_once_it_can(tmp_path, monkeypatch, caplog):
    place, _ = log_of(tmp_path / "log", record(1))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with loading(place, Keep()):
        wait_for(lambda: "loader could not be started" in caplog.text)
        monkeypatch.undo()
        wait_for(lambda: (place.folder / "store.db").exists() and not place.files())
