"""Workspace: the folder that keeps runs, registry and tracking, on a laptop with no server."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from modelyard.core.canonical import from_json, pretty_json
from modelyard.core.errors import WorkspaceError, did_you_mean
from modelyard.core.files import guarded, write_atomic
from modelyard.registry.database import FILE

Status = Literal["running", "finished", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Record:
    """What the workspace knows of a run without loading it.

    Attributes
    ----------
    name, id : str
        Full name, and its short last part.
    key : str
        Hash of brief and data: a second run of the same key takes up the first one's finished steps.
    status : {"running", "finished", "failed", "interrupted"}
        "interrupted" is what a running one is called whose process was killed: nobody holds its lock.
    created : str
        UTC, ISO 8601.
    use_case, metric : str
        From the plan.
    summary : mapping
        What ``develop --json`` prints, once finished.
    """

    name: str
    id: str
    key: str
    status: Status
    created: str
    use_case: str
    metric: str
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder that keeps runs, registry and tracking.

    ::

        runs/<name>/   one run: plan, steps, report, bundle, six documents
        registry.db    releases, stages, history
        predictions/   what servers were asked and answered, and what came true
        log.key        what columns of it are hashed with
        keys.db        API keys of servers
        mlflow.db      tracking, with its files under mlruns/
    """

    root: Path

    @classmethod
    def open(cls, root: Path | str | None = None) -> Workspace:
        """Open a workspace, making its folder where there is none.

        Parameters
        ----------
        root : path, optional
            Default: the environment's ``MODELYARD_WORKSPACE``, else ``yard`` in the present folder.

        Raises
        ------
        WorkspaceError
            If the folder cannot be written.
        """
        path = Path(root or os.environ.get("MODELYARD_WORKSPACE") or "yard").absolute()
        with guarded(path):
            (path / "runs").mkdir(parents=True, exist_ok=True)
            # Asked before compute is spent: permission bits alone do not tell of a read-only or full disk.
            probe = path / f".write-{os.getpid()}"
            probe.write_bytes(b"modelyard")
            probe.unlink()
        return cls(path)

    @property
    def runs(self) -> Path:
        """The folder of runs."""
        return self.root / "runs"

    @property
    def registry(self) -> Path:
        """The registry's file."""
        return self.root / FILE

    def folder(self, record: Record) -> Path:
        """Return the folder of a run."""
        return self.runs / record.name

    def records(self) -> tuple[Record, ...]:
        """Return every run, newest first."""
        found = []
        for path in self.runs.glob("*/run.json"):
            try:
                record = from_json(path.read_bytes(), Record)
            except (msgspec.MsgspecError, OSError) as error:
                raise WorkspaceError(
                    "A run's record cannot be read.", where=str(path), do=f"Move the folder away. ({error})"
                ) from error
            killed = record.status == "running" and not self._held(record)
            found.append(replace(record, status="interrupted") if killed else record)
        return tuple(sorted(found, key=lambda r: (r.created, r.name), reverse=True))

    def find(self, word: str) -> Record:
        """Return the run of that name or id; "last" is the newest finished one.

        Raises
        ------
        WorkspaceError
            If there is none.
        """
        records = self.records()
        for record in records:
            if word in (record.name, record.id) or (word == "last" and record.status == "finished"):
                return record
        near = did_you_mean(word, [r.id for r in records] + [r.name for r in records])
        raise WorkspaceError(
            f"No run is called '{word}'.", where=str(self.runs), do=f"{near or ''} All runs: modelyard runs".strip()
        )

    def recipe(self, word: str) -> Path:
        """Return a file that holds a recipe: the one named, or that of the run of that name or id.

        Raises
        ------
        WorkspaceError
            If there is neither.
        """
        path = Path(word)
        return path if path.is_file() else self.folder(self.find(word)) / "recipe.json"

    def unfinished(self, key: str) -> Record | None:
        """Return a run of this key that was killed or failed, or None."""
        return next((r for r in self.records() if r.key == key and r.status != "finished"), None)

    def write(self, record: Record) -> Record:
        """Write down what is known of a run."""
        write_atomic(self.folder(record) / "run.json", pretty_json(record))
        return record

    def close(self, record: Record, status: Status, summary: dict[str, Any] | None = None) -> Record:
        """Write down how a run ended."""
        return self.write(replace(record, status=status, summary=summary or {}))

    def _held(self, record: Record) -> bool:
        """Say whether a process is working on a run."""
        try:
            with (self.folder(record) / ".lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextmanager
    def lock(self, record: Record) -> Iterator[None]:
        """Hold a run while working on it; the operating system lets go when the process dies, however it dies.

        Raises
        ------
        WorkspaceError
            If another process holds it.
        """
        folder = self.folder(record)
        with guarded(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WorkspaceError(
                    f"Another process is working on run '{record.id}' already.",
                    where=str(folder),
                    do="Wait for it, or change the brief's seed to start a second run.",
                ) from None
            yield
        finally:
            os.close(handle)


def now() -> str:
    """Return this moment, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
