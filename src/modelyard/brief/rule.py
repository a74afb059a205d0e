"""Rule: the user's present heuristic, a condition or a value over columns.

::

    rule        = or
    or          = and {"or" and}
    and         = not {"and" not}
    not         = "not" not | comparison
    comparison  = sum [ ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") sum
                      | ["not"] "in" "[" literal {"," literal} "]"
                      | "is" ["not"] "missing" ]
    sum         = product {("+" | "-") product}
    product     = factor {("*" | "/") factor}
    factor      = "-" factor | "(" rule ")" | literal | column
    literal     = number | "text" | 'text' | "true" | "false"
    column      = name (letters of any script, digits, "_" and ".") | `any name in backticks`

A comparison with something missing is false, of either sign, so ``not (x > 2)`` holds where x is missing. Text compared
with a number is read as a number, and with a date as a date; where it is none it counts as missing. True is 1, false is
0, and a column that stands alone as a condition holds where it is neither 0 nor missing. Division by zero is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelyard.brief.expression import (
    Arithmetic,
    Both,
    Column,
    Comparing,
    Either,
    Expression,
    Literal,
    Member,
    Missing,
    Negative,
    Not,
    Values,
    as_values,
    misread,
)
from modelyard.core.errors import BriefError, did_you_mean

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|`(?P<quoted>[^`]+)`|(?P<name>[^\W\d][\w.]*)"
    r"|(?P<sign>==|!=|<=|>=|[-=<>+*/()\[\],]))",
    re.DOTALL,
)
_KEYWORDS = {"and", "or", "not", "in", "is", "missing", "true", "false"}
_COMPARISONS = {"=": "==", "==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_DEEPEST = 60  # parentheses within parentheses
_MOST = 150  # operations: a rule is what a person decides by


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was read.

    Attributes
    ----------
    text : str
        As written.
    tree : Expression
        What it says.
    """

    text: str
    tree: Expression

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule.

        Raises
        ------
        BriefError
            Where the grammar is broken, with the column (1 is the first) of the fault.
        """
        return cls(text, _Parser(text).rule())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once, in order."""
        return tuple(dict.fromkeys(self.tree.columns()))

    @property
    def condition(self) -> bool:
        """Whether it answers yes or no (a comparison), rather than with a number."""
        return self.tree.condition

    def evaluate(self, columns: Mapping[str, object]) -> object:
        """Apply the rule to columns of a table, or to the fields of one row.

        Parameters
        ----------
        columns : mapping of str to array of shape [n], or to scalar
            Numbers (NaN or None is missing), booleans, text, dates.

        Returns
        -------
        array of shape [n], or scalar
            Booleans for a condition; else float64, NaN where missing. A row gives what its place in a table would.

        Raises
        ------
        BriefError
            If a column it reads is not there.
        """
        given = self._given(columns)
        single = all(isinstance(columns[n], str) or not hasattr(columns[n], "__len__") for n in given)
        answer: Values = self.tree.holds(given) if self.condition else self.tree.number(given)
        return answer[0].item() if single else answer

    def misread(self, columns: Mapping[str, object]) -> tuple[str, ...]:
        """Return what in the rule is compared or reckoned as a number or date and holds none on any row.

        Parameters
        ----------
        columns : see `evaluate`
        """
        given = self._given(columns)
        found = list(misread(self.tree, given))
        if not self.condition and isinstance(self.tree, Column):  # it stands alone
            found += misread(Negative(self.tree), given)
        return tuple(dict.fromkeys(found))

    def _given(self, columns: Mapping[str, object]) -> dict[str, Values]:
        for name in self.columns:
            if name not in columns:
                raise BriefError(
                    f"The rule reads a column '{name}' that is not there.",
                    where=f"rule: {self.text}",
                    do=did_you_mean(name, list(columns)) or "Name a column of the table.",
                )
        return {name: as_values(columns[name]) for name in self.columns}


