"""The prediction log: what was asked and what was answered, in files that survive a killed process.

A file is a sequence of frames: the marker, the length and the CRC-32 of a record (both unsigned 32-bit, little
endian), and the record in MessagePack. One answered request is one frame, and one frame is one ``write``: once the
caller has its answer, the record is in the operating system's hands, so a killed process loses nothing (a machine that
loses power may lose its last seconds).
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from modelyard.core.errors import ServingError, WorkspaceError

SUFFIX = ".predictions"
FILE_BYTES = 64 * 2**20
"""A file this long is closed and the next begun, so that whoever collects them finds finished ones."""
_MARKER = b"\xf5MYP"  # 0xf5 never occurs in UTF-8
_FRAME = struct.Struct("<4sII")


class Record(msgspec.Struct, frozen=True):
    """One answered request.

    A Struct and not a dataclass: one is made for each request, and a frozen dataclass takes several times as long.

    Attributes
    ----------
    id : str
        The answer's id, which the caller has too: true labels come back under it.
    at : float
        When it was answered, seconds since 1970 (UTC).
    model, bundle : str
        Name of the model, and hash of the bundle that served it.
    rows : list of dict
        As the caller sent them.
    answers : list of dict
        One for each row (see ``Prediction.plain``).
    milliseconds : float
        From the request's last byte to its answer.
    version, variant : str
        Number of the release, and the arm of a rollout it was.
    key : str
        Id of the caller's API key, or subject of its token.
    trace : str
        Trace id of the request's ``traceparent``.
    """

    id: str
    at: float
    model: str
    bundle: str
    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    milliseconds: float
    version: str = ""
    variant: str = ""
    key: str = ""
    trace: str = ""


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Record).decode


class PredictionLog:
    """Writes records; each process has files of its own.

    Parameters
    ----------
    folder : path
        Where the files lie; made if it is not there.
    file_bytes : int
        Length from which the next file is begun.

    Raises
    ------
    ServingError
        If nothing can be written there.
    """

    def __init__(self, folder: Path | str, *, file_bytes: int = FILE_BYTES) -> None:
        self.folder = Path(folder)
        self._most = file_bytes
        self._file = -1
        self._length = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Asked now: a server that cannot write its log should say so before it answers anybody.
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise ServingError(
                "The prediction log cannot be written.",
                where=f"{self.folder}: {error.strerror}",
                do="Name another folder with --log.",
            ) from error

    def append(self, record: Record) -> bool:
        """Write one record; False when it could not be written, as on a full disk: serving goes on."""
        content = _ENCODE(record)
        frame = _FRAME.pack(_MARKER, len(content), zlib.crc32(content)) + content
        try:
            if self._file < 0 or self._length >= self._most:
                self._begin()
            written = os.write(self._file, frame)
        except OSError:
            return False
        if written == len(frame):
            self._length += written
            return True
        # Half a frame on a disk that is now full: take it back, so that the file ends with a whole one.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self._length)
        return False

    def close(self) -> None:
        """Close the file; appending begins another."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self) -> None:
        self.close()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = self.folder / f"{stamp}-{time.time_ns() % 10**9:09d}-{os.getpid()}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._length = 0


def recover(content: bytes) -> Iterator[Record]:
    """Return the whole records of a file's bytes; a torn or damaged stretch is passed over."""
    at = 0
    while (at := content.find(_MARKER, at)) >= 0:
        record, end = _frame(content, at)
        if record is None:
            at += 1  # no frame begins here, whatever it looks like: the next marker is looked for
            continue
        yield record
        at = end


def read_log(folder: Path | str) -> Iterator[Record]:
    """Return every record of a folder, file by file in the order they were begun.

    It can be read while it is written.

    Raises
    ------
    WorkspaceError
        If there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise WorkspaceError("There is no prediction log.", where=str(root), do="Serve with --log FOLDER.")
    for path in sorted(root.glob(f"*{SUFFIX}")):
        yield from recover(path.read_bytes())


def _frame(content: bytes, at: int) -> tuple[Record | None, int]:
    start = at + _FRAME.size
    if start > len(content):
        return None, at
    _, length, crc = _FRAME.unpack_from(content, at)
    end = start + length
    body = content[start:end]
    if len(body) < length or zlib.crc32(body) != crc:
        return None, at
    try:
        return _DECODE(body), end
    except msgspec.MsgspecError:  # another version's record
        return None, at
