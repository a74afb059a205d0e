"""Reader: one row's JSON straight to the inputs of the graph, by a type compiled from the schema.

It takes what is plainly right and leaves everything else: what it returns None for, ``Schema.check_row`` reads, says
what is wrong with, or finds right after all. So it is never asked to be kind, only to be quick and never to accept what
the schema would refuse.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from modelyard.data.column import Column
from modelyard.data.dates import parse_date
from modelyard.data.limits import is_limited, refusal
from modelyard.data.schema import Schema
from modelyard.encoding.encoding import MISSING, MOST_CHARACTERS, NO_MOMENT, Encoding, moment

_LARGEST = float(np.finfo(np.float32).max)
_EXACT = 2**53
Given = list[Any]
"""What a row gives to the graph, of each kind of input it has."""
_TEXT = Annotated[str, Meta(min_length=1)]
_NEVER = Annotated[int, Meta(ge=1, le=0)]
_MOST_COLUMNS = 500
"""Names are looked for one after the other from where the last one was: slow where many come in another order."""
_ESCAPED = re.compile(r'[\\"\x00-\x1f]')
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Reader:
    """Reads rows of one schema for one graph.

    Parameters
    ----------
    schema : Schema
        What a row must fit.
    encoding : Encoding
        The layout of the graph's inputs.
    ignore : bool
        Whether names the schema does not know are passed over.

    Attributes
    ----------
    exact : bool
        Whether a body that was read holds nothing but the row.
    """

    def __init__(self, schema: Schema, encoding: Encoding, *, ignore: bool = False) -> None:
        row = _row(schema, ignore)
        self.exact = not ignore
        place = {name: i for i, name in enumerate(row.__struct_encode_fields__)}
        columns = {column.name: column for column in schema.columns}
        self._decode = msgspec.json.Decoder(row).decode
        self._numbers = _pick([place[number.column] for number in encoding.given])
        self._pack = struct.Struct(f"{len(encoding.given)}f").pack  # an array over it takes a third of one from a list
        self._dates = _pick([place[name] for name in encoding.dates])
        self._strings = _pick([place[name] for name in encoding.strings])
        self._texts = _pick([place[name] for name in encoding.texts])
        self._gaps = any(columns[number.column].missing for number in encoding.given)
        levels = [_LEVELS.get(columns[name].physical, _text) for name in encoding.strings]
        plain = all(level is _text for level in levels) and not any(columns[n].missing for n in encoding.strings)
        self._levels = None if plain else levels
        limited = [c for c in schema.features if c.kind != "number" and is_limited(c)]
        self._limits = tuple((place[c.name], _within(c)) for c in limited)
        picked = self._numbers, self._dates, self._strings, self._texts
        kinds: list[tuple[str, Callable[[tuple[Any, ...]], Any]]] = [
            ("numbers", lambda rows: np.ndarray((len(rows), len(encoding.given)), np.float32, b"".join(rows))),
            ("moments", lambda rows: np.array(rows, dtype=np.int64)),
            ("strings", lambda rows: np.array(rows, dtype=np.object_)),
            ("texts", lambda rows: np.array(rows, dtype=np.object_)),
        ]
        self._made = [kind for kind, pick in zip(kinds, picked, strict=True) if pick is not None]

    def __call__(self, body: bytes) -> tuple[Any, Given] | None:
        """Return a row as it was sent, which JSON writes as an object, and what `inputs` makes arrays of.

        None where the body is anything but one row that plainly fits.
        """
        try:
            row = self._decode(body)
        except _ERRORS:
            return None
        sent = msgspec.structs.astuple(row)
        for place, within in self._limits:
            if not within(sent[place]):
                return None
        given: list[Any] = []
        if self._numbers is not None:
            numbers: Any = self._numbers(sent)
            if self._gaps:
                numbers = [math.nan if value is None or value is UNSET else value for value in numbers]
            given.append(self._pack(*numbers))
        if self._dates is not None:
            moments = [_moment(value) for value in self._dates(sent)]
            if None in moments:
                return None
            given.append(moments)
        if self._strings is not None:
            strings: Any = self._strings(sent)
            if self._levels is not None:
                strings = [level(value) for level, value in zip(self._levels, strings, strict=True)]
            given.append(strings)
        if self._texts is not None:
            given.append([(text or MISSING)[:MOST_CHARACTERS] for text in self._texts(sent)])
        return row, given

    def inputs(self, given: Sequence[Given]) -> dict[str, Any]:
        """Return the graph's inputs for rows that were read, one array of each kind for all of them."""
        return {name: make(values) for (name, make), values in zip(self._made, zip(*given, strict=True), strict=True)}


