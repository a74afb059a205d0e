"""Frames: records and labels as bytes that are found again whatever happened to the file around them.

A frame is a marker, the length and the CRC-32 of its content (both unsigned 32-bit, little endian), and the content: an
`Entry` in MessagePack, or under another marker a list of `Label` in JSON, which has numbers of any size. Fields added
later have defaults, so that frames of an earlier version stay readable.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from modelyard.serving.predictions.record import Entry, Label, Record

SUFFIX = ".predictions"
_BEGIN = b"\xf5MY"  # 0xf5 never occurs in UTF-8
_ENTRY, _LABELS = b"\xf5MYP", b"\xf5MYL"
_FRAME = struct.Struct("<4sII")

_pack = msgspec.msgpack.Encoder().encode
_encode = msgspec.json.Encoder().encode
_ENTRIES = msgspec.msgpack.Decoder(Entry)
_LISTS = msgspec.json.Decoder(list[Label])

Written = Entry | Sequence[Label]


def frame(written: Written) -> bytes:
    """Return an entry, or labels that stand or fall together, as one frame."""
    marker, content = (_ENTRY, _pack(written)) if type(written) is Entry else (_LABELS, _encode(written))
    return _FRAME.pack(marker, len(content), zlib.crc32(content)) + content


def frames(content: bytes, start: int = 0) -> Iterator[tuple[Entry | list[Label], int, int]]:
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
    return (held.record() for held, _, _ in frames(content) if isinstance(held, Entry))


def _held(content: bytes, at: int) -> tuple[Entry | list[Label] | None, int]:
    start = at + _FRAME.size
    if start > len(content):
        return None, at
    marker, length, crc = _FRAME.unpack_from(content, at)
    end = start + length
    body = content[start:end]
    decoder: Any = {_ENTRY: _ENTRIES, _LABELS: _LISTS}.get(marker)
    if decoder is None or len(body) < length or zlib.crc32(body) != crc:
        return None, at
    try:
        return decoder.decode(body), end
    except msgspec.MsgspecError:  # a later version's
        return None, at
