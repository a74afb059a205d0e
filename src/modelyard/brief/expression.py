"""Expressions of a rule: each is applied to whole columns at once."""
# ruff: noqa: D102 (what the methods of each return, Expression says)

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.brief.words import number
from modelyard.core.errors import BriefError

Values = NDArray[Any]
"""float64 (NaN is missing), object (texts and None) or datetime64 in microseconds (NaT is missing), of shape [n]."""
Given = Mapping[str, Values]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


def as_values(column: object) -> Values:
    """Return a column, or one field as a column of one, in one of the three types of `Values`.

    Raises
    ------
    BriefError
        If it holds something else than numbers, booleans, texts and dates, or several of these kinds.
    """
    array = np.atleast_1d(np.asarray(_naive(column) if isinstance(column, datetime) else column)).reshape(-1)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    items = [None if _none(v) else v for v in array.tolist()]
    present = [v for v in items if v is not None]
    if present and all(isinstance(v, str) for v in present):
        return np.array(items, dtype=object)
    if present and all(isinstance(v, date) for v in present):
        return np.array([_naive(v) if isinstance(v, datetime) else v for v in items], dtype="datetime64[us]")
    if all(isinstance(v, Real | Decimal) for v in present):
        return np.array([np.nan if v is None else float(v) for v in items], dtype=np.float64)
    kinds = sorted({type(v).__name__ for v in present})
    raise BriefError(
        f"A rule reads a column of {', '.join(kinds)}.", allowed="Numbers, booleans, texts or dates, unmixed."
    )


