"""The registry's file: its tables, and how they are opened so that no crash and no neighbour can spoil them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.core.errors import RegistryError, WorkspaceError
from modelyard.core.files import guarded
from modelyard.core.write_ahead import write_ahead

FILE = "registry.db"
"""Its name in a workspace."""
FORMAT = 2
"""Counts up with every change of the tables; a newer file than the reader's is refused."""
_SECONDS = 30  # how long a process waits for its turn to write

_TABLES = f"""
CREATE TABLE releases (
  name TEXT NOT NULL, version INTEGER NOT NULL, stage TEXT NOT NULL, bundle TEXT NOT NULL, hash TEXT NOT NULL,
  run TEXT NOT NULL, created TEXT NOT NULL, deprecated TEXT, sunset TEXT, PRIMARY KEY (name, version)
) STRICT;
CREATE UNIQUE INDEX one_production ON releases (name) WHERE stage = 'production';
CREATE UNIQUE INDEX one_of_a_hash ON releases (name, hash);
CREATE TABLE history (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL, by TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  action TEXT NOT NULL, before TEXT, after TEXT, note TEXT NOT NULL, gates TEXT NOT NULL,
  FOREIGN KEY (name, version) REFERENCES releases (name, version)
) STRICT;
CREATE TRIGGER history_kept BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TRIGGER history_fixed BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TRIGGER releases_kept BEFORE DELETE ON releases BEGIN SELECT RAISE(ABORT, 'releases are never deleted'); END;
CREATE TRIGGER releases_fixed BEFORE UPDATE OF name, version, bundle, hash, run, created ON releases
  BEGIN SELECT RAISE(ABORT, 'only the stage of a release and its deprecation change'); END;
PRAGMA user_version = {FORMAT};
"""
_CHANGES = {
    0: _TABLES,
    1: "ALTER TABLE releases ADD COLUMN deprecated TEXT; ALTER TABLE releases ADD COLUMN sunset TEXT;"
    " PRAGMA user_version = 2;",
}
"""By the format a file has, what brings it to a later one."""


def make(path: Path) -> None:
    """Make the tables where they are not there yet, or bring those of an earlier format to this one.

    Several processes may do so at once.

    Raises
    ------
    RegistryError
        If the file is not a registry, or of a newer format.
    WorkspaceError
        If it cannot be written.
    """
    with guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with opened(path) as db:
        found = _format(db)
        if found < FORMAT:
            if found == 0:
                write_ahead(db, _SECONDS)
            db.execute("BEGIN IMMEDIATE")
            # Another process may have done so while this one waited for its turn.
            while (found := _format(db)) < FORMAT:
                for statement in _statements(_CHANGES[found]):
                    db.execute(statement)
            db.execute("COMMIT")
    if found != FORMAT:
        raise RegistryError(
            f"The registry is of format {found}; this modelyard reads format {FORMAT}.",
            where=str(path),
            do="Update modelyard.",
        )


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file; rows come as dictionaries, and a transaction not committed is undone.

    Raises
    ------
    RegistryError
        If the file is no registry, or refuses a change.
    WorkspaceError
        If it cannot be read or written.
    """
    db = None
    try:
        db = sqlite3.connect(path, timeout=_SECONDS, isolation_level=None)
        db.row_factory = _row
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        yield db
    except sqlite3.IntegrityError as error:
        raise RegistryError(f"The registry refuses this change: {error}.", where=str(path)) from error
    except sqlite3.OperationalError as error:
        raise WorkspaceError(
            f"The registry cannot be used: {error}.", where=str(path), do="See that its folder can be written."
        ) from error
    except sqlite3.DatabaseError as error:
        raise RegistryError(
            f"This file is not a registry: {error}.", where=str(path), do="Move it away, or restore it."
        ) from error
    finally:
        if db is not None:
            db.close()


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the file alone from the first read to the last write, and commit at the end."""
    with opened(path) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")


def _row(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()["user_version"])


def _statements(script: str) -> Iterator[str]:
    piece = ""
    for part in script.split(";"):
        piece += part + ";"
        if sqlite3.complete_statement(piece) and piece.strip(" ;\n"):
            yield piece
            piece = ""
