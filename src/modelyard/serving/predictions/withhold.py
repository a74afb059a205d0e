"""Withhold: columns that are hashed or left out before a record is written, so that no disk ever holds them."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import ServingError, did_you_mean
from modelyard.core.files import guarded
from modelyard.serving.predictions.record import Entry

_BYTES = 16
"""Of the hash that are kept: two of a billion values are alike by chance once in 10 to the 20th."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Withhold:
    """Hashes and leaves out columns of records.

    A value becomes ``hmac:`` and the first 16 bytes of HMAC-SHA-256 over the column's name and the value, in hex, so
    that equal values of a column still join and nobody without the key can try values. Missing values stay missing. A
    number and its text are one value, as they are one level of a category: a table's columns are logged as text.

    What an answer says of these columns is left out too. Contributions go as a whole: they add up to the score, so that
    those of the other columns would tell what is missing.

    Parameters
    ----------
    hashed, dropped : iterable of str
        Columns; one that is in both is dropped.
    key : bytes
        The secret.
    known : iterable of str, optional
        Columns that may be written at all; None lets every other through.

    References
    ----------
    RFC 2104, "HMAC: Keyed-Hashing for Message Authentication".
    """

    def __init__(
        self, hashed: Iterable[str], dropped: Iterable[str], key: bytes, known: Iterable[str] | None = None
    ) -> None:
        self._dropped = frozenset(dropped)
        self._hashed = {name: _encode(name) + b":" for name in hashed if name not in self._dropped}
        self._known = None if known is None else frozenset(known)
        self._key = key
        self.columns = tuple(sorted({*self._hashed, *self._dropped}))

    def __call__(self, entry: Entry) -> Entry:
        """Return the entry as it may be written."""
        dropped, known = self._dropped, self._known
        rows = [
            {n: self._value(n, v) for n, v in row.items() if n not in dropped and (known is None or n in known)}
            for row in _decode(entry.rows)
        ]
        answers = entry.answers
        if self.columns:
            answers = _encode([self._told(answer) for answer in _decode(answers)])
        return replace(entry, rows=_encode(rows), answers=answers, withheld=self.columns)

    def _told(self, answer: dict[str, Any]) -> dict[str, Any]:
        told = {name: value for name, value in answer.items() if name != "explanation"}
        if "reasons" in told:
            told["reasons"] = [one for one in told["reasons"] if set(one["columns"]).isdisjoint(self.columns)]
        return told

    def _value(self, name: str, value: Any) -> Any:
        begin = self._hashed.get(name)
        if begin is None or value is None:
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # 1 and 1.0 are one value
        text = value.encode() if isinstance(value, str) else _encode(value)
        return "hmac:" + hmac.digest(self._key, begin + text, "sha256")[:_BYTES].hex()


@dataclass(frozen=True, slots=True)
class Withheld:
    """What is kept out of the prediction log.

    Attributes
    ----------
    hashed, dropped : tuple of str or None
        Columns; None for those the brief of each bundle names under ``log``.
    key : path or None
        File of the secret; made where hashing asks for one and there is none.
    """

    hashed: tuple[str, ...] | None = None
    dropped: tuple[str, ...] | None = None
    key: Path | None = None

    def of(self, bundle: Bundle, *, only_known: bool = False) -> Withhold | None:
        """Return what withholds columns of a bundle's rows, or None where nothing is.

        Parameters
        ----------
        bundle : Bundle
            Whose rows.
        only_known : bool
            Whether fields that its schema does not know are left out too.

        Raises
        ------
        ServingError
            If it has no such column, or there is no secret.
        WorkspaceError
            If the secret cannot be written.
        """
        brief = bundle.manifest.brief.log
        known = [column.name for column in bundle.schema.columns]
        strange = next((name for name in (*(self.hashed or ()), *(self.dropped or ())) if name not in known), None)
        if strange is not None:
            raise ServingError(
                f"'{strange}' is to be kept out of the prediction log, and is not a column of this model.",
                allowed=f"Its columns: {', '.join(known)}.",
                do=did_you_mean(strange, known) or "Correct --log-hash or --log-drop.",
            )
        # What the brief names and the model does not read is never sent.
        hashed, dropped = (
            [name for name in (said if chosen is None else chosen) if name in known]
            for said, chosen in ((brief.hash, self.hashed), (brief.drop, self.dropped))
        )
        if hashed and self.key is None:
            raise ServingError("Columns are to be hashed, and there is no key.", do="Name its file: --log-key FILE.")
        if not hashed and not dropped and not only_known:
            return None
        key = secret(self.key) if hashed and self.key is not None else b""
        return Withhold(hashed, dropped, key, known if only_known else None)


NOTHING_MORE = Withheld()
"""What the brief of each bundle names."""


def secret(path: Path) -> bytes:
    """Return the secret in a file, made where there is none: of several processes that make it, one does.

    Raises
    ------
    ServingError
        If the file holds none.
    WorkspaceError
        If it cannot be written.
    """
    with guarded(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            neighbour = path.with_name(f".{path.name}.{os.getpid()}")
            handle = os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(neighbour, path)
            except FileExistsError:
                pass  # another process was first, and its secret is the one
            finally:
                neighbour.unlink()
        text = path.read_text().strip()
    if len(text) < 2 * _BYTES:
        raise ServingError("This file holds no secret to hash columns with.", where=str(path), allowed="32 characters.")
    return text.encode()