def reader(schema: Schema, encoding: Encoding, *, ignore: bool = False) -> Reader | None:
    """Return the reader of a schema's rows, None where there can be none: `check_row` then reads them all.

    There is none for a forecast, for graphs that are given the parts of dates, for very many columns, and for a column
    whose name JSON cannot write as it stands.
    """
    parts = any(number.part != "value" for number in encoding.given)
    if schema.task == "forecast" or parts or len(schema.columns) > _MOST_COLUMNS:
        return None
    if any(_ESCAPED.search(column.name) for column in schema.columns):
        return None
    return Reader(schema, encoding, ignore=ignore)


def _row(schema: Schema, ignore: bool) -> Any:
    """Return the type of a row: its fields in the order of the table, as callers send them."""
    features = {column.name for column in schema.features}
    fields = {column.name: _field(column) if column.name in features else (Any, UNSET) for column in schema.columns}
    if ignore:
        fields.setdefault("instances", (_NEVER, UNSET))  # many rows are not one row whose every name is ignored
    given = [(f"_{i}", *field) for i, field in enumerate(fields.values())]
    return msgspec.defstruct(
        "Row",
        given,
        rename={f"_{i}": name for i, name in enumerate(fields)},
        forbid_unknown_fields=not ignore,
        kw_only=True,
        gc=False,
    )


def _field(column: Column) -> tuple[Any, ...]:
    kind: Any = _TEXT if column.missing == 0.0 else str
    if column.kind == "number":
        kind = _number(column)
    elif column.kind == "boolean":
        kind = bool | Annotated[int, Meta(ge=0, le=1)]
    elif column.kind == "category" and column.physical in _NUMERIC:
        kind |= _NUMERIC[column.physical]
    return (kind,) if column.missing == 0.0 else (kind | None | UnsetType, UNSET)


def _number(column: Column) -> Any:
    """Return the type of the numbers a column takes: two types, so that the log has 41 where 41 was sent."""
    low = -math.inf if column.minimum is None else column.minimum
    high = math.inf if column.maximum is None else column.maximum
    least, most = math.ceil(max(low, -_EXACT)), math.floor(min(high, _EXACT))
    whole = Annotated[int, Meta(ge=min(least, _EXACT + 1), le=max(most, -_EXACT - 1))]
    return whole | Annotated[float, Meta(ge=max(low, -_LARGEST), le=min(high, _LARGEST))]


def _within(column: Column) -> Callable[[Any], bool]:
    """Return what says whether a value as it was sent plainly is one that the brief allows, or a missing one."""
    refused = refusal(column)
    if column.kind == "date":
        return lambda value: not value or ((found := parse_date(value)) is not None and refused(found) is None)
    level = _LEVELS.get(column.physical, _text)
    return lambda value: (text := level(value)) == MISSING or refused(text) is None


def _pick(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]] | None:
    if len(places) == 1:
        place = places[0]
        return lambda row: (row[place],)
    return itemgetter(*places) if places else None


def _text(value: Any) -> str:
    return value or MISSING


def _integer(value: Any) -> str:
    return str(value) if type(value) is int else value or MISSING


def _float(value: Any) -> str:
    return str(value) if type(value) is float else value or MISSING


def _moment(value: Any) -> int | None:
    if not value:
        return NO_MOMENT
    found = parse_date(value)
    return None if found is None else moment(found)


_NUMERIC: dict[str, Any] = {"integer": int, "float": float}
_LEVELS: dict[str, Callable[[Any], str]] = {"integer": _integer, "float": _float}
