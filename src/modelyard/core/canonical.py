"""Canonical JSON and content hashes: the same facts give the same bytes and the same name, everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys, no spaces and shortest floats.

    Parameters
    ----------
    value : object
        A dataclass, mapping, sequence or scalar; NaN and infinities become null.
    """
    return msgspec.json.encode(value, order="sorted")


def pretty_json(value: object) -> bytes:
    """Return canonical JSON indented for people, with a newline at the end."""
    return msgspec.json.format(canonical_json(value), indent=2) + b"\n"


def from_json(text: bytes | str, kind: type[T]) -> T:
    """Read JSON into a dataclass (or any type msgspec knows), checking every field.

    Raises
    ------
    msgspec.ValidationError
        If a field is missing or of another type.
    """
    return msgspec.json.decode(text, type=kind)


def to_plain(value: object) -> Any:
    """Return a dataclass as dictionaries, lists and scalars."""
    return msgspec.to_builtins(value)


def content_hash(value: object) -> str:
    """Return the SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def bytes_hash(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
