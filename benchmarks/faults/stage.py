"""The stage of a run: the server with everything on, its callers, and what happened when."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import releases
from faults.bodies import Stranger, Told
from faults.parts import Clock, Disk, Late, Redis, Server, until
from faults.releases import NAME, Releases
from modelyard.serving.guard.store import FILE as KEYS
from modelyard.serving.guard.store import KeyStore

WORKERS = 2
CONNECTIONS = 32
_DISK = 320
_A_MINUTE = 600_000
_FLIP_SECONDS = 20.0


@dataclass
class Window:
    """A stretch of the run in which something is broken; times as `time.monotonic` counts.

    Attributes
    ----------
    name : str
        What is broken.
    began, ended : float
        From the fault until what it does is over.
    kills : list of float
        When processes were killed that have requests.
    down : (float, float)
        From when to when there was no server; empty where there always was.
    felt : str
        What shows that the fault was there.
    """

    name: str
    began: float
    ended: float = 0.0
    kills: list[float] = field(default_factory=list)
    down: tuple[float, float] = (0.0, 0.0)
    felt: str = ""


@dataclass
class Served:
    """When a version was the one to answer: from when it was asked for until all workers had taken the next one."""

    version: int
    began: float
    ended: float = float("inf")


@dataclass
class Stage:
    """Everything of a run.

    Attributes
    ----------
    folder : Path
        Where it happens.
    share : float
        How much of the full length each fault lasts.
    windows, served : list
        What was broken when, and which version was the one to answer.
    dropped : int
        Records the server says it dropped.
    strangers : dict of str to list of Told
        What became of requests that are none of the callers'.
    met : set of str
        Workers that answered, as the ids of their answers begin.
    late, left_out : list of str
        What did not come of a fault in time, and faults that this machine does not allow.
    """

    folder: Path
    share: float
    disk: Disk
    clock: Clock
    redis: Redis
    releases: Releases
    server: Server
    key: str
    rate: float
    windows: list[Window] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    dropped: int = 0
    strangers: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    met: set[str] = field(default_factory=set)
    late: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0

    def wait(self, seconds: float, least: float = 0.5) -> None:
        """Let the run go on for so long, or for as much of that as a short run has."""
        time.sleep(max(least, self.share * seconds))

    def meets_another_worker(self) -> bool:
        """Ask for a prediction over a connection of its own; say whether a worker answers that never did before."""
        stranger = Stranger(self.server.port, self.key)
        told = stranger.ask("a row", json.dumps(self.releases.rows[0]).encode())
        stranger.close()
        if told.status != 200:
            return False
        self.strangers["met"].append(told)
        worker = str(json.loads(told.body)["id"]).rpartition("-")[0]
        new = worker not in self.met
        self.met.add(worker)
        return new

    @contextmanager
    def window(self, name: str) -> Iterator[Window]:
        """Have a fault, and calm after it; what does not come of it in time is noted, and the run goes on."""
        window = Window(name, time.monotonic())
        print(f"{window.began - self.began:6.1f} s  {name}", file=sys.stderr, flush=True)
        try:
            yield window
        except Late as late:
            window.felt = f"NOT IN TIME: {late}"
            self.late.append(str(late))
        window.ended = time.monotonic()
        self.windows.append(window)
        self.wait(4.0)

    @contextmanager
    def flip(self, version: int, *, refused: bool = False) -> Iterator[None]:
        """Have a version take the place of the one that answers, or be refused by every worker."""
        result = "refused" if refused else "done"
        before = self.server.counted("modelyard_release_flips_total", result=result)
        asked = time.monotonic()
        if not refused:
            self.served.append(Served(version, asked))
        yield
        taken = until(
            lambda: self.server.counted("modelyard_release_flips_total", result=result) >= before + WORKERS,
            f"version {version} is not {result} by every worker",
            _FLIP_SECONDS,
            every=0.2,
        )
        if not refused and len(self.served) > 1:
            self.served[-2].ended = taken

    @contextmanager
    def calling(self) -> Iterator[Path]:
        """Have callers ask at a steady rate meanwhile; yield where what they found will be."""
        into = self.folder / "calls.json"
        asked = {
            "address": ["127.0.0.1", self.server.port],
            "requests": [self._request(row) for row in self.releases.rows],
            "rate": self.rate,
            "connections": CONNECTIONS,
            "into": str(into),
        }
        words = [sys.executable, str(Path(__file__).with_name("load.py"))]
        with subprocess.Popen(words, stdin=subprocess.PIPE, text=True) as callers:
            assert callers.stdin is not None
            callers.stdin.write(json.dumps(asked) + "\n")
            callers.stdin.flush()
            self.began = time.monotonic()
            try:
                yield into
            finally:
                self.ended = time.monotonic()
                callers.stdin.close()
                callers.wait(timeout=60)

    def _request(self, row: dict[str, Any]) -> tuple[str, str]:
        """Return what stands before and after a request's number, which is its trace's."""
        body = json.dumps(row, separators=(",", ":"))
        head = (
            f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Length: {len(body)}\r\ntraceparent: 00-"
        )
        return head, f"-00f067aa0ba902b7-01\r\n\r\n{body}"

    @property
    def log(self) -> Path:
        """The folder of the prediction log."""
        return self.disk.folder / "yard/predictions"


@contextmanager
def staged(folder: Path, share: float, rate: float, trees: int) -> Iterator[Stage]:
    """Start everything, and end it afterwards.

    Workspace, log and temporary files lie on one small disk, as on a machine that has but one.

    Parameters
    ----------
    folder : Path
        Where it happens.
    share : float
        How much of the full length each fault lasts.
    rate : float
        Requests a second.
    trees : int
        Of the models.
    """
    disk, clock = Disk(folder / "disk", _DISK), Clock(folder)
    yard, scratch = disk.folder / "yard", disk.folder / "tmp"
    scratch.mkdir()
    made = releases.make(yard, trees)
    _, key = KeyStore(yard / KEYS).create("bench", by="bench", rate=_A_MINUTE)
    redis = Redis(folder / "redis.sock", clock.environment)
    words = [NAME, "--workspace", str(yard), "--workers", str(WORKERS), "--auth", "keys", "--redis", redis.url]
    try:
        server = Server(words, {**clock.environment, "TMPDIR": str(scratch)}, folder / "said")
        try:
            yield Stage(folder, share, disk, clock, redis, made, server, key, rate)
        finally:
            server.close()
    finally:
        redis.close()
        disk.close()
