"""Registry: every release and everything that ever happened to it, in one SQLite file.

A move and the line of history that tells it are one transaction, so a process killed at any moment leaves either both
or neither. The file itself refuses to change or delete history, to change what a release is, and to hold two
production releases of one name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from modelyard.core.canonical import canonical_json, from_json
from modelyard.core.errors import RegistryError, did_you_mean
from modelyard.registry.database import make, opened, writing
from modelyard.registry.gates import merged, verdict
from modelyard.registry.refusal import refusal, refusal_note
from modelyard.registry.release import SUNSET_AFTER, Action, Event, Gate, Release, Stage

MOVES: dict[Stage, tuple[Stage, ...]] = {
    "development": ("staging", "archived"),
    "staging": ("production", "archived"),
    "production": ("archived",),
    "archived": ("staging",),
}
"""Where a release may go from each stage. Back to production it comes by rollback, or through staging and its gates."""


class Registry:
    """Releases with their stages and history, kept in one file that many processes may use at once.

    Parameters
    ----------
    path : path
        The SQLite file; made, with its folder, when first written to.

    Raises
    ------
    RegistryError
        If the file is not a registry, or of a newer format.
    WorkspaceError
        If it cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        make(self.path)

    @classmethod
    def at(cls, path: Path) -> Registry:
        """Return the registry of a file that is there, for a reader who looks every second."""
        registry = cls.__new__(cls)
        registry.path = path
        return registry

    def register(
        self, name: str, bundle: Path | str, hash: str, run: str, *, by: str, gates: Sequence[Gate] = (), note: str = ""
    ) -> Release:
        """Enter a bundle as the next version of a name, in development; one that is there already is returned as it is.

        Parameters
        ----------
        name : str
            The use case, as a file name.
        bundle : path
            Folder of the bundle.
        hash, run : str
            The bundle's hash, and the run it comes from.
        by : str
            Who enters it.
        gates : sequence of Gate
            The evidence, kept for the moves to come.
        note : str
            Anything worth keeping.
        """
        with writing(self.path) as db:
            known = db.execute("SELECT * FROM releases WHERE name = ? AND hash = ?", (name, hash)).fetchone()
            if known is not None:
                again = Release(**known)
                if tuple(gates) != self._evidence(db, again):
                    _tell(db, by, again, "register", again.stage, again.stage, note or "new evidence", gates)
                return again
            last = db.execute("SELECT max(version) AS v FROM releases WHERE name = ?", (name,)).fetchone()["v"]
            release = Release(name, (last or 0) + 1, "development", str(Path(bundle).absolute()), hash, run, _now())
            db.execute(
                "INSERT INTO releases (name, version, stage, bundle, hash, run, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, release.version, release.stage, release.bundle, hash, run, release.created),
            )
            _tell(db, by, release, "register", None, "development", note, gates)
            return release

    def promote(
        self,
        name: str,
        version: int | None = None,
        to: Stage | None = None,
        *,
        by: str,
        gates: Sequence[Gate] = (),
        approved_by: str | None = None,
        why: str | None = None,
        against: int | None = None,
    ) -> Release:
        """Move a release to another stage, through its gates; the production release it replaces is archived.

        Parameters
        ----------
        name, version
            Which release; default: the newest.
        to : stage, optional
            Default: the next one.
        by : str
            Who moves it.
        gates : sequence of Gate
            New answers, added to those given when it was registered and taking their place where the name is the same.
        approved_by, why : str, optional
            The person who takes the decision where gates are inconclusive, and the reason. Both are written down.
        against : int, optional
            The production version the gates compared with: refused if another has taken its place since.

        Raises
        ------
        RegistryError
            If there is no such release, the stages do not allow the move, or production has changed.
        GateFailed
            If a gate says no.
        Undecided
            If a gate is inconclusive and no person approves.
        """
        with writing(self.path) as db:
            release = self._find(db, name, version)
            target = to or MOVES[release.stage][0]
            if target not in MOVES[release.stage] or (to is None and target == "archived"):
                raise RegistryError(
                    f"{release.label} is in {release.stage} and cannot be moved to {to or 'a further stage'}.",
                    allowed=f"From {release.stage}: {', '.join(MOVES[release.stage])}.",
                )
            present = self._current(db, name, "production")
            if against is not None and (present is None or present.version != against):
                raise RegistryError(
                    f"Production of '{name}' is no longer version {against}, which the gates compared with.",
                    where=f"now: version {present.version}" if present else "now: none",
                    do="Promote again: the comparison is then made with the present one.",
                )
            refused = None
            if target != "archived":
                asked = merged(self._evidence(db, release), gates, release, present)
                answer = verdict(asked)
                person = bool(approved_by and why)
                if answer == "pass" or (answer == "inconclusive" and person):
                    note = f"approved by {approved_by}: {why}" if person else (why or "")
                    self._move(db, by, release, "promote", target, note, asked)
                else:
                    _tell(db, by, release, "refuse", release.stage, target, refusal_note(asked), asked)
                    refused = refusal(f"{release.label} was not moved to {target}.", asked)
            else:
                self._move(db, by, release, "archive", target, why or "", ())
        if refused is not None:
            # Raised after the transaction: the refusal itself belongs to the history.
            raise refused
        return self.release(name, release.version)

    def rollback(self, name: str, *, by: str, why: str = "") -> Release:
        """Put the production release before the present one back, in one step, and archive the present one.

        Raises
        ------
        RegistryError
            If there is no present or no previous one, or the previous one's bundle is gone.
        """
        with writing(self.path) as db:
            self._find(db, name, None)
            present = self._current(db, name, "production")
            if present is None:
                raise RegistryError(f"'{name}' has no release in production.", do="Nothing is to be rolled back.")
            before = self._before(db, present)
            if before is None:
                raise RegistryError(
                    f"{present.label} is the first release in production: there is none to go back to.",
                    do=f"Promote another version: modelyard history {name}",
                )
            previous = self._find(db, name, before)
            if not Path(previous.bundle).exists():
                raise RegistryError(f"The bundle of {previous.label} is gone.", where=previous.bundle, do="Restore it.")
            self._move(db, by, previous, "rollback", "production", why, ())
        return self.release(name, previous.version)

    def deprecate(
        self,
        name: str,
        version: int | None = None,
        *,
        since: datetime | None,
        sunset: datetime | None = None,
        by: str,
        why: str = "",
    ) -> Release:
        """Say from when a release is deprecated and when it ends; servers that follow the registry tell callers.

        Parameters
        ----------
        name, version
            Which release; default: the newest.
        since : datetime or None
            With a time zone; None takes it back.
        sunset : datetime, optional
            Default: 90 days later.
        by, why : str
            Who says so, and the reason.

        Raises
        ------
        RegistryError
            If there is no such release, or it would end before it is deprecated.
        """
        dates: tuple[str, str] | tuple[None, None] = (None, None)
        said = "no longer deprecated"
        if since is not None:
            dates = _stamp(since), _stamp(sunset or since + SUNSET_AFTER)
            said = f"deprecated from {dates[0]}, ends {dates[1]}"
            if dates[1] < dates[0]:
                raise RegistryError(f"It cannot be {said}.", do="Give a later --sunset.")
        with writing(self.path) as db:
            release = self._find(db, name, version)
            which = (name, release.version)
            db.execute(
                "UPDATE releases SET deprecated = ?, sunset = ? WHERE name = ? AND version = ?", (*dates, *which)
            )
            note = f"{said}: {why}" if why else said
            _tell(db, by, release, "deprecate", release.stage, release.stage, note, ())
        return self.release(*which)

    def release(self, name: str, version: int | None = None) -> Release:
        """Return one release; the newest where no version is named.

        Raises
        ------
        RegistryError
            If there is none.
        """
        with opened(self.path) as db:
            return self._find(db, name, version)

    def releases(self, name: str | None = None) -> tuple[Release, ...]:
        """Return the releases of a name, or all of them, newest first within each name."""
        with opened(self.path) as db:
            rows = db.execute(
                "SELECT * FROM releases WHERE :name IS NULL OR name = :name ORDER BY name, version DESC", {"name": name}
            ).fetchall()
        return tuple(Release(**row) for row in rows)

    def current(self, name: str, stage: Stage = "production") -> Release | None:
        """Return the newest release of a name in a stage, or None."""
        with opened(self.path) as db:
            return self._current(db, name, stage)

    def previous(self, name: str) -> Release | None:
        """Return the production release that `rollback` would put back, or None."""
        with opened(self.path) as db:
            present = self._current(db, name, "production")
            before = None if present is None else self._before(db, present)
            return None if before is None else self._find(db, name, before)

    def holding(self, name: str, hash: str) -> Release | None:
        """Return the release of a name that is this bundle, or None."""
        with opened(self.path) as db:
            row = db.execute("SELECT * FROM releases WHERE name = ? AND hash = ?", (name, hash)).fetchone()
        return None if row is None else Release(**row)

    def history(self, name: str | None = None, version: int | None = None) -> tuple[Event, ...]:
        """Return what happened, oldest first: to a release, to a name, or to all.

        Raises
        ------
        RegistryError
            If there is no such name or version.
        """
        with opened(self.path) as db:
            if name is not None:
                self._find(db, name, version)
            rows = db.execute(
                "SELECT * FROM history"
                " WHERE (:name IS NULL OR name = :name) AND (:version IS NULL OR version = :version) ORDER BY id",
                {"name": name, "version": version},
            ).fetchall()
        return tuple(_event(row) for row in rows)

    def _find(self, db: sqlite3.Connection, name: str, version: int | None) -> Release:
        rows = db.execute("SELECT * FROM releases WHERE name = ? ORDER BY version DESC", (name,)).fetchall()
        if not rows:
            names = [row["name"] for row in db.execute("SELECT DISTINCT name FROM releases ORDER BY name")]
            raise RegistryError(
                f"No release is called '{name}'.",
                where=str(self.path),
                allowed=did_you_mean(name, names)
                or (f"Names: {', '.join(names)}." if names else "The registry is empty."),
                do="Register a run: modelyard register RUN",
            )
        found = next((row for row in rows if version in (None, row["version"])), None)
        if found is None:
            raise RegistryError(
                f"'{name}' has no version {version}.",
                allowed=f"Versions: {', '.join(str(row['version']) for row in reversed(rows))}.",
            )
        return Release(**found)

    @staticmethod
    def _current(db: sqlite3.Connection, name: str, stage: Stage) -> Release | None:
        row = db.execute(
            "SELECT * FROM releases WHERE name = ? AND stage = ? ORDER BY version DESC LIMIT 1", (name, stage)
        ).fetchone()
        return None if row is None else Release(**row)

    @staticmethod
    def _before(db: sqlite3.Connection, present: Release) -> int | None:
        """Return the version that the present one took the place of; one that was rolled back from is left out."""
        moves = db.execute(
            "SELECT version, action FROM history WHERE name = ? AND action IN ('promote', 'rollback')"
            " AND after = 'production' ORDER BY id",
            (present.name,),
        )
        way: list[int] = []
        for move in moves:
            if move["action"] == "rollback":
                while way and way[-1] != move["version"]:
                    way.pop()
            if not way or way[-1] != move["version"]:
                way.append(move["version"])
        return way[-2] if len(way) > 1 else None

    @staticmethod
    def _evidence(db: sqlite3.Connection, release: Release) -> tuple[Gate, ...]:
        row = db.execute(
            "SELECT gates FROM history WHERE name = ? AND version = ? AND action = 'register' ORDER BY id DESC LIMIT 1",
            (release.name, release.version),
        ).fetchone()
        return from_json(row["gates"], tuple[Gate, ...])

    def _move(
        self,
        db: sqlite3.Connection,
        by: str,
        release: Release,
        action: Action,
        to: Stage,
        note: str,
        gates: Sequence[Gate],
    ) -> None:
        if to == "production":
            present = self._current(db, release.name, "production")
            if present is not None:
                _stage(db, present, "archived")
                _tell(
                    db, by, present, "archive", "production", "archived", f"replaced by version {release.version}", ()
                )
        _stage(db, release, to)
        _tell(db, by, release, action, release.stage, to, note, gates)


def _stage(db: sqlite3.Connection, release: Release, stage: Stage) -> None:
    db.execute("UPDATE releases SET stage = ? WHERE name = ? AND version = ?", (stage, release.name, release.version))


def _tell(
    db: sqlite3.Connection,
    by: str,
    release: Release,
    action: Action,
    before: Stage | None,
    after: Stage | None,
    note: str,
    gates: Sequence[Gate],
) -> None:
    db.execute(
        "INSERT INTO history (at, by, name, version, action, before, after, note, gates) VALUES (?,?,?,?,?,?,?,?,?)",
        (_now(), by, release.name, release.version, action, before, after, note, canonical_json(tuple(gates)).decode()),
    )


def _event(row: dict[str, str]) -> Event:
    kept = {key: value for key, value in row.items() if key not in {"id", "gates"}}
    return Event(**kept, gates=from_json(row["gates"], tuple[Gate, ...]))  # type: ignore[arg-type]


def _now() -> str:
    return _stamp(datetime.now(UTC))


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
