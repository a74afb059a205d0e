"""The prediction log: what was asked and what was answered, in files that survive a killed process.

A file is a sequence of frames (see `frames`). One answered request is one frame, and it is written before the caller
has its answer: the record is in the operating system's hands then, so a killed process loses nothing (a machine that
loses power may lose its last seconds). A loader moves the files into a store (see `load`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from modelyard.core.errors import ServingError
from modelyard.core.files import hold
from modelyard.serving.predictions.frames import SUFFIX, Written, frame, recover
from modelyard.serving.predictions.predictions import STAMP, Predictions
from modelyard.serving.predictions.record import Entry, Label, Record
from modelyard.serving.predictions.withhold import Withhold

__all__ = ["SUFFIX", "Entry", "Label", "PredictionLog", "Record", "read_log", "recover"]

FILE_BYTES = 64 * 2**20
"""A file this long is closed and the next begun, so that the loader finds finished ones to remove."""
_FILE_SECONDS = 3_600.0


class PredictionLog:
    """Writes records; each process has files of its own.

    Parameters
    ----------
    folder : path
        Where the files lie; made if it is not there.
    file_bytes : int
        Length from which the next file is begun; one is begun every hour too.

    Attributes
    ----------
    withholds : dict of str to Withhold
        By the bundle's hash, what hashes and leaves out columns of its records before they are written.

    Raises
    ------
    ServingError
        If nothing can be written there.
    """

    def __init__(self, folder: Path | str, *, file_bytes: int = FILE_BYTES) -> None:
        self.folder = Path(folder)
        self._most = file_bytes
        self.withholds: dict[str, Withhold] = {}
        self._file = -1
        self._length = 0
        self._begun = 0.0
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

    def append(self, *written: Written | Record) -> int:
        """Write records, or labels that stand or fall together; return how many are in the log.

        All are one ``write``. Where that fails, as on a full disk, each is tried by itself.
        """
        content = [frame(self._withheld(Entry.of(one) if isinstance(one, Record) else one)) for one in written]
        if self._write(b"".join(content)):
            return len(content)
        return sum(map(self._write, content)) if len(content) > 1 else 0

    def _withheld(self, entry: Written) -> Written:
        if self.withholds and isinstance(entry, Entry) and (withhold := self.withholds.get(entry.bundle)) is not None:
            return withhold(entry)
        return entry

    def _write(self, content: bytes) -> bool:
        try:
            if self._file < 0 or self._length >= self._most or time.monotonic() - self._begun >= _FILE_SECONDS:
                self._begin()
            count = os.write(self._file, content)
        except OSError:
            return False
        if count == len(content):
            self._length += count
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
        stamp = time.strftime(STAMP, time.gmtime())
        name = f"{stamp}-{time.time_ns() % 10**9:09d}-{os.getpid()}{SUFFIX}"
        hidden = self.folder / f".{name}.begun"
        self._file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        # Named once it is held: a file that the loader sees and nobody holds is finished.
        hold(self._file)
        try:
            hidden.rename(self.folder / name)
        except OSError:
            self.close()
            raise
        self._length, self._begun = 0, time.monotonic()


def read_log(folder: Path | str) -> Iterator[Record]:
    """Return every record of a prediction log: those loaded into its store, and those in files still.

    It can be read while it is written.

    Raises
    ------
    WorkspaceError
        If there is no such folder.
    """
    return Predictions(Path(folder)).records()
