"""The keys a worker holds in memory, read again when a person changes them."""

from __future__ import annotations

import math
import secrets
import sqlite3
import time
from hashlib import blake2b, sha256
from hmac import compare_digest
from pathlib import Path

from modelyard.core.errors import ServingError
from modelyard.serving.guard.caller import Caller
from modelyard.serving.guard.challenge import invalid
from modelyard.serving.guard.key import ID, Key
from modelyard.serving.guard.limit import Limit
from modelyard.serving.guard.needed import Needed
from modelyard.serving.guard.store import KeyStore, read_keys

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the file changed: so long may a revoked key still be let in."""
_NONE = ((bytes(32), None),)
"""What an id nobody has is compared with, so that it takes as long as one that exists."""


class KeyRing:
    """Finds the caller of a key.

    A look asks SQLite for ``data_version``, which changes when another connection commits, and costs microseconds.
    While the file cannot be read, the keys last read go on.

    A key that was found good is known again by a hash under a secret of this process: SHA-256 by OpenSSL, with which
    keys are hashed at rest, is quick when asked again and again, and takes ten times as long between two models.

    Parameters
    ----------
    path : path
        The file of keys.
    limit : Limit
        Of keys without one of their own.
    workers : int
        Processes that divide limits.

    Raises
    ------
    ServingError
        If there is no such file.
    WorkspaceError
        If it cannot be read.
    """

    def __init__(self, path: Path, limit: Limit, workers: int = 1) -> None:
        if not path.is_file():
            raise ServingError("There are no keys.", where=str(path), do="Make one: modelyard keys create NAME")
        self._path, self._limit, self._workers = path, limit, workers
        self._secret = secrets.token_bytes(32)
        self._met: dict[bytes, Caller] = {}
        self._held: dict[bytes, tuple[tuple[bytes, Caller | None], ...]] = {}
        self._db: sqlite3.Connection | None = None
        self._seen: tuple[int, int] | None = None
        self.needed = Needed("keys")
        KeyStore(path)  # says what is wrong with the file, where something is
        self._look(time.monotonic())

    def find(self, credential: bytes) -> Caller:
        """Return whose key this is.

        Raises
        ------
        HttpProblem
            401, if it is nobody's, or has ended.
        """
        now = time.monotonic()
        if now >= self._due:
            self._look(now)
        known = blake2b(credential, key=self._secret, digest_size=32).digest()
        caller = self._met.get(known)
        if caller is None:
            caller = self._met[known] = self._compare(credential)
        if caller.ends <= time.time():
            raise invalid("The key has ended.")
        return caller

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _compare(self, credential: bytes) -> Caller:
        digest = sha256(credential).digest()
        for kept, caller in self._held.get(credential[ID], _NONE):
            if compare_digest(kept, digest) and caller is not None:
                return caller
        raise invalid("The key is not known.")

    def _look(self, now: float) -> None:
        self._due = now + LOOK_EVERY
        try:
            file = self._path.stat().st_ino
            if self._db is None or self._seen is None or file != self._seen[0]:  # new, or restored from a copy
                self.close()
                self._db = sqlite3.connect(
                    f"{self._path.absolute().as_uri()}?mode=rw",
                    uri=True,
                    timeout=LOOK_EVERY / 10,
                    isolation_level=None,
                    check_same_thread=False,
                )
                self._seen = None
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
            if self._seen != (file, version):
                self._held = {key.id.encode(): self._callers(key) for key in read_keys(self._db) if key.revoked is None}
                self._met = {}
                self._seen = (file, version)
        except (OSError, sqlite3.Error) as error:
            self.needed.gone(error)
        else:
            self.needed.back()

    def _callers(self, key: Key) -> tuple[tuple[bytes, Caller | None], ...]:
        limit = self._limit if key.rate is None else Limit.a_minute(key.rate, key.burst)
        return tuple(
            (
                secret.digest,
                Caller(
                    key.id,
                    f"key:{key.id}",
                    frozenset(key.permissions),
                    limit,
                    limit.divided(self._workers),
                    min(math.inf if end is None else end for end in (secret.ends, key.expires)),
                ),
            )
            for secret in key.secrets
        )
