"""Writing so that a crash, a full disk or a read-only folder never leaves half a file behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from modelyard.core.errors import WorkspaceError

_WHY = {
    errno.ENOSPC: (
        "The disk is full.",
        "Free some space and run the same command again: finished steps are kept.",
    ),
    errno.EDQUOT: (
        "The disk quota is used up.",
        "Free some space and run the same command again: finished steps are kept.",
    ),
    errno.EROFS: ("The file system is read-only.", "Name a folder that can be written (--workspace, -o)."),
    errno.EACCES: (
        "There is no permission to write here.",
        "Name a folder that can be written (--workspace, -o).",
    ),
    errno.EPERM: (
        "There is no permission to write here.",
        "Name a folder that can be written (--workspace, -o).",
    ),
    errno.ENOENT: ("The folder cannot be made.", "Name a folder that can be written (--workspace, -o)."),
    errno.ENOTDIR: ("A file stands where a folder is needed.", "Name another folder (--workspace, -o)."),
    errno.EEXIST: ("A file stands where a folder is needed.", "Name another folder (--workspace, -o)."),
}


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into an error that says what to do.

    Raises
    ------
    WorkspaceError
        For a full disk, a read-only file system or missing permission.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _WHY:
            raise
        what, do = _WHY[error.errno]
        raise WorkspaceError(what, where=str(error.filename or path), do=do) from error


def exists(path: Path) -> bool:
    """Say whether something is there; at what no file can be called, as it is too long or holds a zero, nothing is."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def write_atomic(path: Path, content: bytes | str) -> Path:
    """Write a file whole or not at all: to a neighbour, synced, then renamed over the old one.

    Raises
    ------
    WorkspaceError
        If the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.part")
    with guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with neighbour.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            neighbour.replace(path)
        except BaseException:
            neighbour.unlink(missing_ok=True)
            raise
    return path


def hold(file: int, *, alone: bool = False, wait: bool = True) -> bool:
    """Hold an open file until it is closed; the operating system lets go when the process dies, however it dies.

    Parameters
    ----------
    file : int
        Its descriptor.
    alone : bool
        Whether nobody else may hold it meanwhile.
    wait : bool
        Whether to wait for that.

    Returns
    -------
    bool
        False where another holds it, or the file system knows no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
