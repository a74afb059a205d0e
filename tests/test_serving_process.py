"""Real server processes: what is promised holds when they are killed, stopped, squeezed and shared."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from broken_graphs import broken, raises
from bundles import ROW, make
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import with_file
from modelyard.core.errors import BundleError, ServingError
from modelyard.serving.capacity import BODIES, capacity
from modelyard.serving.log import read_log
from modelyard.serving.serve import serve
from modelyard.serving.terms import BODY_LIMIT
from processes import workers_of

PROGRAM = """
import json, resource, sys
from pathlib import Path
from modelyard.serving.serve import serve
from modelyard.serving.terms import BODY_LIMIT
if __name__ == "__main__":
    path, log, workers, drain, most = json.loads(sys.argv[1])
    if most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    serve(path, port=0, log=log and Path(log), workers=workers, drain=drain, started=lambda a: print(a, flush=True))
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return make(tmp_path_factory.mktemp("served") / "bundle")


@contextmanager
def server(folder: Path, packed: Path, *, log: Path | None = None, workers: int = 1, drain: float = 0.0, most: int = 0):
    """Start a server on a free port; yield its process and where it listens."""
    script = folder / "start.py"
    script.write_text(PROGRAM)
    words = json.dumps([str(packed), log and str(log), workers, drain, most])
    process = subprocess.Popen([sys.executable, script, words], stdout=subprocess.PIPE, text=True)
    try:
        host, _, port = process.stdout.readline().strip().removeprefix("http://").partition(":")
        yield process, (host, int(port))
    finally:
        process.kill()
        process.communicate()


