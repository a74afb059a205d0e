"""The limit on the model's file, as a brief writes it.

::

    size = ["size" | "model" | ...] [comparison] number unit ["model" | "size" | ...]
    unit = "kB" | "MB" | "GB" | "KiB" | "MiB" | "GiB" | "bytes" | "megabytes" | ...
"""

from __future__ import annotations

import re

from modelyard.brief.brief import Size
from modelyard.brief.words import COMPARISON, NUMBER, QUOTED, comparison, number, shortest
from modelyard.core.errors import BriefError

_UNITS = {"byte": 1e-6, "bytes": 1e-6} | {
    spelt: megabytes
    for letter, word, decimal, binary in (
        ("k", "kilobyte", 1e-3, 2**10 / 1e6),
        ("m", "megabyte", 1.0, 2**20 / 1e6),
        ("g", "gigabyte", 1e3, 2**30 / 1e6),
    )
    for spelt, megabytes in (
        (f"{letter}b", decimal),
        (f"{letter}ib", binary),
        (word, decimal),
        (f"{word}s", decimal),
    )
}
_BYTES = re.compile(
    rf"(?:(?P<sign>{COMPARISON}|=|:|\bof\b)\s*)?(?P<value>{NUMBER})\s*"
    rf"(?P<unit>{'|'.join(sorted(_UNITS, reverse=True))})\b",
    re.IGNORECASE,
)
BEGINS_SIZE = (
    rf"(?:(?:model|bundle|file|graph)\s+)?size\b|(?:model|bundle|file|graph)\s+(?:of\s+)?(?:{COMPARISON}|{NUMBER})"
)
"""How a part of a sentence that limits the size may begin."""


def parse_size(text: str) -> Size:
    """Return a limit such as "20 MB", "under 500 kB", "size < 1.5 MiB" or "a model of 20 MB".

    Raises
    ------
    BriefError
        If it has no number and unit, or asks for at least so many bytes.
    """
    rest = re.sub(r"\b(size|model|bundle|file|graph|an?|the|in total)\b", " ", text, flags=re.IGNORECASE).strip()
    match = _BYTES.fullmatch(rest)
    value = number(match["value"]) * _UNITS[match["unit"].lower()] if match else float("nan")
    if match is None or not value > 0:
        raise BriefError(
            f"'{text.strip()}' is not a size.", allowed='A number over 0 and a unit: kB, MB or GB, such as "20 MB".'
        )
    if (comparison(match["sign"]) or "<").startswith(">"):
        raise BriefError(f"'{text.strip()}' asks for a large model.", do="Turn the sign: a size is a limit from above.")
    return Size(value)


def is_size(text: str) -> bool:
    """Say whether a part of a sentence speaks of bytes, rather than of a metric or of time."""
    plain = re.sub(QUOTED, " ", text, flags=re.DOTALL).strip()
    begins = re.match(r"(?:an?\s+|the\s+)?(?:(?:model|bundle|file|graph)\s+)?size\b", plain, re.IGNORECASE)
    return bool(begins) or _BYTES.search(plain) is not None


def size_text(size: Size) -> str:
    """Return a limit as `parse_size` reads it back, to the last digit."""
    return f"< {shortest(size.megabytes)} MB"