class _Parser:
    """Recursive descent over the tokens of a rule."""

    def __init__(self, text: str) -> None:
        self._text, self._depth, self._next = text, 0, 0
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                begin = at + len(text[at:]) - len(text[at:].lstrip())
                opened = text[begin] in "\"'`"
                raise self._error(
                    "the quote is never closed" if opened else f"'{text[begin]}' cannot stand here", begin
                )
            kind, word = match.lastgroup, match[match.lastgroup]
            if kind == "name" and word.lower() in _KEYWORDS:
                kind, word = "word", word.lower()
            self._tokens.append((kind, word, match.start(match.lastgroup)))
            at = match.end()
        operations = sum(kind == "word" or (kind == "sign" and word not in ",[]()") for kind, word, _ in self._tokens)
        if operations > _MOST:
            raise BriefError(
                f"The rule has {operations} operations.", where=f"rule: {text[:120]}", allowed=f"{_MOST} operations."
            )

    def rule(self) -> Expression:
        tree = self._either()
        if self._next < len(self._tokens):
            _, word, at = self._tokens[self._next]
            raise self._error(f"'{word}' cannot stand here", at)
        if next(tree.columns(), None) is None:
            raise BriefError("A rule must read a column.", where=f"rule: {self._text}")
        return tree

    def _either(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("it is nested too deeply", self._at())
        tree = self._both()
        while self._take("or"):
            tree = Either(tree, self._both())
        self._depth -= 1
        return tree

    def _both(self) -> Expression:
        tree = self._not()
        while self._take("and"):
            tree = Both(tree, self._not())
        return tree

    def _not(self) -> Expression:
        times = 0
        while self._take("not"):
            times += 1
        tree = self._comparison()
        return tree if times == 0 else Not(tree) if times % 2 else Not(Not(tree))

    def _comparison(self) -> Expression:
        left = self._sum()
        if self._take("is"):
            negated = self._take("not")
            self._expect("missing")
            return Missing(left, negated)
        negated = self._peek() == "not" and self._peek(1) == "in"
        if negated:
            self._take("not")
        if self._take("in"):
            return Member(left, self._literals(), negated)
        sign = self._peek()
        if sign not in _COMPARISONS:
            return left
        self._next += 1
        tree = Comparing(_COMPARISONS[sign], left, self._sum())
        if self._peek() in _COMPARISONS:
            raise self._error("comparisons cannot be chained: join two with 'and'", self._at())
        return tree

    def _literals(self) -> tuple[Literal, ...]:
        self._expect("[")
        items = [self._literal()]
        while self._take(","):
            items.append(self._literal())
        self._expect("]")
        return tuple(items)

    def _literal(self) -> Literal:
        at, negative = self._at(), self._take("-")
        item = self._factor()
        if not isinstance(item, Literal) or (negative and isinstance(item.value, str)):
            raise self._error("a list holds numbers and texts in quotes only", at)
        return Literal(-item.value) if negative and not isinstance(item.value, str) else item

    def _sum(self) -> Expression:
        return self._chain({"+", "-"}, self._product)

    def _product(self) -> Expression:
        return self._chain({"*", "/"}, self._factor)

    def _chain(self, signs: set[str], operand: Callable[[], Expression]) -> Expression:
        tree = operand()
        while (sign := self._peek()) in signs:
            self._next += 1
            tree = Arithmetic(sign, tree, operand())
        return tree

    def _factor(self) -> Expression:
        times = 0
        while self._take("-"):
            times += 1
        tree = self._atom()
        return Negative(tree) if times % 2 else tree

    def _atom(self) -> Expression:
        if self._take("("):
            tree = self._either()
            self._expect(")")
            return tree
        if self._next == len(self._tokens):
            raise self._error("it breaks off", len(self._text))
        kind, word, at = self._tokens[self._next]
        self._next += 1
        if kind == "number":
            return Literal(float(word))
        if kind == "text":
            return Literal(_unquoted(word))
        if word in {"true", "false"} and kind == "word":
            return Literal(float(word == "true"))
        if kind in {"name", "quoted"}:
            return Column(word)
        raise self._error(f"a column or a value must stand before '{word}'", at)

    def _peek(self, ahead: int = 0) -> str:
        if self._next + ahead >= len(self._tokens):
            return ""
        kind, word, _ = self._tokens[self._next + ahead]
        return word if kind in {"sign", "word"} else ""

    def _take(self, word: str) -> bool:
        found = self._peek() == word
        self._next += found
        return found

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._error(f"'{word}' must stand here", self._at())

    def _at(self) -> int:
        return self._tokens[self._next][2] if self._next < len(self._tokens) else len(self._text)

    def _error(self, what: str, at: int) -> BriefError:
        return BriefError(
            f"The rule cannot be read at column {at + 1}: {what}.",
            where=f"rule: {self._text}",
            allowed="Comparisons of columns joined by and, or, not, such as: prior_visits > 2 and ward in ['A', 'B']",
        )


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL)
