"""Reading a bundle's manifest and checking every file against it, before any of it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from modelyard.bundle.manifest import FORMAT, Manifest, identity
from modelyard.core.canonical import bytes_hash, file_hash
from modelyard.core.errors import BundleError

MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
"""SHA-256 of the manifest, in the form ``sha256sum -c`` reads: the manifest vouches for every file but itself."""

READERS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: lambda old: {**old, "format": 2}}
"""For each older format number the function that turns its manifest into one of the next number."""


def seal(manifest: bytes) -> bytes:
    """Return the content of `SEAL` for a manifest's bytes."""
    return f"{bytes_hash(manifest)}  {MANIFEST}\n".encode()


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Read a bundle's manifest.

    Returns
    -------
    (Manifest, str)
        The manifest and the bundle's hash (see `identity`).

    Raises
    ------
    BundleError
        If it is missing, does not match its seal, has a format this version does not read, or lacks a field.
    """
    path = folder / MANIFEST
    content = _bytes(folder, MANIFEST)
    if _bytes(folder, SEAL) != seal(content):
        raise _damaged(folder, MANIFEST, f"does not match '{SEAL}'")
    try:
        plain = msgspec.json.decode(content, type=dict[str, Any])
        number = plain.get("format")
        if not isinstance(number, int) or number > FORMAT or (number < FORMAT and number not in READERS):
            raise _unknown_format(path, number)
        named = identity(plain)  # of what was packed: a registry knows the bundle by it
        while plain["format"] < FORMAT:
            plain = READERS[plain["format"]](plain)
        return msgspec.convert(plain, Manifest), named
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        raise _damaged(folder, MANIFEST, f"cannot be read ({error})") from error


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Check that every file of the manifest is there and has the bytes it had when packed.

    Files the manifest does not list are never read, so they are not looked at.

    Raises
    ------
    BundleError
        Naming the first file that is missing, changed, or lies outside the folder.
    """
    for name, expected in files.items():
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name:
            raise _damaged(folder, MANIFEST, f"lists '{name}', which lies outside the bundle")
        try:
            found = file_hash(folder / name)
        except OSError as error:
            raise _absent(folder, name, error) from error
        if found != expected:
            raise _damaged(folder, name, f"has SHA-256 {found[:12]}..., the manifest says {expected[:12]}...")


def checked_bytes(folder: Path, name: str, files: Mapping[str, str]) -> bytes:
    """Return the bytes of one listed file, checked as they were read: nothing can be swapped in between.

    Raises
    ------
    BundleError
        If the manifest does not list it, or it changed.
    """
    if name not in files:
        raise _damaged(folder, MANIFEST, f"does not list '{name}', which its runtime needs")
    content = _bytes(folder, name)
    if bytes_hash(content) != files[name]:
        raise _damaged(folder, name, "is not the file that was packed")
    return content


def _bytes(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise _absent(folder, name, error) from error


def _absent(folder: Path, name: str, error: OSError) -> BundleError:
    return BundleError(
        f"The bundle's file '{name}' is missing or cannot be read.",
        where=f"{folder / name}: {error.strerror}",
        do="Copy the whole bundle again, or pack it again: modelyard develop.",
    )


def _damaged(folder: Path, name: str, how: str) -> BundleError:
    return BundleError(
        f"The bundle's file '{name}' {how}.",
        where=str(folder / name),
        do="It was changed or cut short after packing. Copy the whole bundle again, or pack it again.",
    )


def _unknown_format(path: Path, number: object) -> BundleError:
    newer = isinstance(number, int) and number > FORMAT
    return BundleError(
        f"The bundle has format {number}, which this version of modelyard does not read.",
        where=str(path),
        allowed=f"Formats {min([FORMAT, *READERS])} to {FORMAT}." if READERS else f"Format {FORMAT}.",
        do="Update modelyard: pip install -U modelyard" if newer else "Pack the model again with this version.",
    )
