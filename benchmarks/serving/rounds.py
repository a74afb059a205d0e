"""All servers measured in turn, round after round, each figure on record before the next is taken."""

from __future__ import annotations

import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from environments import home
from serving.packed import TREES, Packed, pack
from serving.running import Running, Wrong
from serving.servers import SERVERS, pins
from tabular.results import append, code, worked

RECORD = Path(__file__).with_name("results.jsonl")
CONNECTIONS = 16
WARM, PATIENCE, SETTLE = 0.5, 5.0, 0.3
FULL = 0.8
"""Share of the rate of the closed loop up to which a load is offered: past it a queue grows as long as one waits."""
STEADY_MS, STEADY_RATE = 5.0, 500.0
Record = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes
    ----------
    servers : sequence of str
        Names in `SERVERS`.
    rates : sequence of int
        Requests a second that are offered, beside the closed loop.
    rounds : int
        Times that every server is measured.
    seconds : float
        How long each load lasts.
    """

    servers: Sequence[str]
    rates: Sequence[int]
    rounds: int
    seconds: float


def run(asked: Asked, record: Path) -> None:
    """Start the servers, check them, and measure each in every round."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="serving-", dir=home()) as place:
        folder = Path(place)
        print(f"packing {TREES} trees", flush=True)
        model = pack(folder)
        running: list[Running] = []
        try:
            running, failed = _started(asked, model, folder)
            size = round(sum(map(len, running[0].requests())) / len(model.rows)) if running else 0
            append(record, {"run": name, "about": _about(asked, failed, size)})
            for turn in range(asked.rounds):
                for one in random.Random(turn).sample(running, len(running)):
                    for figures in _measured(one, asked):
                        append(record, {"run": name, "round": turn, "server": one.server.name, **figures})
                        print(f"{turn + 1}/{asked.rounds} {line(one.server.name, figures)}", flush=True)
        finally:
            for one in running:
                one.end()


def _started(asked: Asked, model: Packed, folder: Path) -> tuple[list[Running], dict[str, str]]:
    """Start and check every server, one at a time; return them held still, and what those that failed said."""
    running: list[Running] = []
    failed = {}
    for i, name in enumerate(asked.servers):
        one = Running(SERVERS[name], model, folder / str(i))
        try:
            one.check()
        except Wrong as error:
            one.end()
            failed[name] = str(error)
            print(f"{name}: not measured: {error}", flush=True)
            continue
        except BaseException:
            one.end()
            for held in running:
                held.end()
            raise
        one.hold()
        running.append(one)
        print(f"{name}: answers as the bundle does, in {len(one.pids())} processes", flush=True)
    return running, failed


def _measured(one: Running, asked: Asked) -> list[Record]:
    """Measure a server in the closed loop, then at each rate that it can hold."""
    one.go_on()
    time.sleep(SETTLE)
    try:
        closed = _load(one, None, asked.seconds)
        figures = [closed]
        most = FULL * closed["answered"] / closed["seconds"] if "error" not in closed else 0.0
        for rate in asked.rates:
            figures.append(_load(one, rate, asked.seconds) if rate <= most else {"rate": rate, "over": True})
        return figures
    finally:
        one.hold()


def _load(one: Running, rate: int | None, seconds: float) -> Record:
    pids = one.pids()
    before, own, began = psutil.cpu_times(), time.process_time(), time.monotonic()
    found = generate(one.port, one.requests(), rate, seconds, pids, connections=CONNECTIONS * one.server.workers)
    took, after, own = time.monotonic() - began, psutil.cpu_times(), time.process_time() - own
    if "error" not in found:
        cores = psutil.cpu_count() or 1
        spent = own + found["server_all_s"] + found["generator_all_s"]
        found["others"] = round(max(0.0, (worked(after) - worked(before) - spent) / (took * cores)), 3)
        found["processes"] = len(pids)
        if set(pids) != set(one.pids()):
            found["error"] = "its processes changed while they were measured"
    return {"rate": rate, **found}


def generate(
    port: int,
    requests: list[str],
    rate: float | None,
    seconds: float,
    pids: Sequence[int] = (),
    warm: float = WARM,
    connections: int = CONNECTIONS,
) -> Record:
    """Run the generator in a process of its own and return its figures, or the error it ended with."""
    asked = {
        "address": ["127.0.0.1", port], "requests": requests, "connections": connections, "seconds": seconds,
        "warm": warm, "rate": rate, "patience": PATIENCE, "pids": list(pids),
    }  # fmt: skip
    words = [sys.executable, "-I", str(Path(__file__).with_name("generator.py"))]
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": done.stderr[-1000:]}
    found: Record = json.loads(done.stdout)
    return found


def steady() -> Record:
    """Hold the generator to a server that answers after a known time; return both loops' figures."""
    words = [sys.executable, str(Path(__file__).with_name("steady.py")), str(STEADY_MS)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        request = "POST / HTTP/1.1\r\nHost: steady\r\nContent-Length: 0\r\n\r\n"
        return {
            "closed": generate(port, [request], None, 1.0, [server.pid]),
            "open": generate(port, [request], STEADY_RATE, 2.0, [server.pid]),
        }
    finally:
        server.kill()
        server.wait()


def _about(asked: Asked, failed: dict[str, str], size: int) -> Record:
    from importlib.metadata import version

    ours = ("fastapi", "httptools", "msgspec", "onnxruntime", "uvicorn", "uvloop")
    return {
        "code": code(),
        "python": platform.python_version(),
        "cores": psutil.cpu_count(),
        "versions": {name: version(name) for name in ours},
        "pins": {SERVERS[name].peer: pins(SERVERS[name].peer) for name in asked.servers if SERVERS[name].peer},
        "servers": list(asked.servers),
        "failed": failed,
        "rates": list(asked.rates),
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "connections": CONNECTIONS,
        "request_bytes": size,
        "trees": TREES,
        "steady": steady(),
    }


def line(name: str, figures: Record) -> str:
    """Return a figure as a line for whoever watches."""
    words = f"{name:<30}{'closed' if figures['rate'] is None else figures['rate']:>7}  "
    if "error" in figures:
        return f"{words}FAILED {figures['error'].splitlines()[-1]}"
    if "over" in figures:
        return f"{words}more than it can hold"
    each = 1e6 / max(1, figures["answered"])
    return (
        f"{words}{figures['server_s'] * each:>8.0f} us CPU  {figures['answered'] / figures['seconds']:>7.0f}/s  "
        f"generator {figures['generator_s'] * each:>4.0f} us  others {figures['others']:.0%}"
    )
