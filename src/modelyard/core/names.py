"""Names: a person's words as one label that files, releases, MLflow and Kubernetes all take."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LONGEST = 50
_EMPTY = "model"


def slug(text: str) -> str:
    """Return a text as a DNS-1123 label: lower case, digits, single hyphens, 1 to 50 characters.

    Accents go (``Ä`` is ``a``, ``ß`` is ``ss``). Where a letter has no such form, the text is too long, or nothing
    is left, six hex digits of the text's SHA-256 follow, so that two texts that lose letters keep two names.

    Parameters
    ----------
    text : str
        A use case, in any script.

    References
    ----------
    RFC 1123, section 2.1; Unicode Standard Annex 15 (NFKD).
    """
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    lost = any(c.isalnum() and not c.isascii() for c in plain)
    if words and not lost and len(words) <= _LONGEST:
        return words
    # One spelling of what looks the same: file systems hand back accents taken apart.
    digest = hashlib.sha256(unicodedata.normalize("NFC", text).encode(errors="surrogatepass")).hexdigest()[:6]
    head = words[: _LONGEST - len(digest) - 1].strip("-") or _EMPTY
    return f"{head}-{digest}"
