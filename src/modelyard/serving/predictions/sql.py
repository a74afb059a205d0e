"""SqlStore: the tables and statements of a store, in the SQL that SQLite and Postgres share."""

# ruff: noqa: S608 -- statements are put together from words of ours; values go as parameters

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import msgspec

from modelyard.core.errors import WorkspaceError
from modelyard.serving.predictions.record import Chosen, Entry, Label, Record
from modelyard.serving.predictions.store import Piece, Summary

FORMAT = 1
"""Counts up with every change of the tables; a newer store than the reader's is refused."""
_PAGE = 500
_TABLES = (
    "CREATE TABLE format (number BIGINT NOT NULL)",
    "CREATE TABLE predictions (id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, model TEXT NOT NULL,"
    " version TEXT NOT NULL, variant TEXT NOT NULL, bundle TEXT NOT NULL, key TEXT NOT NULL, trace TEXT NOT NULL,"
    " milliseconds DOUBLE PRECISION NOT NULL, withheld TEXT NOT NULL, rows TEXT NOT NULL, answers TEXT NOT NULL,"
    " count BIGINT NOT NULL, size BIGINT NOT NULL)",
    "CREATE INDEX predictions_at ON predictions (at, id, size)",
    "CREATE TABLE labels (id TEXT NOT NULL, row_number BIGINT NOT NULL, received DOUBLE PRECISION NOT NULL,"
    " at DOUBLE PRECISION, value TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (id, row_number, received))",
    "CREATE TABLE files (name TEXT PRIMARY KEY, place BIGINT NOT NULL)",
    f"INSERT INTO format VALUES ({FORMAT})",
)
_RECORD = "id, at, model, version, variant, bundle, key, trace, milliseconds, withheld, rows, answers"
_LABEL = "id, row_number, received, at, value, key"
_ADD_LABEL = (  # unless it says what the row's label said already when it came
    f"INSERT INTO labels ({_LABEL}) SELECT CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS DOUBLE PRECISION),"
    " CAST(? AS DOUBLE PRECISION), CAST(? AS TEXT), CAST(? AS TEXT) WHERE NOT EXISTS"
    " (SELECT 1 FROM labels l WHERE l.id = ? AND l.row_number = ? AND l.value = ? AND l.received ="
    " (SELECT max(m.received) FROM labels m WHERE m.id = ? AND m.row_number = ? AND m.received <= ?))"
    " ON CONFLICT DO NOTHING"
)

_json = msgspec.json.Encoder().encode
_DICTS = msgspec.json.Decoder(list[dict[str, Any]]).decode
_NAMES = msgspec.json.Decoder(tuple[str, ...]).decode
_ANY = msgspec.json.Decoder().decode


