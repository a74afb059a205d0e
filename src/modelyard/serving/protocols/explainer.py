"""Explainer: a process of its own that explains rows, so that the workers that predict never load a booster.

It is started by the first request, answers one request at a time over its pipes, and ends when the worker that started
it does. A message is its length (unsigned 32-bit, little endian) and MessagePack.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from modelyard.bundle.bundle import Bundle
from modelyard.serving.predictor import Unanswered
from modelyard.serving.problem import HttpProblem, NotOffered, without_values

MOST_WAITING = 16
"""Requests that wait for their turn; more are told to come again."""
_SECONDS = 30.0
"""An explanation may take this long, its process's start with the libraries of the members included."""
_LENGTH = struct.Struct("<I")
_PROGRAM = "import sys; from modelyard.serving.protocols.explainer import work; work(sys.argv[1], sys.argv[2])"
_LOGGER = logging.getLogger("modelyard.serving")


class Explainer:
    """Explains rows of one bundle in a process of its own.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    seconds : float
        How long an explanation may take.
    waiting : int
        Requests that may wait.
    """

    def __init__(self, bundle: Bundle, *, seconds: float = _SECONDS, waiting: int = MOST_WAITING) -> None:
        self.hash = bundle.hash
        self._path = bundle.path
        self._seconds, self._most = seconds, waiting
        self._turn = asyncio.Lock()
        self._asked = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return None if self._process is None else self._process.pid

    async def explain(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return an explanation for each row (see ``bundle.explanation``), as JSON values.

        Parameters
        ----------
        rows : sequence of dict
            That passed ``Schema.check_row``.

        Raises
        ------
        HttpProblem
            503 where too many wait, 501 where what it needs is not installed.
        Unanswered
            If the process failed, died or took too long.
        """
        if self._asked > self._most:
            raise HttpProblem(503, "Too many explanations are waiting.", headers=[(b"retry-after", b"1")])
        self._asked += 1
        try:
            async with self._turn:
                answer = await self._ask(msgspec.msgpack.encode(rows))
        finally:
            self._asked -= 1
        if "missing" in answer:
            raise NotOffered(answer["missing"])
        if "failed" in answer:
            _LOGGER.error("rows could not be explained: %s", answer["failed"])
            raise Unanswered("The rows could not be explained; the server's own log says why.")
        found: list[dict[str, Any]] = answer["explained"]
        return found

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it was not yet sent
                    pipe.close()

    async def _ask(self, content: bytes) -> dict[str, Any]:
        try:
            if self._process is None or self._process.poll() is not None:
                self.close()
                self._process = _start(self._path, self.hash)
            # A thread waits for the pipe: it ends with the process, whatever that is doing.
            return await asyncio.wait_for(asyncio.to_thread(_call, self._process, content), self._seconds)
        except (TimeoutError, EOFError, OSError) as error:
            self.close()  # whatever it was doing, the next request finds a new one
            _LOGGER.error("the process that explains was ended: %s", type(error).__name__)
            raise Unanswered("The explanation was not finished.", again=1.0) from error
        except asyncio.CancelledError:
            self.close()  # an answer nobody waited for would be the next caller's
            raise


def _start(path: Path, expected: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-c", _PROGRAM, str(path), expected]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _call(process: subprocess.Popen[bytes], content: bytes) -> dict[str, Any]:
    assert process.stdin is not None  # noqa: S101  # pipes were asked for
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(_LENGTH.pack(len(content)) + content)
    process.stdin.flush()
    head = process.stdout.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    length = _LENGTH.unpack(head)[0]
    body = process.stdout.read(length)
    if len(body) < length:
        raise EOFError
    answer: dict[str, Any] = msgspec.msgpack.decode(body)
    return answer


def work(path: str, expected: str) -> None:
    """Be the process: explain rows from standard input until it is closed.

    Parameters
    ----------
    path : str
        The bundle's folder.
    expected : str
        Its hash: another bundle in its place explains nothing.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer: it closes the pipe
    # Libraries write what they like to standard output; the answers go another way.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    explain = _Loaded(Path(path), expected)
    while len(head := questions.read(_LENGTH.size)) == _LENGTH.size:
        content = msgspec.msgpack.encode(explain(questions.read(_LENGTH.unpack(head)[0])))
        answers.write(_LENGTH.pack(len(content)) + content)
        answers.flush()


class _Loaded:
    """The bundle, loaded by the first question so that what is wrong with it is an answer."""

    def __init__(self, path: Path, expected: str) -> None:
        self._path, self._expected = path, expected
        self._bundle: Bundle | None = None

    def __call__(self, content: bytes) -> dict[str, Any]:
        from modelyard.bundle.explanation import explanations
        from modelyard.bundle.load import load_bundle
        from modelyard.core.errors import BundleError, MissingExtra

        try:
            if self._bundle is None:
                bundle = load_bundle(self._path)
                if bundle.hash != self._expected:
                    raise BundleError("Another bundle lies where the one that answers lay.", where=str(self._path))
                self._bundle = bundle
            rows = msgspec.msgpack.decode(content)
            return {"explained": msgspec.to_builtins(explanations(self._bundle, self._bundle.frame(rows)))}
        except MissingExtra as error:
            return {"missing": error.render()}
        except BundleError as error:  # speaks of files
            return {"failed": error.render()}
        except Exception as error:
            return {"failed": without_values(error)}
