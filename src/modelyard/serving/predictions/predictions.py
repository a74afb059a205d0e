"""Predictions: a prediction log as it is read: what the store has already, and what is in files still."""

from __future__ import annotations

import calendar
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from modelyard.core.errors import WorkspaceError
from modelyard.core.files import hold
from modelyard.serving.predictions.frames import SUFFIX, frames
from modelyard.serving.predictions.record import Chosen, Entry, Record
from modelyard.serving.predictions.store import FILE, Store, kind_of, open_store

STAMP = "%Y%m%dT%H%M%S"
"""How a file's name begins: when it was begun (UTC), and a ``-`` behind it."""
_LOCK, _LOADED = ".lock", ".loaded"
_EVERYTHING = Chosen()


@dataclass(frozen=True, slots=True)
class Predictions:
    """A prediction log: the folder that servers write to, and the store that its files are loaded into.

    Attributes
    ----------
    folder : path
        Where the files lie.
    store : str or None
        ``postgresql://...``, or a file for SQLite; None is ``store.db`` in the folder.

    Raises
    ------
    WorkspaceError
        If there is no such kind of store.
    """

    folder: Path
    store: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no store is called now: whoever loads the log may be another process."""
        kind_of(self.store or FILE)

    def open(self) -> Store:
        """Open the store, making it where there is none.

        Raises
        ------
        MissingExtra, WorkspaceError
            See `open_store`.
        """
        return open_store(self.store or self.folder / FILE)

    def files(self) -> list[Path]:
        """Return the files that wait to be loaded, in the order they were begun."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def loaded(self) -> float:
        """Return the moment up to which everything that was written is in the store, seconds since 1970 (UTC).

        The store is not asked, as it may be what is gone. Where nothing was ever loaded, it is when the first file was
        begun, or now where there is none.
        """
        with suppress(OSError):
            return (self.folder / _LOADED).stat().st_mtime
        waiting = self.files()
        if not waiting:
            return time.time()
        try:
            return float(calendar.timegm(time.strptime(waiting[0].name.partition("-")[0], STAMP)))
        except ValueError:  # somebody else's name
            return 0.0

    def say_loaded(self, until: float) -> None:
        """Note that everything that was written before a moment is in the store."""
        path = self.folder / _LOADED
        path.touch(0o640)
        os.utime(path, (until, until))

    def records(self, chosen: Chosen = _EVERYTHING) -> Iterator[Record]:
        """Return the records asked for: those of the store in order of their moments, then those of the files.

        It can be read while it is written; nothing is loaded meanwhile.

        Raises
        ------
        WorkspaceError
            If there is no such folder, or the store cannot be used.
        """
        if not self.folder.is_dir():
            raise no_log(self.folder)
        with self.held(alone=False):
            places: dict[str, int] = {}
            waiting = self.files()
            if self.store is not None or (self.folder / FILE).exists():
                with closing(self.open()) as store:
                    yield from store.records(chosen)
                    places = {path.name: store.place(path.name) for path in waiting}
            for path in waiting:
                for held, _, _ in frames(path.read_bytes(), places.get(path.name, 0)):
                    if isinstance(held, Entry) and held in chosen:
                        yield held.record()

    def newest(self, model: str) -> float | None:
        """Return the moment of a model's newest record, or None.

        Raises
        ------
        WorkspaceError
            See `records`.
        """
        return max((record.at for record in self.records(Chosen(model, since=self._held_until(model)))), default=None)

    def _held_until(self, model: str) -> float | None:
        if self.store is None and not (self.folder / FILE).exists():
            return None
        with closing(self.open()) as store:
            return store.newest(model)

    def known(self, ids: Sequence[str], store: Store | None = None) -> set[str]:
        """Return those of the ids that records have, in the store or in files.

        Parameters
        ----------
        ids : sequence of str
            Ids of predictions.
        store : Store, optional
            The log's store, where it is open already; default: it is opened for this once.

        Raises
        ------
        MissingExtra, WorkspaceError
            See `open_store`.
        """
        wanted = set(ids)
        with self.held(alone=False), closing(self.open()) if store is None else nullcontext(store) as opened:
            found = opened.known(list(ids))
            for path in self.files():
                if found == wanted:
                    break
                waiting = frames(path.read_bytes(), opened.place(path.name))
                found |= {held.id for held, _, _ in waiting if isinstance(held, Entry) and held.id in wanted}
        return found

    @contextmanager
    def held(self, *, alone: bool, wait: bool = True) -> Iterator[bool]:
        """Hold the log: readers together, so that no record moves while they read, or a loader alone.

        Parameters
        ----------
        alone : bool
            Whether nobody else may hold it.
        wait : bool
            Whether to wait for that; else False is given where another holds it.
        """
        try:
            file = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o640)
        except OSError:
            if alone:
                raise
            yield False  # a folder that cannot be written: no loader can work on it
            return
        try:
            yield hold(file, alone=alone, wait=wait)
        finally:
            os.close(file)


def no_log(folder: Path) -> WorkspaceError:
    """Return the error for a folder that is not there."""
    return WorkspaceError("There is no prediction log.", where=str(folder), do="Serve with --log FOLDER.")
