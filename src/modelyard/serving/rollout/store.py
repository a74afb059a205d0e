"""store: the file that keeps every rollout, every look and every decision."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from modelyard.core.errors import ServingError, WorkspaceError
from modelyard.core.files import guarded
from modelyard.core.write_ahead import write_ahead
from modelyard.serving.rollout.rollout import OPEN, Arm, Decision, Plan, Reading, Rollout

FILE = "rollouts.db"
_FORMAT = 1
_SECONDS = 10
_TABLES = f"""
CREATE TABLE IF NOT EXISTS rollouts (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, plan TEXT NOT NULL, stable TEXT NOT NULL, candidate TEXT NOT NULL,
  state TEXT NOT NULL, step INTEGER NOT NULL, started REAL NOT NULL, stepped REAL NOT NULL, changed REAL NOT NULL,
  why TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_open ON rollouts (name) WHERE state IN ('running', 'paused', 'held');
CREATE TABLE IF NOT EXISTS looks (
  id INTEGER PRIMARY KEY, rollout INTEGER NOT NULL REFERENCES rollouts (id), at REAL NOT NULL, step INTEGER NOT NULL,
  share REAL NOT NULL, readings TEXT NOT NULL, decision TEXT NOT NULL, why TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS decisions (
  id INTEGER PRIMARY KEY, rollout INTEGER NOT NULL REFERENCES rollouts (id), at REAL NOT NULL, by TEXT NOT NULL,
  before TEXT NOT NULL, after TEXT NOT NULL, step INTEGER NOT NULL, why TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS looks_kept BEFORE DELETE ON looks BEGIN SELECT RAISE(ABORT, 'looks are kept'); END;
CREATE TRIGGER IF NOT EXISTS looks_fixed BEFORE UPDATE ON looks BEGIN SELECT RAISE(ABORT, 'looks are kept'); END;
CREATE TRIGGER IF NOT EXISTS decisions_kept BEFORE DELETE ON decisions
  BEGIN SELECT RAISE(ABORT, 'decisions are kept'); END;
CREATE TRIGGER IF NOT EXISTS decisions_fixed BEFORE UPDATE ON decisions
  BEGIN SELECT RAISE(ABORT, 'decisions are kept'); END;
PRAGMA user_version = {_FORMAT};
"""
_INDEX = "CREATE INDEX IF NOT EXISTS looks_of ON looks (rollout)"
"""So that looks are counted without being read; older files of this format have none yet."""


class Rollouts:
    """The rollouts of a workspace.

    Parameters
    ----------
    folder : path
        Where the file lies; made if it is not there.

    Raises
    ------
    WorkspaceError
        If it cannot be read or written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        with guarded(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._opened() as db:
            found = int(db.execute("PRAGMA user_version").fetchone()[0])
            if found > _FORMAT:
                raise WorkspaceError(
                    f"The rollouts are of format {found}; this modelyard reads format {_FORMAT}.",
                    where=str(self.folder / FILE),
                    do="Update modelyard.",
                )
            if found < _FORMAT:
                write_ahead(db, _SECONDS)
                db.executescript(_TABLES)
            db.execute(_INDEX)

    def start(
        self,
        name: str,
        plan: Plan,
        stable: Arm,
        candidate: Arm,
        by: str = "",
        at: float | None = None,
        why: str = "started",
    ) -> Rollout:
        """Enter a rollout.

        Raises
        ------
        ServingError
            If the use case has an open one, or both arms are the same bundle.
        """
        if stable.hash == candidate.hash:
            raise ServingError("The candidate is the bundle that serves.", where=candidate.path, do="Name another one.")
        now = time.time() if at is None else at
        with self._writing() as db:
            there = self._last(db, name)
            if there is not None and there.state in OPEN:
                raise ServingError(
                    f"'{name}' has an open rollout: number {there.id} is {there.state}.",
                    allowed="One at a time.",
                    do=f"End it first: modelyard rollout rollback {name}",
                )
            texts = (_text(plan), _text(stable), _text(candidate))
            cursor = db.execute(
                "INSERT INTO rollouts (name, plan, stable, candidate, state, step, started, stepped, changed, why) "
                "VALUES (?, ?, ?, ?, 'running', 0, ?, ?, ?, ?)",
                (name, *texts, now, now, now, why),
            )
            number = int(cursor.lastrowid or 0)
            made = Rollout(number, name, plan, stable, candidate, "running", 0, now, now, now, why)
            self._decided(db, "", made, by, now)
        return made

    def last(self, name: str) -> Rollout | None:
        """Return the newest rollout of a use case."""
        with self._opened() as db:
            return self._last(db, name)

    def all(self) -> list[Rollout]:
        """Return every rollout, newest first."""
        with self._opened() as db:
            return [_rollout(row) for row in db.execute("SELECT * FROM rollouts ORDER BY id DESC")]

    def move(self, rollout: Rollout, by: str) -> Rollout:
        """Write down where a rollout stands after somebody, or its own evidence, has moved it.

        Raises
        ------
        ServingError
            If it was moved to a final state in the meantime by somebody else.
        """
        with self._writing() as db:
            return self._move(db, rollout, by)

    def look(
        self,
        rollout: Rollout,
        readings: Sequence[Reading],
        decision: Decision,
        why: str,
        moved: Rollout,
        memory: bytes,
        at: float,
    ) -> Rollout:
        """Write down a look, what follows from it, and what the next look needs, together.

        Who moved the rollout while the look was made goes before it.
        """
        with self._writing() as db:
            db.execute(
                "INSERT INTO looks (rollout, at, step, share, readings, decision, why) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (rollout.id, at, rollout.step, rollout.share, _text(readings), decision, why),
            )
            self._remember(db, rollout.name, memory)
            there = _rollout(db.execute("SELECT * FROM rollouts WHERE id = ?", (rollout.id,)).fetchone())
            return there if moved == rollout or there != rollout else self._move(db, moved, "modelyard")

    def remember(self, name: str, memory: bytes) -> None:
        """Keep what the next look at a use case needs."""
        with self._writing() as db:
            self._remember(db, name, memory)

    def memory(self, name: str) -> bytes:
        """Return what the last look at a use case left, empty before the first."""
        with self._opened() as db:
            row = db.execute("SELECT content FROM memory WHERE name = ?", (name,)).fetchone()
        return b"" if row is None else bytes(row["content"])

    def looks(self, rollout: int, newest: int | None = None) -> list[dict[str, Any]]:
        """Return the looks of a rollout, oldest first.

        Parameters
        ----------
        rollout : int
            Its number.
        newest : int, optional
            How many of the newest ones; default: all. One a minute for two weeks is 20,000.
        """
        with self._opened() as db:
            rows = db.execute(
                "SELECT * FROM looks WHERE rollout = ? ORDER BY id DESC LIMIT ?",
                (rollout, -1 if newest is None else newest),
            ).fetchall()
        return [
            {key: row[key] for key in ("at", "step", "share", "decision", "why")}
            | {"readings": msgspec.json.decode(row["readings"], type=list[Reading])}
            for row in reversed(rows)
        ]

    def count_looks(self, rollout: int) -> int:
        """Return how many looks a rollout has had."""
        with self._opened() as db:
            return int(db.execute("SELECT count(*) FROM looks WHERE rollout = ?", (rollout,)).fetchone()[0])

    def decisions(self, rollout: int) -> list[dict[str, Any]]:
        """Return every change of state of a rollout, oldest first."""
        with self._opened() as db:
            return [
                dict(row) for row in db.execute("SELECT * FROM decisions WHERE rollout = ? ORDER BY id", (rollout,))
            ]

    def _move(self, db: sqlite3.Connection, rollout: Rollout, by: str) -> Rollout:
        before = db.execute("SELECT state, step FROM rollouts WHERE id = ?", (rollout.id,)).fetchone()
        if before["state"] in ("rolled_back", "ended"):
            raise ServingError(
                f"Rollout {rollout.id} of '{rollout.name}' has ended: it is {before['state'].replace('_', ' ')}.",
                do="Start another.",
            )
        db.execute(
            "UPDATE rollouts SET state = ?, step = ?, stepped = ?, changed = ?, why = ? WHERE id = ?",
            (rollout.state, rollout.step, rollout.stepped, rollout.changed, rollout.why, rollout.id),
        )
        self._decided(db, str(before["state"]), rollout, by, rollout.changed)
        return rollout

    def _remember(self, db: sqlite3.Connection, name: str, memory: bytes) -> None:
        db.execute("INSERT OR REPLACE INTO memory (name, content) VALUES (?, ?)", (name, memory))

    def _decided(self, db: sqlite3.Connection, before: str, rollout: Rollout, by: str, at: float) -> None:
        db.execute(
            "INSERT INTO decisions (rollout, at, by, before, after, step, why) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (rollout.id, at, by, before, rollout.state, rollout.step, rollout.why),
        )

    def _last(self, db: sqlite3.Connection, name: str) -> Rollout | None:
        row = db.execute("SELECT * FROM rollouts WHERE name = ? ORDER BY id DESC LIMIT 1", (name,)).fetchone()
        return None if row is None else _rollout(row)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        db = None
        try:
            db = sqlite3.connect(self.folder / FILE, timeout=_SECONDS, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            yield db
        except sqlite3.Error as error:
            raise WorkspaceError(
                f"The rollouts cannot be read or written: {error}.",
                where=str(self.folder / FILE),
                do="See that its folder can be written.",
            ) from error
        finally:
            if db is not None:
                db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _rollout(row: sqlite3.Row) -> Rollout:
    parts = {"plan": Plan, "stable": Arm, "candidate": Arm}
    fields = {
        key: msgspec.json.decode(row[key], type=parts[key]) if key in parts else row[key] for key in tuple(row.keys())
    }
    return Rollout(**fields)
