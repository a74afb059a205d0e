"""RowCheck: the compiled form of a schema that checks one row in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from math import isfinite
from typing import Any

import polars as pl

from modelyard.core.errors import Problem, RowError, did_you_mean, listed
from modelyard.data.column import Column, Value
from modelyard.data.dates import ALLOWED, naive, parse_date
from modelyard.data.limits import allowed_values, is_limited, refusal
from modelyard.data.printed import as_text

_SHOWN = 60
_MOST_SHOWN_LEVELS = 10


class _Bad(Exception):
    """A value that does not fit, with what would have."""

    def __init__(self, what: str, allowed: str) -> None:
        self.what, self.allowed = what, allowed


class RowCheck:
    """Checks rows against the features of one schema.

    Parameters
    ----------
    columns : sequence of Column
        Every column of the schema: a row may bring label or ignored columns, which are passed over.
    features : sequence of Column
        The columns a row must bring; those never missing in development may not be missing here.
    """

    def __init__(self, columns: Sequence[Column], features: Sequence[Column]) -> None:
        self._known = frozenset(c.name for c in columns)
        self._features = {c.name: c for c in features}
        self._plan = tuple((c.name, _reader(c), c.missing == 0.0) for c in features)
        self._readers = {name: read for name, read, _ in self._plan}

    def __call__(self, row: Mapping[str, object], refuse: bool, pointer: str) -> dict[str, Value | datetime]:
        """Return typed values of every feature; raise RowError naming every bad field."""
        typed: dict[str, Value | datetime] = {}
        problems: list[Problem] = []
        get = row.get
        for name, read, required in self._plan:
            value = get(name)
            if value is None or value != value or value == "":  # null, NaN and the empty string are missing
                if required:
                    problems.append(self.missing(name, name in row, pointer))
                typed[name] = None
                continue
            try:
                typed[name] = read(value)
            except _Bad as bad:
                problems.append(Problem(_at(pointer, name), f"'{name}': {bad.what}", bad.allowed))
        if refuse and not self._known.issuperset(row):
            problems += [self.unknown(str(name), pointer) for name in row if name not in self._known]
        if problems:
            raise RowError(problems)
        return typed

    def problem(self, name: str, value: object, pointer: str) -> Problem:
        """Return what is wrong with one value that does not fit its column, in the words of a row's check."""
        if value is None or value != value or value == "":
            return self.missing(name, True, pointer)
        try:
            self._readers[name](value)
        except _Bad as bad:
            return Problem(_at(pointer, name), f"'{name}': {bad.what}", bad.allowed)
        return Problem(_at(pointer, name), f"'{name}': {_shown(value)} is not read", _allowed(self._features[name]))

    def missing(self, name: str, present: bool, pointer: str) -> Problem:
        """Return the problem of a column that must have a value, and has an empty one or none."""
        what = f"'{name}' is {'empty' if present else 'missing'}"
        allowed = f"{_allowed(self._features[name])} It was never missing where the model learnt."
        return Problem(_at(pointer, name), what, allowed)

    def unknown(self, name: str, pointer: str) -> Problem:
        """Return the problem of a field that is no column of the schema."""
        near = did_you_mean(name, list(self._features))
        return Problem(_at(pointer, name), f"'{name}' is not a column of this model", near or "Leave it out.")


def _at(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def _shown(value: object) -> str:
    # Callers sent JSON: their word for it is true, not True, and a date is a text.
    text = str(value).lower() if isinstance(value, bool) else repr(str(value) if isinstance(value, date) else value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _allowed(column: Column) -> str:
    limits = allowed_values(column)
    if column.kind == "number":
        seen = "" if column.low is None else f" (seen: {column.low:g} to {column.high:g})"
        return f"A finite number{', ' * bool(limits)}{limits}{seen}."
    if column.kind == "boolean":
        return "true or false."
    if column.kind == "date":
        return f"{limits}. {ALLOWED}" if limits else ALLOWED
    if limits:
        return f"One of: {limits}."
    return f"A string (seen: {listed(column.levels, _MOST_SHOWN_LEVELS)})." if column.levels else "A string."


def _reader(column: Column) -> Callable[[Any], Value | datetime]:
    read = _typed(column)
    return _limited(column, read) if is_limited(column) else read


def _limited(column: Column, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    allowed, refused = _allowed(column), refusal(column)
    levels = frozenset(column.allowed)

    def limited(value: Any) -> Any:
        found = read(value)
        if levels and found not in levels:
            found = as_text(pl.Series([found]), column)[0]  # a text may be the number of a level, as in a table
        why = refused(found)
        if why is not None:
            raise _Bad(f"{_shown(value)} {why}", allowed)
        return found

    return limited


def _typed(column: Column) -> Callable[[Any], Value | datetime]:
    if column.kind == "number":
        return _number(column)
    if column.kind == "boolean":
        return _boolean(column)
    if column.kind == "date":
        return _date(column)
    return _category(column)


def _number(column: Column) -> Callable[[Any], float]:
    allowed = _allowed(column)

    def read(value: Any) -> float:
        kind = type(value)
        if kind is float:
            if isfinite(value):
                return value  # type: ignore[no-any-return]
        elif kind is not bool and kind.__name__ != "bool":  # numpy's truth values are called bool too
            try:
                # Strings are refused: "1,5" and "1.5" would both be somebody's guess.
                number = None if isinstance(value, (str, bytes)) else float(value)
            except (TypeError, ValueError, OverflowError):
                number = None
            if number is not None and isfinite(number):
                return number
        raise _Bad(f"{_shown(value)} is not a finite number", allowed)

    return read


def _boolean(column: Column) -> Callable[[Any], bool]:
    allowed = _allowed(column)

    def read(value: Any) -> bool:
        try:
            if value in (0, 1):  # true and false, numpy's too, are 1 and 0
                return bool(value)
        except (TypeError, ValueError):
            pass
        raise _Bad(f"{_shown(value)} is neither true nor false", allowed)

    return read


def _date(column: Column) -> Callable[[Any], datetime]:
    allowed = _allowed(column)

    def read(value: Any) -> datetime:
        if isinstance(value, datetime):
            return naive(value)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day)
        moment = parse_date(value) if isinstance(value, str) else None
        if moment is None:
            raise _Bad(f"{_shown(value)} is not a date", allowed)
        return moment

    return read


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # a whole number beyond every float
        return False


def _category(column: Column) -> Callable[[Any], str]:
    allowed = _allowed(column)
    physical = column.physical

    def read(value: Any) -> str:
        if type(value) is str:
            if value.isascii() or _encodes(value):
                return value
            raise _Bad(f"{value!a} holds half a surrogate pair, which no file can", allowed)
        plain = value.item() if hasattr(value, "item") else value
        if isinstance(plain, (bool, str)):
            return str(plain)
        # A level is written as the training data printed it: 1 in a column of floats was "1.0".
        if isinstance(plain, (int, float)) and _finite(plain):
            if physical == "float":
                return str(float(plain))
            return str(int(plain)) if physical == "integer" and plain == int(plain) else str(plain)
        raise _Bad(f"{_shown(value)} is not a string", allowed)

    return read