class Expression(ABC):
    """A part of a rule."""

    condition: bool = False
    """Whether it is a condition by nature."""

    def columns(self) -> Iterator[str]:
        """Yield the columns it reads, in order."""
        for field in fields(self):  # type: ignore[arg-type]  # every expression is a dataclass
            part = getattr(self, field.name)
            if isinstance(part, Expression):
                yield from part.columns()

    @abstractmethod
    def values(self, given: Given) -> Values:
        """Return what it stands for."""

    def number(self, given: Given) -> Floats:
        """Return it as numbers; NaN where it is none."""
        return _numbers(self.values(given))

    def holds(self, given: Given) -> Flags:
        """Return it as a condition."""
        number = self.number(given)
        return np.asarray((number != 0) & ~np.isnan(number), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Column(Expression):
    """A column."""

    name: str

    def columns(self) -> Iterator[str]:
        yield self.name

    def values(self, given: Given) -> Values:
        return given[self.name]


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A number or a text; true is 1."""

    value: float | str

    def values(self, given: Given) -> Values:
        return np.array([self.value], dtype=object if isinstance(self.value, str) else np.float64)


@dataclass(frozen=True, slots=True)
class Negative(Expression):
    """Minus something."""

    inner: Expression

    def values(self, given: Given) -> Values:
        return -self.inner.number(given)


@dataclass(frozen=True, slots=True)
class Arithmetic(Expression):
    """A sum, difference, product or quotient of numbers; division by zero is missing."""

    sign: str
    left: Expression
    right: Expression

    def values(self, given: Given) -> Values:
        left, right = self.left.number(given), self.right.number(given)
        with np.errstate(all="ignore"):
            if self.sign == "/":
                return np.where(right == 0, np.nan, left / right)
            operation = {"+": np.add, "-": np.subtract, "*": np.multiply}[self.sign]
            return np.asarray(operation(left, right), dtype=np.float64)


class _Condition(Expression):
    condition = True

    def values(self, given: Given) -> Values:
        return self.holds(given).astype(np.float64)

    @abstractmethod
    def holds(self, given: Given) -> Flags:
        """Return where it holds."""


@dataclass(frozen=True, slots=True)
class Comparing(_Condition):
    """A comparison; false where either side is missing."""

    sign: str
    left: Expression
    right: Expression

    def holds(self, given: Given) -> Flags:
        return _compare(self.sign, self.left.values(given), self.right.values(given))


@dataclass(frozen=True, slots=True)
class Member(_Condition):
    """Whether something is one of a few values; false where it is missing, of either kind."""

    inner: Expression
    items: tuple[Literal, ...]
    negated: bool

    def holds(self, given: Given) -> Flags:
        values = self.inner.values(given)
        found = np.any([_compare("==", values, item.values(given)) for item in self.items], axis=0)
        return np.asarray(~found & ~_missing(values) if self.negated else found, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Missing(_Condition):
    """Whether something is missing."""

    inner: Expression
    negated: bool

    def holds(self, given: Given) -> Flags:
        missing = _missing(self.inner.values(given))
        return ~missing if self.negated else missing


@dataclass(frozen=True, slots=True)
class Not(_Condition):
    """Whether something does not hold."""

    inner: Expression

    def holds(self, given: Given) -> Flags:
        return ~self.inner.holds(given)


@dataclass(frozen=True, slots=True)
class Both(_Condition):
    """Whether two conditions hold."""

    left: Expression
    right: Expression

    def holds(self, given: Given) -> Flags:
        return self.left.holds(given) & self.right.holds(given)


@dataclass(frozen=True, slots=True)
class Either(_Condition):
    """Whether one of two conditions holds."""

    left: Expression
    right: Expression

    def holds(self, given: Given) -> Flags:
        return self.left.holds(given) | self.right.holds(given)


def misread(tree: Expression, given: Given) -> Iterator[str]:
    """Yield the parts of a rule that hold values, none of which is a number (or a date) where one is asked for."""
    parts = [part for field in fields(tree) if isinstance(part := getattr(tree, field.name), Expression)]  # type: ignore[arg-type]
    for part in parts:
        yield from misread(part, given)
    if isinstance(tree, Comparing | Member):
        others = (tree.right,) if isinstance(tree, Comparing) else tree.items
        for pair in ((parts[0], other) for other in others):
            kinds = {part.values(given).dtype.kind for part in pair}
            if len(kinds) > 1:
                read = _dates if kinds == {"O", "M"} else _numbers
                yield from (_named(part) for part in pair if _all_lost(part.values(given), read))
    elif not isinstance(tree, Missing):
        yield from (_named(part) for part in parts if _all_lost(part.values(given), _numbers))


def _all_lost(values: Values, read: Callable[[Values], Values]) -> bool:
    return not bool(_missing(values).all()) and bool(_missing(read(values)).all())


def _named(part: Expression) -> str:
    return f"'{part.name}'" if isinstance(part, Column) else repr(getattr(part, "value", "a part"))


_COMPARE = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def _compare(sign: str, left: Values, right: Values) -> Flags:
    kinds = {left.dtype.kind, right.dtype.kind}
    if kinds == {"O", "M"}:
        left, right = _dates(left), _dates(right)
    elif len(kinds) > 1:
        left, right = _numbers(left), _numbers(right)
    left, right = np.broadcast_arrays(left, right)
    known = ~(_missing(left) | _missing(right))
    answer = np.zeros(left.shape, dtype=np.bool_)
    answer[known] = _COMPARE[sign](left[known], right[known]).astype(np.bool_)
    return answer


def _missing(values: Values) -> Flags:
    if values.dtype.kind == "O":
        return np.array([v is None for v in values.tolist()], dtype=np.bool_)
    return np.asarray(np.isnat(values) if values.dtype.kind == "M" else np.isnan(values), dtype=np.bool_)


def _numbers(values: Values) -> Floats:
    if values.dtype.kind == "O":
        return np.array([np.nan if v is None else number(v) for v in values.tolist()], dtype=np.float64)
    if values.dtype.kind == "M":
        return np.full(values.shape, np.nan)
    return values


def _dates(values: Values) -> Values:
    if values.dtype.kind == "M":
        return values
    return np.array([None if v is None else _date(v) for v in values.tolist()], dtype="datetime64[us]")


def _date(text: str) -> datetime | None:
    try:
        return _naive(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _naive(moment: datetime) -> datetime:
    """Return a moment in UTC without a zone, as tables hold it."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _none(value: object) -> bool:
    return value is None or value != value