def peak_of(process: subprocess.Popen) -> float:
    """Return the most memory a process has had, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024


def ask(address, body=ROW, path="/v1/predict") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_kill_9_loses_no_acknowledged_prediction(tmp_path, packed):
    acknowledged: list[str] = []

    def call(address) -> None:
        connection = http.client.HTTPConnection(*address, timeout=30)
        try:
            while True:
                connection.request("POST", "/v1/predict", json.dumps(ROW), {"Content-Type": "application/json"})
                acknowledged.append(json.loads(connection.getresponse().read())["id"])
        except (OSError, http.client.HTTPException, ValueError):
            return
        finally:
            connection.close()

    with server(tmp_path, packed, log=tmp_path / "log") as (process, address):
        assert ask(address, None, "/health/ready")[0] == 200
        callers = [threading.Thread(target=call, args=(address,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        while len(acknowledged) < 200:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for caller in callers:
            caller.join()
    held = {record.id for record in read_log(tmp_path / "log")}
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= held
    assert len(held) <= len(acknowledged) + len(callers)


def test_sigterm_turns_ready_off_first_and_finishes_what_is_in_flight(tmp_path, packed):
    with server(tmp_path, packed, log=tmp_path / "log", drain=1.0) as (process, address):
        assert ask(address, None, "/health/ready")[0] == 200
        # A request whose body is not there yet.
        slow = socket.create_connection(address)
        body = json.dumps(ROW).encode()
        head = [
            "POST /v1/predict HTTP/1.1",
            "Host: m",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        slow.sendall("\r\n".join([*head, "", ""]).encode() + body[:5])
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert ask(address, None, "/health/ready")[0] == 503
        assert ask(address, None, "/health/live")[0] == 200
        assert ask(address)[0] == 200
        time.sleep(1.2)
        with pytest.raises(OSError):  # noqa: PT011  # any refusal
            ask(address)
        slow.sendall(body[5:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        slow.close()
        assert process.wait(timeout=20) == 0
    assert len(list(read_log(tmp_path / "log"))) == 2


def test_a_full_disk_drops_records_and_predictions_go_on(tmp_path, packed):
    with server(tmp_path, packed, log=tmp_path / "log", most=2_000) as (_, address):
        answers = [ask(address) for _ in range(20)]
        metrics = ask(address, None, "/metrics")[1].decode()
    assert {status for status, _ in answers} == {200}
    held = list(read_log(tmp_path / "log"))
    assert 0 < len(held) < 20
    dropped = next(line for line in metrics.splitlines() if line.startswith("modelyard_prediction_log_failures_total"))
    assert float(dropped.rsplit(" ", 1)[1]) == 20 - len(held)


def test_workers_share_the_address_and_the_counters(tmp_path, packed):
    before = psutil.Process().children(recursive=True)  # of other tests
    with server(tmp_path, packed, log=tmp_path / "log", workers=2) as (process, address):
        for _ in range(40):
            assert ask(address)[0] == 200
        metrics = ask(address, None, "/metrics")[1].decode()
        counted = next(line for line in metrics.splitlines() if line.startswith("modelyard_predictions_total"))
        assert float(counted.rsplit(" ", 1)[1]) == 40
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert len(list(read_log(tmp_path / "log"))) == 40
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_workers_share_connections_that_come_together(tmp_path, packed):
    with server(tmp_path, packed, workers=2) as (process, address):

        def held() -> list[int]:
            """Return how many connections each worker has."""
            found = [worker.net_connections() for worker in workers_of(process.pid)]
            return [sum(one.status == "ESTABLISHED" and one.laddr[1] == address[1] for one in each) for each in found]

        with ExitStack() as opened:
            end = time.monotonic() + 30
            while min(held(), default=0) == 0:  # the first that is there has them until the second is
                assert time.monotonic() < end
                opened.enter_context(socket.create_connection(address))
                time.sleep(0.1)
            for _ in range(32):
                opened.enter_context(socket.create_connection(address))
            time.sleep(0.5)
            one, other = held()
    assert one + other >= 33
    assert abs(one - other) <= 8


def test_workers_end_with_a_killed_parent_and_leave_nothing(tmp_path, packed, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with server(tmp_path, packed, workers=2) as (process, address):
        assert ask(address)[0] == 200
        workers = workers_of(process.pid)
        maps = {Path(held.path).parent for worker in workers for held in worker.memory_maps()}
        (counters,) = [folder for folder in maps if folder.name.startswith("modelyard-metrics-")]
        assert os.access("/dev/shm", os.W_OK) == (counters.parent == Path("/dev/shm"))  # whatever disk is full
        assert list(scratch.glob("modelyard-served-*/*"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=20)
    assert len(workers) == 2
    assert alive == []
    assert not counters.exists()
    assert list(scratch.iterdir()) == []


def test_memory_asked_for_holds_a_real_server(tmp_path, packed):
    with server(tmp_path, packed, log=tmp_path / "log") as (process, address):
        for _ in range(50):
            ask(address)
        resident = psutil.Process(process.pid).memory_info().rss / 2**20
    assert resident < capacity(load_bundle(packed), 100.0).mebibytes


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("row", [ROW, {}, 0], ids=["rows", "empty rows", "no rows"])
def test_memory_asked_for_holds_sixteen_large_bodies_at_once(tmp_path, packed, row):
    rows = [row] * (900_000 // (len(json.dumps(row)) + 2))
    statuses: list[int] = []
    with server(tmp_path, packed, log=tmp_path / "log") as (process, address):
        calls = [
            threading.Thread(target=lambda: statuses.append(ask(address, {"instances": rows})[0])) for _ in range(16)
        ]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        peak = peak_of(process)
    assert statuses == [200 if row == ROW else 422] * 16
    assert peak < capacity(load_bundle(packed), 100.0).mebibytes, f"{peak:.0f} MiB"


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_asked_for_holds_hundreds_of_large_bodies_that_never_end(tmp_path, packed):
    body = json.dumps({"instances": [ROW] * 100}).encode().ljust(900_000)
    head = ["POST /v1/predict HTTP/1.1", "Host: m", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    most_of_it = "\r\n".join([*head, "", ""]).encode() + body[:-1]
    with server(tmp_path, packed, log=tmp_path / "log") as (process, address), ExitStack() as opened:
        assert ask(address)[0] == 200
        before, callers = peak_of(process), []
        for _ in range(500):
            callers.append(opened.enter_context(socket.create_connection(address, timeout=30)))
            with suppress(OSError):  # who is refused finds the connection closed
                callers[-1].sendall(most_of_it)
        room = BODIES * BODY_LIMIT // len(body)
        end = time.monotonic() + 5
        while len(refused := select.select(callers, [], [], 0)[0]) < 500 - room:
            assert time.monotonic() < end
            time.sleep(0.05)
        waiting = [caller for caller in callers if caller not in refused]
        assert len(waiting) > room // 2
        said = refused[0].recv(1_000)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in said
        for caller in waiting:
            caller.sendall(body[-1:])
        assert {caller.recv(1_000)[:12] for caller in waiting} == {b"HTTP/1.1 200"}
        assert ask(address, {"instances": [ROW] * 5_000})[0] == 200  # there is room again
        peak = peak_of(process)
    assert peak < capacity(load_bundle(packed), 100.0).mebibytes, f"{peak:.0f} MiB"
    assert peak - before < 64, f"{peak - before:.0f} MiB"  # what of it is for bodies: those refused are let go at once


def test_a_port_in_use_and_a_damaged_bundle_are_said_before_anything_runs(tmp_path, packed):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServingError, match="is in use") as raised:
            serve(packed, port=taken.getsockname()[1])
    assert "--port" in raised.value.do
    for nowhere in ("203.0.113.1", "a..b"):
        with pytest.raises(ServingError, match="cannot listen"):
            serve(packed, host=nowhere, port=0)
    with pytest.raises(BundleError):
        serve(tmp_path / "none")
    dead = with_file(packed, "model.onnx", broken((packed / "model.onnx").read_bytes(), raises), tmp_path / "dead")
    for workers in (1, 2):
        with pytest.raises(BundleError, match="does not answer the example rows"):
            serve(dead, port=0, workers=workers)
    with pytest.raises(ServingError, match="0 workers"):
        serve(packed, workers=0)


def test_the_server_loads_nothing_that_trains(packed):
    code = (
        "import sys, json\n"
        "import modelyard.serving.serve\n"
        "from modelyard.bundle.load import load_bundle\n"
        "from modelyard.serving.app import App\n"
        f"app = App(load_bundle({str(packed)!r}))\n"
        "app.warm()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    stages = {name.split(".")[1] for name in json.loads(done.stdout) if name.startswith("modelyard.")}
    assert loaded.isdisjoint({"torch", "sklearn", "pandas", "mlflow", "scipy", "lightgbm", "xgboost", "onnx", "optuna"})
    assert stages.isdisjoint({"families", "selection", "training", "evaluation", "flow", "cli"})