class SqlStore(ABC):
    """A store over one connection of Python's database interface (PEP 249).

    Parameters
    ----------
    connection : connection
        Which commits each statement unless a transaction was begun.
    where : str
        What an error calls the store.

    Attributes
    ----------
    errors : tuple of type
        What the connection raises.
    """

    begin: ClassVar[str] = "BEGIN"
    errors: tuple[type[Exception], ...]

    def __init__(self, connection: Any, where: str) -> None:
        self._connection, self._where = connection, where
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the store."""
        self._connection.close()

    def place(self, file: str) -> int:
        """Return how many bytes of a file were loaded."""
        with self._using():
            found = self._all("SELECT place FROM files WHERE name = ?", (file,))
        return int(found[0][0]) if found else 0

    def add(self, piece: Piece) -> bool:
        """Add a piece in one transaction; False, and nothing is added, where loading stood elsewhere."""
        move = "UPDATE files SET place = ? WHERE name = ? AND place = ?"
        with self._using(), self._transaction():
            self._run("INSERT INTO files VALUES (?, 0) ON CONFLICT DO NOTHING", (piece.file,))
            if self._run(move, (piece.end, piece.file, piece.start)).rowcount != 1:
                return False
            self._many(
                f"INSERT INTO predictions VALUES ({_places(14)}) ON CONFLICT DO NOTHING",
                [_line(entry, size) for entry, size in piece.records],
            )
            self._many(_ADD_LABEL, [_values(label) for label in piece.labels])
        return True

    def forget(self, files: Sequence[str]) -> None:
        """Forget files that were removed."""
        with self._using():
            self._many("DELETE FROM files WHERE name = ?", [(file,) for file in files])

    def records(self, chosen: Chosen) -> Iterator[Record]:
        """Return records in the order of their moments."""
        asked, values = _where(chosen)
        after: tuple[Any, ...] = ()
        while True:  # page by page, so that neither memory nor a transaction grows with the log
            more = " AND (at, id) > (?, ?)" if after else ""
            sql = f"SELECT {_RECORD} FROM predictions WHERE {asked}{more} ORDER BY at, id LIMIT {_PAGE}"
            with self._using():
                page = self._all(sql, (*values, *after))
            yield from map(_record, page)
            if len(page) < _PAGE:
                return
            after = (page[-1][1], page[-1][0])

    def newest(self, model: str) -> float | None:
        """Return the moment of a model's newest record, or None."""
        with self._using():
            found = self._all("SELECT at FROM predictions WHERE model = ? ORDER BY at DESC LIMIT 1", (model,))
        return float(found[0][0]) if found else None

    def labels(self, ids: Sequence[str]) -> list[Label]:
        """Return every label of these ids, in the order of their receipt: of one row the last one counts."""
        sql = f"SELECT {_LABEL} FROM labels WHERE id IN ({{}}) ORDER BY received"
        found = [
            Label(i, _ANY(value), row, at, received, key) for i, row, received, at, value, key in self._in(sql, ids)
        ]
        return sorted(found, key=lambda label: label.received)

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that records have."""
        return {found for (found,) in self._in("SELECT id FROM predictions WHERE id IN ({})", ids)}

    def summaries(self) -> list[Summary]:
        """Return what is held, by model, version and variant."""
        with self._using():
            held = self._all(
                "SELECT model, version, variant, count(*), sum(count), min(at), max(at), avg(milliseconds), sum(size)"
                " FROM predictions GROUP BY model, version, variant ORDER BY model, version, variant"
            )
            met = self._all(
                "SELECT p.model, p.version, p.variant, count(*) FROM"
                " (SELECT DISTINCT id, row_number FROM labels) l JOIN predictions p ON p.id = l.id"
                " WHERE l.row_number < p.count GROUP BY p.model, p.version, p.variant"
            )
        labelled = {tuple(who): int(count) for *who, count in met}
        return [_summary(line, labelled.get(tuple(line[:3]), 0)) for line in held]

    def waiting_labels(self) -> int:
        """Return how many labels have no record yet."""
        sql = (
            "SELECT count(*) FROM (SELECT DISTINCT id, row_number FROM labels) l"
            " WHERE NOT EXISTS (SELECT 1 FROM predictions p WHERE p.id = l.id)"
        )
        with self._using():
            return int(self._all(sql)[0][0])

    def prune(self, before: float, most: int | None = None) -> int:
        """Remove records older than a moment, then the oldest until at most so many bytes are left."""
        with self._using(), self._transaction():
            if most is not None:
                over = self._all(  # the newest record that does not fit
                    "SELECT at FROM (SELECT at, sum(size) OVER (ORDER BY at DESC, id DESC) AS total FROM predictions) t"
                    " WHERE total > ? ORDER BY at DESC LIMIT 1",
                    (most,),
                )
                before = max(before, math.nextafter(over[0][0], math.inf)) if over else before
            self._run(
                "DELETE FROM labels WHERE EXISTS (SELECT 1 FROM predictions p WHERE p.id = labels.id AND p.at < ?)"
                " OR received < ? AND NOT EXISTS (SELECT 1 FROM predictions p WHERE p.id = labels.id)",
                (before, before),
            )
            return int(self._run("DELETE FROM predictions WHERE at < ?", (before,)).rowcount)

    @abstractmethod
    def _has_tables(self) -> bool:
        """Say whether the tables were made."""

    def _make(self) -> None:
        if not self._has_tables():  # another process may have made them while this one waited for its turn
            for statement in _TABLES:
                self._run(statement)

    def _run(self, sql: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql, values)

    def _many(self, sql: str, lines: Sequence[Sequence[Any]]) -> None:
        if lines:
            self._connection.cursor().executemany(sql, lines)

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return list(self._run(sql, values).fetchall())

    def _in(self, sql: str, ids: Sequence[str]) -> Iterator[Any]:
        """Ask for ids, some at a time."""
        for first in range(0, len(ids), _PAGE):
            some = ids[first : first + _PAGE]
            with self._using():
                yield from self._all(sql.format(_places(len(some))), some)

    def _prepare(self) -> None:
        with self._using():
            if not self._has_tables():
                with self._transaction():
                    self._make()
            found = int(self._all("SELECT number FROM format")[0][0])
        if found != FORMAT:
            raise WorkspaceError(
                f"The store of predictions is of format {found}; this modelyard reads format {FORMAT}.",
                where=self._where,
                do="Update modelyard.",
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run(self.begin)
        try:
            yield
        except BaseException:
            with suppress(*self.errors):  # where the connection is gone, so is the transaction
                self._run("ROLLBACK")
            raise
        self._run("COMMIT")

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except self.errors as error:
            raise unusable(self._where, error) from error


def unusable(where: str, error: Exception) -> WorkspaceError:
    """Return the error for a store that cannot be used."""
    why = " ".join(str(error).split())
    return WorkspaceError(f"The store of predictions cannot be used: {why}.", where=where, do="See that it is there.")


def _line(entry: Entry, size: int) -> tuple[Any, ...]:
    e = entry
    return (
        e.id, e.at, e.model, e.version, e.variant, e.bundle, e.key, e.trace, e.milliseconds,
        _text(e.withheld), e.rows.decode(), e.answers.decode(), e.count, size,
    )  # fmt: skip


def _record(line: Sequence[Any]) -> Record:
    key, at, model, version, variant, bundle, caller, trace, milliseconds, withheld, rows, answers = line
    return Record(
        key, at, model, bundle, _DICTS(rows), _DICTS(answers), milliseconds, version, variant, caller, trace,
        _NAMES(withheld),
    )  # fmt: skip


def _values(label: Label) -> tuple[Any, ...]:
    value = _text(label.value)
    same = (label.id, label.row, value, label.id, label.row, label.received)
    return (label.id, label.row, label.received, label.at, value, label.key, *same)


def _summary(line: Sequence[Any], labelled: int) -> Summary:
    model, version, variant, requests, rows, first, last, milliseconds, size = line
    # Postgres adds whole numbers up to decimals.
    return Summary(model, version, variant, int(requests), int(rows), labelled, first, last, milliseconds, int(size))


def _text(value: object) -> str:
    return _json(value).decode()


def _places(count: int) -> str:
    return ", ".join("?" * count)


def _where(chosen: Chosen) -> tuple[str, list[Any]]:
    asked: list[tuple[str, Any]] = [
        ("model = ?", chosen.model),
        ("version = ?", chosen.version),
        ("variant = ?", chosen.variant),
        ("at >= ?", chosen.since),
        ("at < ?", chosen.until),
    ]
    wanted = [(sql, value) for sql, value in asked if value is not None]
    return " AND ".join([sql for sql, _ in wanted] or ["1 = 1"]), [value for _, value in wanted]
