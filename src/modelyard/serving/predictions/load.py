"""load: move the files of a prediction log into its store, each record once, and remove them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from modelyard.core.errors import ModelyardError, WorkspaceError
from modelyard.core.files import guarded, hold
from modelyard.serving.predictions.frames import frames
from modelyard.serving.predictions.predictions import Predictions, no_log
from modelyard.serving.predictions.record import Entry, Label
from modelyard.serving.predictions.store import Piece, Store

DAMAGED = ".damaged"
"""Suffix of a loaded file that held more than whole records: kept until it is as old as what retention removes."""
_READ = 4 * 2**20
"""Bytes read at a time, and loaded in one transaction."""
_PRUNE_EVERY = 3_600.0
_LONGEST_PAUSE = 60.0
_DAY = 86_400.0

_LOGGER = logging.getLogger("modelyard.serving")


@dataclass(frozen=True, slots=True)
class Keep:
    """How much is kept: records not older than so many days, and at most so many bytes; None keeps all."""

    days: float | None = 90.0
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one pass did: records and labels moved, files removed; `busy` where another process holds the log."""

    records: int = 0
    labels: int = 0
    files: int = 0
    busy: bool = False


def load(log: Predictions, store: Store, *, wait: bool = True) -> Loaded:
    """Move everything that is written whole into the store, and remove the files nobody writes to any more.

    A batch and the place it ends at are one transaction, so that a process that is killed anywhere leaves nothing out
    and loads nothing twice.

    Parameters
    ----------
    log, store : Predictions, Store
        From where, and where to.
    wait : bool
        Whether to wait where another process holds the log.

    Raises
    ------
    WorkspaceError
        If the store cannot be used or the folder not written; what was not moved stays where it is.
    """
    if not log.folder.is_dir():
        raise no_log(log.folder)
    records = labels = 0
    removed: list[str] = []
    complete = True
    with guarded(log.folder), log.held(alone=True, wait=wait) as held:
        if not held:
            return Loaded(busy=True)
        began = time.time()
        for path in log.files():
            file = os.open(path, os.O_RDONLY)
            try:
                # Asked before it is read: what is written later is found by the next pass.
                finished = hold(file, alone=True, wait=False)
                more, told, whole = _load_file(path, store, finished)
                records, labels = records + more, labels + told
                complete = complete and (whole or finished)
                if finished:
                    path.unlink() if whole else path.rename(path.with_suffix(DAMAGED))
                    removed.append(path.name)
            finally:
                os.close(file)
        store.forget(removed)
        if complete:
            log.say_loaded(began)
    return Loaded(records, labels, len(removed))


def prune(log: Predictions, store: Store, keep: Keep) -> int:
    """Remove what is older than is kept, or more; return how many records went.

    Raises
    ------
    WorkspaceError
        If the store cannot be used.
    """
    before = 0.0 if keep.days is None else time.time() - keep.days * _DAY
    for path in log.folder.glob(f"*{DAMAGED}"):
        if path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
    return store.prune(before, keep.bytes)


def follow(log: Predictions, keep: Keep, stop: threading.Event, *, every: float = 1.0) -> None:
    """Load again and again until told to stop, and once more then; a store that cannot be used is tried again later.

    Parameters
    ----------
    log : Predictions
        From where, and where to.
    keep : Keep
        What is removed, every hour.
    stop : threading.Event
        Set to stop.
    every : float
        Seconds between two passes.
    """
    with guarded(log.folder):
        log.folder.mkdir(parents=True, exist_ok=True)
    store: Store | None = None
    pruned, pause = -_PRUNE_EVERY, every
    while True:
        last = stop.is_set()
        try:
            store = store or log.open()
            load(log, store, wait=False)
            if time.monotonic() - pruned >= _PRUNE_EVERY:
                prune(log, store, keep)
                pruned = time.monotonic()
            pause = every
        except (ModelyardError, OSError) as error:
            _LOGGER.error("the prediction log is not loaded: %s", error)
            if store is not None:
                with closing(store):
                    store = None
            pause = min(2 * pause, _LONGEST_PAUSE)
        if last:
            break
        stop.wait(pause)
    if store is not None:
        store.close()


def _load_file(path: Path, store: Store, finished: bool) -> tuple[int, int, bool]:
    """Load a file from where loading stands; return how many records and labels, and whether that is all it holds.

    While the file grows, loading stops before a stretch that is no frame, so that the last pass sees it too.
    """
    place, most = store.place(path.name), _READ
    records = labels = 0
    whole = True
    with path.open("rb") as file:
        while True:
            file.seek(place)
            content = file.read(most)
            some = list(frames(content))
            begins = [0, *(end for _, _, end in some)]
            gap = next((i for i, (_, begin, _) in enumerate(some) if begin != begins[i]), None)
            if gap is not None and not finished:
                some = some[:gap]
            if some:
                piece = _piece(path.name, place, some)
                if not store.add(piece):
                    raise WorkspaceError(
                        f"The store has loaded another file of this name: {path.name}.",
                        where=str(path.parent),
                        do="Give each server a folder of its own.",
                    )
                records, labels = records + len(piece.records), labels + len(piece.labels)
                place = piece.end
            whole = whole and gap is None
            if len(content) < most or (gap is not None and not finished):
                return records, labels, whole and (not finished or place == path.stat().st_size)
            if not some:
                most *= 2  # one frame is longer than what was read


def _piece(name: str, place: int, some: Sequence[tuple[Entry | list[Label], int, int]]) -> Piece:
    return Piece(
        name,
        place,
        place + some[-1][2],
        [(held, end - begin) for held, begin, end in some if isinstance(held, Entry)],
        [label for held, _, _ in some if not isinstance(held, Entry) for label in held],
    )
