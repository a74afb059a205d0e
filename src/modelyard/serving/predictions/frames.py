"""Frames: records and labels as bytes that are found again whatever happened to the file around them.

A frame is a marker, the length and the CRC-32 of its content (both unsigned 32-bit, little endian), and the content in
MessagePack: a `Record`, or under another marker a list of `Label`. Fields added later have defaults, so that frames of
an earlier version stay readable.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from modelyard.serving.predictions.record import Label, Record

SUFFIX = ".predictions"
_BEGIN = b"\xf5MY"  # 0xf5 never occurs in UTF-8
_RECORD, _LABELS = b"\xf5MYP", b"\xf5MYL"
_FRAME = struct.Struct("<4sII")
_WHOLE = 2**64 - 1
"""MessagePack's largest whole number."""
_MOST = 2**1023
"""Below this, a whole number has a float."""

_encode = msgspec.msgpack.Encoder().encode
_RECORDS = msgspec.msgpack.Decoder(Record)
_LISTS = msgspec.msgpack.Decoder(list[Label])

Written = Record | Sequence[Label]


def frame(written: Written) -> bytes:
    """Return a record, or labels that stand or fall together, as one frame."""
    try:
        content = _encode(written)
    except OverflowError:
        content = _encode(_small(msgspec.to_builtins(written)))
    marker = _RECORD if type(written) is Record else _LABELS
    return _FRAME.pack(marker, len(content), zlib.crc32(content)) + content


def frames(content: bytes, start: int = 0) -> Iterator[tuple[Record | list[Label], int, int]]:
    """Return what whole frames hold, and where each begins and ends; a torn or damaged stretch is passed over.

    Parameters
    ----------
    content : bytes
        Of a file.
    start : int
        Where to begin.
    """
    at = start
    while (at := content.find(_BEGIN, at)) >= 0:
        held, end = _held(content, at)
        if held is None:
            at += 1  # no frame begins here, whatever it looks like: the next marker is looked for
            continue
        yield held, at, end
        at = end


def recover(content: bytes) -> Iterator[Record]:
    """Return the whole records of a file's bytes."""
    return (held for held, _, _ in frames(content) if isinstance(held, Record))


def _held(content: bytes, at: int) -> tuple[Record | list[Label] | None, int]:
    start = at + _FRAME.size
    if start > len(content):
        return None, at
    marker, length, crc = _FRAME.unpack_from(content, at)
    end = start + length
    body = content[start:end]
    decoder: Any = {_RECORD: _RECORDS, _LABELS: _LISTS}.get(marker)
    if decoder is None or len(body) < length or zlib.crc32(body) != crc:
        return None, at
    try:
        return decoder.decode(body), end
    except msgspec.MsgspecError:  # a later version's
        return None, at


def _small(plain: Any) -> Any:
    """Return numbers that are too large for MessagePack as floats, as a model reads them anyway."""
    if isinstance(plain, dict):
        return {key: _small(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_small(value) for value in plain]
    if type(plain) is not int or -(2**63) <= plain <= _WHOLE:
        return plain
    return float(plain) if abs(plain) < _MOST else math.copysign(math.inf, plain)
