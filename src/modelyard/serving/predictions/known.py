"""Known: which ids predictions have, asked for again and again over one connection to the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from modelyard.core.errors import WorkspaceError
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.store import Store

_AGAIN = 1.0
"""Seconds for which a store that could not be used is not asked again."""


class Known:
    """Says which ids predictions have.

    One thread asks, for one request after the other: the store has one connection, and requests that wait for it take
    no thread away from those that are scored. The connection is opened when it is first needed, and anew when it fails.

    Parameters
    ----------
    log : Predictions
        Where the predictions are.
    """

    def __init__(self, log: Predictions) -> None:
        self._log = log
        self._store: Store | None = None
        self._again = 0.0
        self._thread = ThreadPoolExecutor(1, "modelyard-known")

    async def __call__(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that records have, in the store or in files.

        Raises
        ------
        MissingExtra, WorkspaceError
            If the store cannot be used.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, ids)

    def close(self) -> None:
        """Let go of the store; asking opens it again."""
        self._thread.submit(self._let_go)

    def _look(self, ids: Sequence[str]) -> set[str]:
        if time.monotonic() < self._again:  # those who waited meanwhile do not wait for it in turn
            raise WorkspaceError("The store of predictions could not be used a moment ago.", do="Try again.")
        if self._store is not None:
            try:
                return self._log.known(ids, self._store)
            except WorkspaceError:  # it may be there, and only the connection be gone
                self._let_go()
        try:
            self._store = self._log.open()
            return self._log.known(ids, self._store)
        except Exception:
            self._let_go()
            self._again = time.monotonic() + _AGAIN
            raise

    def _let_go(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()
