"""Copies: the bundles that several workers serve, kept for the one that takes a killed one's place."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelyard.bundle.archive import unpack
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.copy import copy_bundle
from modelyard.bundle.load import load_bundle
from modelyard.bundle.verify import read_manifest
from modelyard.core.errors import WorkspaceError
from modelyard.core.files import hold

_LOCK = ".lock"
_LOGGER = logging.getLogger("modelyard.serving")


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of bundles by their hash, in a folder that is the server's own.

    A run's folder may be removed while its bundle is served. Workers that hold it in memory go on; one that takes the
    place of a killed worker loads the copy, and answers as its siblings do.

    Attributes
    ----------
    folder : path or None
        Where they lie; None makes none, and every bundle is loaded from where it is.
    """

    folder: Path | None = None

    def load(self, path: str | Path, hash: str = "") -> Bundle:
        """Load a bundle from its copy.

        Parameters
        ----------
        path, hash
            See `place`.

        Raises
        ------
        BundleError
            If it is damaged.
        """
        return load_bundle(self.place(path, hash))

    def place(self, path: str | Path, hash: str = "") -> Path:
        """Return the folder of a bundle's copy, which is made if it is not there.

        Parameters
        ----------
        path : path
            The bundle's folder or its ``.tar.gz``; returned as it is where no copy can be made.
        hash : str
            The bundle's hash, where it is known: the bundle itself need not be there any more.

        Raises
        ------
        BundleError
            If it is damaged.
        """
        source = Path(path)
        if self.folder is None:
            return source
        if hash and (self.folder / hash).is_dir():
            return self.folder / hash
        if not source.exists():
            return source  # whoever loads it says so
        folder = source if source.is_dir() else unpack(source)
        copy = self.folder / read_manifest(folder)[1]
        try:
            turn = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                hold(turn, alone=True)  # workers take up a release in the same moment
                return copy if copy.is_dir() else copy_bundle(folder, copy)
            finally:
                os.close(turn)
        except (WorkspaceError, OSError) as error:
            _LOGGER.warning("a bundle is served without a copy, which a worker that starts later may need: %s", error)
            return source

    def drop(self, hash: str) -> None:
        """Remove the copy of a bundle that is served no more."""
        if self.folder is not None:
            shutil.rmtree(self.folder / hash, ignore_errors=True)

    def remove(self) -> None:
        """Remove them all, for a server that can no longer."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


NO_COPIES = Copies()


@contextmanager
def copies_for(workers: int) -> Iterator[Copies]:
    """Give the copies of a server with so many workers; they go with it. One worker has nobody to take its place."""
    if workers == 1:
        yield NO_COPIES
        return
    with tempfile.TemporaryDirectory(prefix="modelyard-served-", ignore_cleanup_errors=True) as folder:
        yield Copies(Path(folder))
