"""Record, Entry and Label: one answered request, how it is written, and what later came true of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_DICTS = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Record(msgspec.Struct, frozen=True):
    """One answered request.

    Attributes
    ----------
    id : str
        The answer's id, which the caller has too: true labels come back under it.
    at : float
        When it was answered, seconds since 1970 (UTC).
    model, bundle : str
        Name of the model, and hash of the bundle that served it.
    rows : list of dict
        As the caller sent them, but for the columns withheld.
    answers : list of dict
        One for each row (see ``Prediction.plain``).
    milliseconds : float
        From the request's last byte to its answer.
    version, variant : str
        The release's version, and the arm of a rollout that answered.
    key, trace : str
        Id of the caller's key, and of the trace the request belongs to.
    withheld : tuple of str
        Columns that were hashed or left out before this was written.
    """

    id: str
    at: float
    model: str
    bundle: str
    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    milliseconds: float
    version: str = ""
    variant: str = ""
    key: str = ""
    trace: str = ""
    withheld: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A record as it is written and stored: rows and answers are JSON texts.

    A server has both as such, and a loader need not read them: most of what writing and loading would take. Fields that
    come later stand at the end and have defaults, so that entries of an earlier server stay readable.

    Attributes
    ----------
    rows, answers : bytes
        JSON lists of objects.
    count : int
        How many rows.
    id, at, model, bundle, milliseconds, version, variant, key, trace, withheld
        As in `Record`.
    """

    id: str
    at: float
    model: str
    bundle: str
    rows: bytes
    answers: bytes
    count: int
    milliseconds: float
    version: str = ""
    variant: str = ""
    key: str = ""
    trace: str = ""
    withheld: tuple[str, ...] = ()

    @staticmethod
    def of(record: Record) -> Entry:
        """Return the entry of a record."""
        r = record
        return Entry(
            r.id, r.at, r.model, r.bundle, _encode(r.rows), _encode(r.answers), len(r.rows), r.milliseconds,
            r.version, r.variant, r.key, r.trace, r.withheld,
        )  # fmt: skip

    def record(self) -> Record:
        """Return the record it was made of."""
        return Record(
            self.id, self.at, self.model, self.bundle, _DICTS(self.rows), _DICTS(self.answers), self.milliseconds,
            self.version, self.variant, self.key, self.trace, self.withheld,
        )  # fmt: skip


class Label(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came true of one row of an answered request.

    Attributes
    ----------
    id : str
        The answer's id.
    value : str, int, float or bool
        A class in the label's own type, or a number.
    row : int
        Which row of the request, from 0.
    at : float or None
        When it came true, seconds since 1970 (UTC), where the sender says so.
    received : float
        When it was sent in; of two labels of one row the later one counts.
    key : str
        Id of the sender's key.
    """

    id: str
    value: Any
    row: int = 0
    at: float | None = None
    received: float = 0.0
    key: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which records are asked for; None leaves a thing open.

    Attributes
    ----------
    model, version, variant : str or None
        As the record has them.
    since, until : float or None
        Seconds since 1970 (UTC): at `since` or later, and before `until`.
    """

    model: str | None = None
    version: str | None = None
    variant: str | None = None
    since: float | None = None
    until: float | None = None

    def __contains__(self, record: Record | Entry) -> bool:
        """Say whether a record is among those asked for."""
        named = (self.model, record.model), (self.version, record.version), (self.variant, record.variant)
        return (
            all(wanted is None or wanted == found for wanted, found in named)
            and (self.since is None or record.at >= self.since)
            and (self.until is None or record.at < self.until)
        )
