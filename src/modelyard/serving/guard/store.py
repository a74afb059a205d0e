"""The file of keys: made, rotated and revoked by a person, read by every worker."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from modelyard.core.errors import ServingError, WorkspaceError, did_you_mean
from modelyard.core.files import guarded
from modelyard.core.write_ahead import write_ahead
from modelyard.serving.guard.admitted import PERMISSIONS
from modelyard.serving.guard.key import Key, Secret, digest, new_id, new_secret
from modelyard.serving.guard.limit import Limit

FILE = "keys.db"
"""Its name in a workspace."""
FORMAT = 1
"""Counts up with every change of the tables; a newer file than the reader's is refused."""
_SECONDS = 30  # how long a process waits for its turn to write
_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS keys (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, permissions TEXT NOT NULL, rate INTEGER, burst INTEGER,
  created REAL NOT NULL, by TEXT NOT NULL, expires REAL, revoked REAL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_of_a_name ON keys (name) WHERE revoked IS NULL;
CREATE TABLE IF NOT EXISTS secrets (
  key TEXT NOT NULL REFERENCES keys (id), digest BLOB PRIMARY KEY, created REAL NOT NULL, ends REAL
) STRICT;
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class KeyStore:
    """The keys of a workspace, in SQLite; nothing is ever deleted.

    Parameters
    ----------
    path : path
        The file; its folder is made, and the file too where there is none.

    Raises
    ------
    WorkspaceError
        If it cannot be written, is no store of keys, or is of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with guarded(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened() as db:
            if _format(db) == 0:
                write_ahead(db, _SECONDS)
                db.executescript(_TABLES)

    def listed(self) -> tuple[Key, ...]:
        """Return every key, oldest first."""
        with self._opened() as db:
            return read_keys(db)

    def create(
        self,
        name: str,
        permissions: Iterable[str] = ("predict",),
        *,
        by: str,
        rate: int | None = None,
        burst: int | None = None,
        seconds: float | None = None,
    ) -> tuple[Key, str]:
        """Make a key; return it and its secret, which is not kept.

        Parameters
        ----------
        name : str
            What a person calls it.
        permissions : iterable of str
            What it may do.
        by : str
            Who makes it.
        rate, burst : int, optional
            A limit of its own: requests a minute, and at once.
        seconds : float, optional
            After how long it ends; None never ends it.

        Raises
        ------
        ServingError
            If the name is taken, a permission does not exist, or the limit is out of range.
        """
        allowed = tuple(p for p in PERMISSIONS if p in set(permissions))
        unknown = sorted(set(permissions) - set(PERMISSIONS))
        if unknown or not allowed:
            what = f"There is no permission '{unknown[0]}'." if unknown else "A key needs a permission."
            raise ServingError(what, allowed=", ".join(PERMISSIONS))
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise ServingError("A key needs a name.", allowed="1 to 100 printable characters.")
        if burst is not None and rate is None:
            raise ServingError("A burst of its own needs a rate of its own.")
        if rate is not None:
            Limit.a_minute(rate, burst)
        now, id = time.time(), new_id()
        secret = new_secret(id)
        with self._writing() as db:
            if db.execute("SELECT 1 FROM keys WHERE name = ? AND revoked IS NULL", (name,)).fetchone():
                raise ServingError(
                    f"There is a key called '{name}'.", do="Rotate or revoke it, or choose another name."
                )
            db.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (id, name, " ".join(allowed), rate, burst, now, by, None if seconds is None else now + seconds),
            )
            _keep(db, id, secret, now)
            return _found(db, id), secret

    def rotate(self, word: str, *, overlap: float, seconds: float | None = None) -> tuple[Key, str]:
        """Give a key another secret; return both.

        Parameters
        ----------
        word : str
            The key's id or name.
        overlap : float
            Seconds for which older secrets still let it in.
        seconds : float, optional
            After how long the key ends, counted from now; None leaves its end as it is.

        Raises
        ------
        ServingError
            If there is no such key, or it is revoked, or has expired and is given no new end.
        """
        now = time.time()
        with self._writing() as db:
            key = _found(db, word)
            if seconds is not None:
                db.execute("UPDATE keys SET expires = ? WHERE id = ?", (now + seconds, key.id))
            elif key.state(now) == "expired":
                raise ServingError(
                    f"The key '{word}' has expired.", do="Give it a new end with --expires, such as 90d."
                )
            secret = new_secret(key.id)
            ends = now + overlap
            db.execute("UPDATE secrets SET ends = min(ifnull(ends, ?), ?) WHERE key = ?", (ends, ends, key.id))
            _keep(db, key.id, secret, now)
            return _found(db, key.id), secret

    def revoke(self, word: str) -> Key:
        """End a key for good.

        Raises
        ------
        ServingError
            If there is no such key, or it is revoked already.
        """
        with self._writing() as db:
            key = _found(db, word)
            db.execute("UPDATE keys SET revoked = ? WHERE id = ?", (time.time(), key.id))
            return next(k for k in read_keys(db) if k.id == key.id)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_SECONDS, isolation_level=None)) as db:
                found = _format(db)
                if found > FORMAT:
                    raise WorkspaceError(
                        f"The keys are of format {found}; this modelyard reads format {FORMAT}.",
                        where=str(self.path),
                        do="Update modelyard.",
                    )
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("PRAGMA synchronous = FULL")
                yield db
        except sqlite3.Error as error:
            raise WorkspaceError(
                f"The keys cannot be used: {error}.", where=str(self.path), do="See that its folder can be written."
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


def read_keys(db: sqlite3.Connection) -> tuple[Key, ...]:
    """Return every key of an open file, oldest first."""
    held: dict[str, list[Secret]] = {}
    rows: list[tuple[Any, ...]] = db.execute(
        "SELECT keys.*, secrets.* FROM keys JOIN secrets ON key = id ORDER BY keys.created, id, secrets.created DESC"
    ).fetchall()
    for *_, key, kept, created, ends in rows:
        held.setdefault(key, []).append(Secret(kept, created, ends))
    facts = {row[0]: row[:9] for row in rows}
    return tuple(
        Key(id, name, tuple(permissions.split()), rate, burst, created, by, expires, revoked, tuple(held[id]))
        for id, name, permissions, rate, burst, created, by, expires, revoked in facts.values()
    )


def _keep(db: sqlite3.Connection, key: str, secret: str, now: float) -> None:
    db.execute("INSERT INTO secrets VALUES (?, ?, ?, NULL)", (key, digest(secret.encode()), now))


def _found(db: sqlite3.Connection, word: str) -> Key:
    """Return the key of that id or name which is not revoked."""
    keys = read_keys(db)
    for key in keys:
        if key.revoked is None and word in (key.id, key.name):
            return key
    if any(word in (key.id, key.name) for key in keys):
        raise ServingError(f"The key '{word}' is revoked.", do="Make another: modelyard keys create NAME")
    near = did_you_mean(word, [n for k in keys if k.revoked is None for n in (k.id, k.name)])
    raise ServingError(f"There is no key '{word}'.", do=f"{near or ''} All keys: modelyard keys list".strip())


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
