"""The rehearsal: a bundle served for a moment, asked made-up rows, so that documents quote what was seen."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator, MutableMapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import ServingError
from modelyard.serving.app import App
from modelyard.serving.predict import PATH
from modelyard.serving.rows import example_rows
from modelyard.serving.version import INLINE

_WARM = 50
_CALLERS = 8
_START_SECONDS = 60.0
_JSON = {"Content-Type": "application/json"}
_CPU = re.compile(rb"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
_PROGRAM = (
    "import sys; from modelyard.serving.serve import serve; "
    "serve(sys.argv[1], port=0, started=lambda address: print(address, flush=True))"
)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a server answered, and how fast.

    Attributes
    ----------
    request, answer : mapping
        A made-up row and what it was answered.
    refused, problem : mapping
        The same row with two faults, and the problem it got.
    p50, p99 : float
        Microseconds a caller on the same machine waited, one request after the other on one connection.
    n : int
        Requests timed.
    microseconds : float
        CPU time of the server for one request, with 8 connections busy at once.
    """

    request: dict[str, Any]
    answer: dict[str, Any]
    refused: dict[str, Any]
    problem: dict[str, Any]
    p50: float
    p99: float
    n: int
    microseconds: float


@contextmanager
def starting(bundle: Bundle) -> Iterator[subprocess.Popen[str]]:
    """Start a server of a bundle in a process of its own, on a free port; it comes up while other things are done."""
    command = [sys.executable, "-P", "-c", _PROGRAM, str(bundle.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield server
        finally:
            server.kill()  # it keeps no log, so there is nothing to finish


def rehearse(bundle: Bundle, server: subprocess.Popen[str] | None = None, seconds: float = 1.0) -> Rehearsal:
    """Ask a server of a bundle rows for a while.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    server : Popen, optional
        What `starting` started; default one that is started here.
    seconds : float
        How long it is asked, once over one connection and once over several.

    Raises
    ------
    ServingError
        If the server does not come up.
    """
    rows = example_rows(bundle)
    refused = faulty(bundle, rows[0])
    with starting(bundle) if server is None else nullcontext(server) as asked:
        try:
            with closing(http.client.HTTPConnection(_address(asked), timeout=_START_SECONDS)) as connection:
                _wait(connection)
                answer = _ask(connection, rows[0])
                problem = _ask(connection, refused)
                for i in range(_WARM):
                    _ask(connection, rows[i % len(rows)])
                times = _times(connection, rows, seconds)
                microseconds = _cost(connection, rows, seconds)
        except (OSError, http.client.HTTPException) as error:
            raise ServingError("The server stopped answering.", where=f"{type(error).__name__}: {error}") from error
    p50, p99 = np.percentile(np.array(times) / 1e3, [50, 99])
    return Rehearsal(rows[0], answer, refused, problem, float(p50), float(p99), len(times), microseconds)


def request_microseconds(bundle: Bundle, seconds: float = 0.3) -> float:
    """Return the CPU time of one request, from its body's bytes to the answer's, without the HTTP server around it."""
    app = App(bundle)
    app.warm()
    app.router.stable.inline = INLINE  # of a slow model too: nothing is to wait here
    bodies = [json.dumps(row).encode() for row in example_rows(bundle)]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [(b"content-type", b"application/json")]}
    count = 0
    began, end = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        body = bodies[count % len(bodies)]
        count += 1

        async def receive(body: bytes = body) -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: MutableMapping[str, Any]) -> None:
            return None

        _drive(app(scope, receive, send))
    return 1e6 * (time.process_time() - began) / count


def faulty(bundle: Bundle, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with two faults callers make: a value of another type, and a misspelt name."""
    features = [c for c in bundle.schema.features if c.name in row]
    typed = next((c for c in features if c.kind in ("number", "date", "boolean")), features[0])
    spelt = next((c for c in reversed(features) if c.name != typed.name), None)
    wrong = {name: ["no", "value"] if name == typed.name else value for name, value in row.items()}
    if typed.kind not in ("category", "text"):
        wrong[typed.name] = "unknown"
    if spelt is None:
        return wrong
    return {(f"{name}x" if name == spelt.name else name): value for name, value in wrong.items()}


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None  # noqa: S101  # a pipe was asked for
    address = server.stdout.readline().strip().removeprefix("http://")
    if not address:
        raise ServingError("The server did not start.", where=server.communicate()[1].strip()[-2000:])
    return address


def _wait(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/health/ready")  # waits in the listening socket until the server is ready
    if connection.getresponse().read() != b'{"status":"ready"}':
        raise ServingError("The server did not become ready.", where=f"{connection.host}:{connection.port}")


def _ask(connection: http.client.HTTPConnection, row: dict[str, Any]) -> dict[str, Any]:
    connection.request("POST", PATH, json.dumps(row), _JSON)
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer


def _times(connection: http.client.HTTPConnection, rows: list[dict[str, Any]], seconds: float) -> list[int]:
    """Return the nanoseconds of requests sent one after the other."""
    bodies = [json.dumps(row) for row in rows]
    times: list[int] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while True:
        began = time.perf_counter_ns()
        connection.request("POST", PATH, bodies[len(times) % len(bodies)], _JSON)
        connection.getresponse().read()
        now = time.perf_counter_ns()
        times.append(now - began)
        if now >= end:
            return times


def _cost(connection: http.client.HTTPConnection, rows: list[dict[str, Any]], seconds: float) -> float:
    """Return the server's CPU microseconds for one request while several callers are waiting."""
    body = json.dumps(rows[0])
    callers = [http.client.HTTPConnection(connection.host, connection.port) for _ in range(_CALLERS)]
    count, before, end = 0, _cpu(connection), time.perf_counter() + seconds
    while time.perf_counter() < end:
        for caller in callers:
            caller.request("POST", PATH, body, _JSON)
        for caller in callers:
            caller.getresponse().read()
        count += len(callers)
    spent = _cpu(connection) - before
    for caller in callers:
        caller.close()
    return 1e6 * spent / count


def _cpu(connection: http.client.HTTPConnection) -> float:
    connection.request("GET", "/metrics")
    found = _CPU.search(connection.getresponse().read())
    return float(found[1]) if found else float("nan")  # the counter is there on Linux only


def _drive(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("the request path waited for something")
