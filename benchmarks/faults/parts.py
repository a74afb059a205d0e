"""What a run breaks: the server with its workers, the Redis of its limits, the disk under it, and its clock."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil

from redises import redis_server

SCRIPT = Path(sys.executable).with_name("modelyard")
RESTART_SECONDS = 1.0
"""What systemd waits before it starts a service again: RestartSec of the unit that `modelyard export` writes."""
_WAIT = 60.0


class Late(Exception):
    """Something that should have happened by now."""


def until(holds: Callable[[], object], what: str, seconds: float = _WAIT, every: float = 0.05) -> float:
    """Wait until something holds; return when it did, as `time.monotonic` counts.

    Raises
    ------
    Late
        If it takes too long.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Late(what)
        time.sleep(every)
    return time.monotonic()


class Clock:
    """The time of day as server and Redis see it: a library in front of the system's adds what a file says.

    Clocks that measure durations, and the moments of files, are the system's own.

    Attributes
    ----------
    real : bool
        Whether it can be set: where there is no C compiler, it cannot.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._library = folder / "clock", folder / "clock.so"
        self.set(0)
        words = ["cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(Path(__file__).with_name("clock.c"))]
        self.real = shutil.which("cc") is not None and subprocess.run(words, check=False).returncode == 0

    def set(self, seconds: int) -> None:
        """Have it be so many seconds before or behind, from this moment on."""
        if not self._file.exists():
            self._file.write_bytes(bytes(8))
        with self._file.open("r+b") as file:  # the same file: processes have it mapped
            file.write(struct.pack("q", seconds))

    @property
    def environment(self) -> dict[str, str]:
        """What a process is started with to see it."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_CLOCK": str(self._file)} if self.real else {}


class Disk:
    """A small file system of its own, in memory, that can be filled to the last byte.

    Attributes
    ----------
    real : bool
        Whether it is one: where nobody may mount, it is a folder like others, and cannot be filled.
    """

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "faults", str(folder)]
        self.real = subprocess.run(words, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (2**20, 2**12, 1):
                with suppress(OSError):
                    while filler.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Take back what `fill` wrote."""
        (self.folder / "filler").unlink()

    def close(self) -> None:
        """Let go of it, and of all that lies on it."""
        if self.real:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Redis:
    """A Redis in a process of its own, which can be killed and started again."""

    def __init__(self, socket: Path, environment: dict[str, str]) -> None:
        self._socket, self._environment = socket, environment
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"unix://{self._socket}"

    def kill(self) -> None:
        """Kill it, with all it holds."""
        self._process.send_signal(signal.SIGKILL)
        self._running.__exit__(None, None, None)

    def hold(self) -> None:
        """Keep it from answering."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._process.send_signal(signal.SIGCONT)

    def start(self) -> None:
        """Start it again, empty."""
        self._running = redis_server(self._socket, environment=self._environment)
        self._process = self._running.__enter__()

    close = kill


class Server:
    """`modelyard serve`, as a user starts it, and its processes.

    Parameters
    ----------
    words : list of str
        What follows ``modelyard serve``, without the port.
    environment : dict
        Beside this process's own.
    said : path
        Where its own log goes.
    """

    def __init__(self, words: list[str], environment: dict[str, str], said: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.said = said
        self._words = [str(SCRIPT), "serve", *words, "--port", str(self.port)]
        self._environment = {**os.environ, **environment}
        self.start()

    def start(self) -> float:
        """Start it, and return the moment it was ready."""
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, *self._words], stdout=said, stderr=said, env=self._environment, start_new_session=True
            )
        return until(self._ready, "the server is not ready")

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise Late(f"the server ended: {self.said.read_text(errors='replace')[-2000:]}")
        with suppress(OSError):
            return self.get("/health/ready")[0] == 200
        return False

    def get(self, path: str) -> tuple[int, str]:
        """Ask for a page; return status and text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def counted(self, metric: str, **labels: str) -> float:
        """Return the sum of a metric's series that have these labels."""
        wanted = {f'{name}="{value}"' for name, value in labels.items()}
        lines = re.findall(rf"^{metric}(?:\{{(.*)\}})? (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return sum(float(value) for held, value in lines if wanted <= set(held.split(",")))

    def clock(self) -> int:
        """Return by how many seconds its time of day is before or behind that of this process."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/live", timeout=10) as answer:
            return round(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time())

    def workers(self) -> list[psutil.Process]:
        """Return its workers, the oldest first."""
        return self._children("spawn_main")

    def loaders(self) -> list[psutil.Process]:
        """Return the process that loads its log, or none where it is about to be started."""
        return self._children("modelyard.flow.loader")

    def _children(self, words: str) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self._process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if words in " ".join(child.cmdline()):
                    found.append(child)
        return sorted(found, key=psutil.Process.create_time)

    def kill(self) -> None:
        """Kill its first process, and wait for the others to end by themselves, as systemd does."""
        left = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        _, alive = psutil.wait_procs(left, timeout=_WAIT)
        if alive:
            raise Late(f"{len(alive)} processes outlive a killed server")

    def stop(self) -> int:
        """Tell it to stop; return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=_WAIT)

    def close(self) -> None:
        """End whatever is left of it."""
        left = [self._process.pid]
        with suppress(psutil.NoSuchProcess):
            left += [child.pid for child in psutil.Process(self._process.pid).children(recursive=True)]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def clear(folder: Path) -> None:
    """Remove a folder."""
    shutil.rmtree(folder, ignore_errors=True)
