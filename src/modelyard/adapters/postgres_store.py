"""PostgresStore: one store for many servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from modelyard.core.errors import WorkspaceError
from modelyard.core.optional import need
from modelyard.serving.predictions.sql import SqlStore, unusable

_LOCK = 0x6D6F64656C796172
"""Of the database, while the tables are made: the first letters of our name."""
_SECONDS = 10
"""How long connecting may take, and how long nothing may come back from a server that was sent something."""
_QUIET_SECONDS = 60
"""After so long without a word the server is asked whether it is there: what lies between forgets quiet connections."""


class PostgresStore(SqlStore):
    """A store in a Postgres database, in a schema of its own, ``modelyard``.

    Parameters
    ----------
    where : str
        ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``; what is left out comes from the environment (``PGPASSWORD``,
        ``PGSSLMODE``) or a password file, as for every client of Postgres.

    Raises
    ------
    MissingExtra
        If psycopg is not installed.
    WorkspaceError
        If this is no address, or the database cannot be used.
    """

    def __init__(self, where: str) -> None:
        psycopg = need("psycopg", "postgres", "A store of predictions in Postgres")
        self.errors = (psycopg.Error,)
        try:
            psycopg.conninfo.conninfo_to_dict(where)
            parts = urlsplit(where)
        except (psycopg.ProgrammingError, ValueError):
            # What was given may hold a password, and what is wrong with it may quote that: neither is repeated.
            raise WorkspaceError(
                "The store of predictions is no address of a Postgres database.",
                allowed="postgresql://USER@HOST/DATABASE, with %25 for a % in it, and so on.",
            ) from None
        shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"  # without the password
        try:
            connection = psycopg.connect(
                where,
                autocommit=True,
                connect_timeout=_SECONDS,
                tcp_user_timeout=1_000 * _SECONDS,
                keepalives_idle=_QUIET_SECONDS,
                options="-c search_path=modelyard",
            )
        except psycopg.Error as error:
            raise unusable(shown, error) from error
        super().__init__(connection, shown)

    def _has_tables(self) -> bool:
        return self._all("SELECT to_regclass('modelyard.format')")[0][0] is not None

    def _make(self) -> None:
        self._run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        self._run("CREATE SCHEMA IF NOT EXISTS modelyard")
        super()._make()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql.replace("?", "%s"), _clean(values))

    def _many(self, sql: str, lines: Sequence[Sequence[Any]]) -> None:
        super()._many(sql.replace("?", "%s"), [_clean(line) for line in lines])


def _clean(values: Sequence[Any]) -> Sequence[Any]:
    """Return values without the one character that Postgres has no place for."""
    return [v.replace("\0", "") if isinstance(v, str) else v for v in values]
