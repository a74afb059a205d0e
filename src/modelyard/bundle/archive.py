"""The bundle as one file: a .tar.gz whose bytes depend on the content alone, and the way back that trusts nothing."""

from __future__ import annotations

import atexit
import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from modelyard.core.errors import BundleError
from modelyard.core.files import guarded

LIMIT = 16 * 2**30
"""Bytes an archive may unpack to: far above any bundle, far below a decompression bomb."""

_GZIP = b"\x1f\x8b"
"""How a .tar.gz begins."""


def write_archive(folder: Path, target: Path, top: str) -> Path:
    """Write a folder as .tar.gz, whole or not at all, without times, owners or the machine's order of files.

    Parameters
    ----------
    folder : Path
        What is packed; hidden files are left out.
    target : Path
        The archive.
    top : str
        Name of the one folder everything lies in, so that unpacking by hand litters nothing.
    """
    part = target.with_name(f".{target.name}.part")
    with guarded(target):
        try:
            with (
                part.open("wb") as raw,
                gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                for name, path in _files(folder):
                    entry = tarfile.TarInfo(f"{top}/{name}")
                    entry.size, entry.mode = path.stat().st_size, 0o644
                    with path.open("rb") as file:
                        tar.addfile(entry, file)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return target


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    named = [(p.relative_to(folder).as_posix(), p) for p in folder.rglob("*") if p.is_file()]
    return iter(sorted((name, path) for name, path in named if not name.startswith(".")))


def unpack(archive: Path) -> Path:
    """Unpack an archive into a folder of its own, removed when the process ends, and return the bundle's folder.

    Raises
    ------
    BundleError
        If the archive is damaged, or holds a link, a device, or a path that leads out of the folder.
    """
    if _begins(archive) != _GZIP:
        raise BundleError(
            f"'{archive.name}' is not a bundle.",
            where=str(archive),
            allowed="A bundle's folder or its .tar.gz.",
            do="Name the bundle first, then the rows.",
        )
    home = Path(tempfile.mkdtemp(prefix="modelyard-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    try:
        with guarded(home), tarfile.open(archive, mode="r:gz") as tar:
            _extract(tar, archive, home)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise BundleError(
            f"'{archive.name}' is damaged: it does not unpack.",
            where=f"{archive}: {error}",
            do="Copy or pack it again.",
        ) from error
    found = sorted(home.glob("manifest.json")) + sorted(home.glob("*/manifest.json"))
    if len(found) != 1:
        raise BundleError(
            f"'{archive.name}' is not a bundle: it holds {len(found)} files 'manifest.json'.",
            where=str(archive),
            allowed="One, at the top or in the one folder at the top.",
            do="Pack it with modelyard develop.",
        )
    return found[0].parent


def _begins(archive: Path) -> bytes:
    """Return the first two bytes of a file; none of what is no file, as a pipe would be waited for."""
    if not archive.is_file():
        return b""
    try:
        with guarded(archive), archive.open("rb") as file:
            return file.read(2)
    except OSError as error:
        raise BundleError(f"'{archive.name}' cannot be read.", where=f"{archive}: {error.strerror}") from error


def _extract(tar: tarfile.TarFile, archive: Path, home: Path) -> None:
    total = 0
    for entry in tar:
        name = PurePosixPath(entry.name)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.name or not name.parts:
            raise _refused(archive, entry.name, "leads out of the bundle's folder")
        if entry.isdir():
            continue
        if not entry.isreg():
            raise _refused(archive, entry.name, "is a link or a device")
        total += entry.size
        if total > LIMIT:
            raise _refused(archive, entry.name, f"unpacks to more than {LIMIT // 2**30} GiB")
        content = tar.extractfile(entry)
        target = home.joinpath(*name.parts)
        if content is None or target.exists():
            raise _refused(archive, entry.name, "comes twice")
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)


def _refused(archive: Path, name: str, why: str) -> BundleError:
    return BundleError(
        f"'{archive.name}' was refused: the entry '{name}' {why}.",
        where=str(archive),
        allowed="Regular files in one folder.",
        do="Do not use it unless you know who made it; pack the bundle again.",
    )
