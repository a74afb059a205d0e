"""SqliteStore: the store of a laptop, and of a server alone: one file, which readers and writers share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from modelyard.core.files import guarded
from modelyard.core.write_ahead import write_ahead
from modelyard.serving.predictions.sql import SqlStore, unusable

_SECONDS = 30
"""How long a process waits for its turn to write."""


class SqliteStore(SqlStore):
    """A store in one file.

    Parameters
    ----------
    where : str or path
        The file; made where there is none.

    Raises
    ------
    WorkspaceError
        If it cannot be written, or is no store.
    """

    begin: ClassVar[str] = "BEGIN IMMEDIATE"
    errors = (sqlite3.Error,)

    def __init__(self, where: str | Path) -> None:
        path = Path(str(where).removeprefix("sqlite://"))
        with guarded(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=_SECONDS, isolation_level=None)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA page_size = 16384")  # several records a page: a third less work to add one
            write_ahead(connection, _SECONDS)
            # Files are removed once they are loaded: what is committed must outlive a power cut as they would have.
            connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise unusable(str(path), error) from error
        self._path, self._file = path, _identity(path)
        super().__init__(connection, str(path))

    def prune(self, before: float, most: int | None = None) -> int:
        """Remove what is too old or too much, and give its space back to the file system."""
        count = super().prune(before, most)
        if count:
            with self._using():
                self._all("PRAGMA incremental_vacuum")
        return count

    def _has_tables(self) -> bool:
        return bool(self._all("SELECT 1 FROM sqlite_master WHERE name = 'format'"))

    @contextmanager
    def _using(self) -> Iterator[None]:
        with super()._using():
            if _identity(self._path) != self._file:  # the connection holds what nobody else finds any more
                raise sqlite3.OperationalError("the file was removed or replaced")
            yield


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another that takes its name, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
