"""A server's processes: started, asked whether they answer, held still while others are measured, ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil

from environments import apart
from serving.packed import Packed
from serving.servers import CONSTANT, Server

START_SECONDS = 180
TOLERANCE = 1e-5
CHECKED = 20
"""Rows a server must answer as the bundle does before it is measured."""


class Wrong(Exception):
    """A server that did not start, or that does not answer as the bundle does."""


class Running:
    """A server and all processes it has started."""

    def __init__(self, server: Server, model: Packed, folder: Path) -> None:
        self.server, self.model = server, model
        self.port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._key = server.key(folder)
        self._output = folder / "output"
        environment = apart() if server.peer else dict(os.environ)
        environment |= {"BENCH_GRAPH": str(model.folder / "graph.json"), "PYTHONUNBUFFERED": "1"}
        words = [server.python, *server.command(model, folder, self.port)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                words, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment
            )

    def tree(self) -> list[psutil.Process]:
        """Return its processes, the parents first."""
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def pids(self) -> list[int]:
        """Return the ids of its processes."""
        return [process.pid for process in self.tree()]

    def check(self) -> None:
        """Wait until it answers, and hold its answers to the bundle's.

        Raises
        ------
        Wrong
            If it ends, does not answer in time, or answers something else.
        """
        end = time.monotonic() + START_SECONDS
        rows = list(zip(self.model.rows, self.model.answers, strict=True))[:CHECKED]
        while True:
            try:
                self._ask(rows[0][0])
                break
            except (OSError, ValueError) as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    said = self._output.read_text(encoding="utf-8", errors="replace")[-2000:]
                    raise Wrong(f"{self.server.name} does not answer: {error}\n{said}") from None
                time.sleep(0.2)
        if self.server.name == CONSTANT:
            return
        for row, answer in rows:
            found = self._ask(row)
            if abs(found - answer) > TOLERANCE:
                raise Wrong(f"{self.server.name} answers {found}, the bundle {answer}")

    def hold(self) -> None:
        """Stop its processes from running, the parents first: they must not miss their children."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def go_on(self) -> None:
        """Let its processes run again, the children first: they must be there when their parents look."""
        for process in reversed(self.tree()):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def end(self) -> None:
        """End all its processes."""
        tree = self.tree()
        self.go_on()
        with suppress(ProcessLookupError):
            self._process.terminate()
        _, alive = psutil.wait_procs(tree, timeout=5)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def requests(self) -> list[str]:
        """Return a request for each row, as the generator takes them."""
        return [self.server.request(self.model, row, self.port, self._key).decode("latin-1") for row in self.model.rows]

    def _ask(self, row: dict[str, object]) -> float:
        body = json.dumps(self.server.body(self.model, row)).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.server.path}", body, headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return self.server.read(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            raise ValueError(f"{error.code}: {error.read()[:500]!r}") from None


def _free_port() -> int:
    """Return a port that is free, as the two after it should be, which some peers take as well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
