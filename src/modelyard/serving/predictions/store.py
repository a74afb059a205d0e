"""Store: where records and labels go from the files, and are asked for; SQLite beside the files, or Postgres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from modelyard.core.errors import WorkspaceError
from modelyard.serving.predictions.record import Chosen, Entry, Label, Record

FILE = "store.db"
"""The SQLite store of a prediction log's folder."""
_KINDS = {
    "sqlite": "modelyard.serving.predictions.sqlite:SqliteStore",
    "postgresql": "modelyard.adapters.postgres_store:PostgresStore",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a file, and what it holds.

    Attributes
    ----------
    file : str
        Name of the file.
    start, end : int
        Bytes: where loading stood before, and where it stands after.
    records : sequence of (Entry, int)
        Each with the bytes it takes.
    labels : sequence of Label
        In the order they were sent in.
    """

    file: str
    start: int
    end: int
    records: Sequence[tuple[Entry, int]]
    labels: Sequence[Label]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a store holds of one model, version and variant.

    Attributes
    ----------
    model, version, variant : str
        As the records have them.
    requests, rows, labelled : int
        Requests, their rows, and how many of the rows have a label.
    first, last : float
        Moments of the oldest and the newest record, seconds since 1970 (UTC).
    milliseconds : float
        Mean time of a request.
    bytes : int
        Of the records.
    """

    model: str
    version: str
    variant: str
    requests: int
    rows: int
    labelled: int
    first: float
    last: float
    milliseconds: float
    bytes: int


class Store(Protocol):
    """Keeps records by id, labels by id and row with their history, and how far each file was loaded.

    Methods raise WorkspaceError when the store cannot be used.
    """

    def place(self, file: str) -> int:
        """Return how many bytes of a file were loaded."""

    def add(self, piece: Piece) -> bool:
        """Add a piece in one transaction; False, and nothing is added, where loading stood elsewhere."""

    def forget(self, files: Sequence[str]) -> None:
        """Forget files that were removed."""

    def records(self, chosen: Chosen) -> Iterator[Record]:
        """Return records in the order of their moments."""

    def newest(self, model: str) -> float | None:
        """Return the moment of a model's newest record, or None."""

    def labels(self, ids: Sequence[str]) -> list[Label]:
        """Return every label of these ids, in the order of their receipt: of one row the last one counts."""

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that records have."""

    def summaries(self) -> list[Summary]:
        """Return what is held, by model, version and variant."""

    def waiting_labels(self) -> int:
        """Return how many labels have no record yet."""

    def prune(self, before: float, most: int | None = None) -> int:
        """Remove records older than a moment, then the oldest until at most so many bytes are left, with their labels.

        Labels that never met their record go by the moment of their receipt. Returns how many records went.
        """

    def close(self) -> None:
        """Let go of the store."""


def open_store(where: str | Path) -> Store:
    """Open a store, making its tables where there are none.

    Parameters
    ----------
    where : str or path
        A file for SQLite, or ``postgresql://...``.

    Raises
    ------
    MissingExtra
        If Postgres is asked for and its driver is not installed.
    WorkspaceError
        If it cannot be used, or is of another format.
    """
    module, name = _KINDS[kind_of(where)].split(":")
    store: Store = getattr(import_module(module), name)(where)
    return store


def kind_of(where: str | Path) -> str:
    """Return which kind of store an address names, whether it is there or not.

    Raises
    ------
    WorkspaceError
        If there is no such kind.
    """
    kind, found, _ = str(where).partition("://")
    if not found:
        kind = "sqlite"
    elif kind == "postgres":
        kind = "postgresql"
    if kind not in _KINDS:
        raise WorkspaceError(
            f"No store is called '{kind}'.", allowed="A file for SQLite, or postgresql://USER@HOST/DATABASE."
        )
    return kind
