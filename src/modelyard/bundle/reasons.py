"""Reasons: a reviewed table that turns what moved an adverse answer into codes and sentences a person can be told.

References
----------
12 CFR 1002.9 (Regulation B) with its official interpretation: the principal reasons of an adverse action, usually no
more than four.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.verify import checked_bytes
from modelyard.core.canonical import from_json
from modelyard.core.errors import DataError, listed
from modelyard.data.column import Column

FILE = "reasons.json"
MOST = 4
"""Reasons told of one answer."""
LEAST_ROWS = 30
"""Favourably answered rows a mean contribution is taken over at the least."""

Direction = Literal["high", "low", "missing", "any"]


@dataclass(frozen=True, slots=True)
class Reason:
    """What is told when a column moves an answer to the adverse side.

    Attributes
    ----------
    column : str
        The column.
    direction : {"high", "low", "missing", "any"}
        Of its value: at or above the usual one, below it, absent; "any" stands for those not named.
    code, text : str
        What is told. Columns of one code are told as one reason.
    """

    column: str
    direction: Direction
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ReasonTable:
    """A reviewed table of reasons, as a bundle holds it.

    Attributes
    ----------
    adverse : str
        The class, as text, that is an unfavourable answer.
    reviewed_by, reviewed_on : str
        Who vouches for it, and the day (ISO 8601).
    reasons : tuple of Reason
        One or more for each column.
    usual : dict of str to float
        Median of each number over rows answered favourably.
    moved : dict of str to float
        Mean contribution of each column over those rows: what an answer is compared with.
    rows : int
        How many rows those were.
    """

    adverse: str
    reviewed_by: str
    reviewed_on: str
    reasons: tuple[Reason, ...]
    usual: dict[str, float]
    moved: dict[str, float]
    rows: int

    def told(self, row: Mapping[str, Any], contributions: Mapping[str, float], positive: bool) -> list[dict[str, Any]]:
        """Return the reasons of an adverse answer, the weightiest first.

        Parameters
        ----------
        row : mapping
            Checked values by column.
        contributions : mapping
            To the log-odds of the positive class, by column.
        positive : bool
            Whether the adverse class is the positive one.

        Returns
        -------
        list of dict
            At most four of ``code``, ``text`` and ``columns``: those whose columns moved the answer to the adverse side
            of where they move favourable ones.
        """
        sign = 1.0 if positive else -1.0
        weights: defaultdict[str, float] = defaultdict(float)
        columns: defaultdict[str, list[str]] = defaultdict(list)
        entries = {(reason.column, reason.direction): reason for reason in self.reasons}
        texts = {reason.code: reason.text for reason in self.reasons}
        for name, moved in contributions.items():
            push = sign * (moved - self.moved[name])
            if push > 0.0:
                direction = self._direction(name, row.get(name))
                code = (entries.get((name, direction)) or entries[name, "any"]).code
                weights[code] += push
                columns[code].append(name)
        heaviest = sorted(weights, key=lambda code: -weights[code])[:MOST]
        return [{"code": code, "text": texts[code], "columns": columns[code]} for code in heaviest]

    def _direction(self, name: str, value: Any) -> Direction:
        if value is None:
            return "missing"
        if name not in self.usual:
            return "any"
        return "high" if value >= self.usual[name] else "low"


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """The table as people write it."""

    adverse: str | int | float | bool
    reviewed_by: str
    reviewed_on: str
    reasons: list[Reason]


def load_reasons(bundle: Bundle) -> ReasonTable | None:
    """Return a bundle's table of reasons, None where it has none.

    Raises
    ------
    BundleError
        If the file changed since it was packed.
    """
    if FILE not in bundle.manifest.files:
        return None
    return from_json(checked_bytes(bundle.path, FILE, bundle.manifest.files), ReasonTable)


def read_reasons(path: str | Path, bundle: Bundle) -> ReasonTable:
    """Read a table of reasons from YAML and hold it against a bundle; it is still to be compared (see `compared`).

    Raises
    ------
    DataError
        If it cannot be read, is no table of reasons, or leaves a column without words.
    """
    import yaml  # a server reads the bundle's own table, which is JSON

    where = str(path)
    try:
        plain = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        written = msgspec.convert(_dates_as_text(plain), _Written)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise DataError(
            "The table of reasons cannot be read.",
            where=f"{where}: {error}",
            allowed="YAML with adverse, reviewed_by, reviewed_on, and reasons: column, direction, code, text.",
        ) from None
    classes = bundle.schema.classes
    if len(classes) != 2:
        raise DataError("Reasons are told of one of two classes.", where=where, allowed="A binary model.")
    if str(written.adverse) not in classes:
        raise DataError(
            f"The adverse class '{written.adverse}' is none of the model's.",
            where=where,
            allowed=f"{' or '.join(classes)}.",
        )
    _check(written.reasons, bundle, where)
    if not written.reviewed_by.strip():
        raise DataError("Nobody reviewed the table of reasons.", where=where, do="Name who did as reviewed_by.")
    return ReasonTable(
        str(written.adverse), written.reviewed_by, written.reviewed_on, tuple(written.reasons), {}, {}, 0
    )


def compared(table: ReasonTable, bundle: Bundle, frame: pl.DataFrame) -> ReasonTable:
    """Return a table with what answers are compared with: the rows of a typed frame that are answered favourably.

    Raises
    ------
    DataError
        If too few are.
    """
    from modelyard.bundle.explanation import explanations

    favourable = [str(answer) != table.adverse for answer in _as_text(bundle, frame)]
    kept = frame.filter(pl.Series(favourable, dtype=pl.Boolean))
    if kept.height < LEAST_ROWS:
        raise DataError(
            f"The model answers {kept.height} of {frame.height} rows favourably.",
            allowed=f"{LEAST_ROWS} or more, to compare adverse answers with.",
            do="Give more rows.",
        )
    names = [column.name for column in bundle.schema.features]
    moved = np.array([[one.contributions[n] for n in names] for one in explanations(bundle, kept)]).mean(axis=0)
    numbers = [c.name for c in bundle.schema.features if c.kind in ("number", "boolean")]
    medians = {n: kept[n].cast(pl.Float64).median() for n in numbers}
    usual = {n: float(m) for n, m in medians.items() if isinstance(m, float)}
    return replace(table, usual=usual, moved=dict(zip(names, moved.tolist(), strict=True)), rows=kept.height)


def _as_text(bundle: Bundle, frame: pl.DataFrame) -> list[str]:
    named = dict(zip(bundle.classes, bundle.schema.classes, strict=True))
    return [named[answer] for answer in bundle.decide(bundle.runtime.frame(frame)).tolist()]


def _check(reasons: list[Reason], bundle: Bundle, where: str) -> None:
    features = {column.name: column for column in bundle.schema.features}
    strange = [f"'{r.column}'" for r in reasons if r.column not in features]
    if strange:
        raise DataError(f"The model has no column {listed(strange, 5)}.", where=where, do="Leave it out.")
    held: dict[str, set[str]] = {name: set() for name in features}
    texts: dict[str, str] = {}
    for reason in reasons:
        if reason.direction in held[reason.column]:
            raise DataError(f"'{reason.column}' has two reasons for '{reason.direction}'.", where=where)
        if texts.setdefault(reason.code, reason.text) != reason.text or not reason.text.strip():
            raise DataError(f"The code '{reason.code}' has two texts, or none.", where=where)
        held[reason.column].add(reason.direction)
    silent = [f"'{name}' ({', '.join(lacks)})" for name, lacks in _lacking(features, held).items() if lacks]
    if silent:
        raise DataError(
            f"The table of reasons has no words for {listed(silent, 10)}.",
            where=where,
            allowed="A reason for every column: high and low of a number, missing where it may be, or any.",
            do="Add them, and have them reviewed.",
        )


def _lacking(features: Mapping[str, Column], held: Mapping[str, set[str]]) -> dict[str, list[str]]:
    found = {}
    for name, column in features.items():
        needed = ["high", "low"] if column.kind in ("number", "boolean") else ["any"]
        needed += ["missing"] if column.missing > 0.0 else []
        found[name] = [] if "any" in held[name] else [one for one in needed if one not in held[name]]
    return found


def _dates_as_text(plain: Any) -> Any:
    """Return the table with its date as text: YAML reads 2026-11-01 as a date."""
    if isinstance(plain, dict) and hasattr(plain.get("reviewed_on"), "isoformat"):
        return {**plain, "reviewed_on": plain["reviewed_on"].isoformat()}
    return plain
