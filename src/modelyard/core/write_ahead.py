"""write_ahead: give a SQLite file its write-ahead log, though others do the same at that moment."""

from __future__ import annotations

import sqlite3
import time

_PAUSE = 0.02


def write_ahead(db: sqlite3.Connection, seconds: float) -> None:
    """Switch a file to a write-ahead log, in which readers and a writer do not wait for each other.

    SQLite answers that the file is locked as soon as another process does the same, whatever the connection's timeout
    says, so it is asked again.

    Parameters
    ----------
    db : sqlite3.Connection
        Outside of any transaction.
    seconds : float
        How long others may take.

    Raises
    ------
    sqlite3.OperationalError
        If the file is still locked then, or cannot be written.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_PAUSE)
