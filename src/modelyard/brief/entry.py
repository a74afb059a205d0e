"""Entry: one value of a brief's file, with the line it stands on, so that every error can name the place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TypeVar

import yaml

from modelyard.brief.words import number
from modelyard.core.errors import BriefError, did_you_mean

Placing = Callable[[int], str]
"""From a line's number, 0 first, to the place an error shows."""
Choice = TypeVar("Choice", bound=str)
_DEEPEST = 5
_PLAIN_TAGS = {f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "timestamp", "merge", "value")}
_SECTION_TAG, _LIST_TAG, _NULL_TAG = (f"tag:yaml.org,2002:{t}" for t in ("map", "seq", "null"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a brief.

    Attributes
    ----------
    value : str, None, tuple of Entry or dict of str to Entry
        A scalar as it was written (``no`` stays "no" and 2019 stays "2019": what a word means, its key decides),
        nothing, a list, or a section.
    key : str
        Its path, such as ``"data.label"``.
    place : str
        File, line and the line's text; the key where there is no file.
    """

    value: str | tuple[Entry, ...] | dict[str, Entry] | None
    key: str
    place: str

    def error(self, what: str, *, allowed: str | None = None, do: str | None = None) -> BriefError:
        """Return an error about this entry, to be raised."""
        return BriefError(what, where=self.place or None, allowed=allowed, do=do)

    def section(self, known: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> dict[str, Entry]:
        """Return the entries of a section that hold something.

        Parameters
        ----------
        known : sequence of str
            The keys it may have.
        elsewhere : mapping of str to str, optional
            Keys of other sections with their whole path, for a key that stands in the wrong one.

        Raises
        ------
        BriefError
            If it is no section, or has a key that is unknown.
        """
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.error(f"{self._name()} must be keys with values.", allowed=f"Keys: {', '.join(known)}")
        for key, entry in self.value.items():
            if key in known:
                continue
            hint = did_you_mean(key, known)
            if hint is None or key in (elsewhere or {}):
                hint = f"Did you mean '{(elsewhere or {})[key]}'?" if key in (elsewhere or {}) else None
            inside = f" in {self.key}" if self.key else ""
            raise entry.error(f"There is no key '{key}'{inside}.", allowed=hint, do=f"Keys{inside}: {', '.join(known)}")
        return {k: e for k, e in self.value.items() if e.value is not None}

    def text(self, allowed: str = "A text.") -> str:
        """Return a text that is not empty.

        Raises
        ------
        BriefError
            If it is a list, a section or empty.
        """
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error(f"{self._name()} must be a text.{self._got()}", allowed=allowed)
        return self.value

    def items(self) -> tuple[Entry, ...]:
        """Return the entries of a list; one value stands for a list of one."""
        return self.value if isinstance(self.value, tuple) else (self,)

    def words(self) -> tuple[str, ...]:
        """Return one text or several, each once."""
        return tuple(dict.fromkeys(e.text("One name, or a list of names.") for e in self.items()))

    def number(self, allowed: str, low: float, high: float = math.inf, *, open_low: bool = False) -> float:
        """Return a number in a range; per cent are a share.

        Raises
        ------
        BriefError
            If it is none, or outside the range.
        """
        text = self.value.strip() if isinstance(self.value, str) else ""
        value = round(number(text[:-1]) / 100, 15) if text.endswith("%") else number(text)
        if value != value:
            raise self.error(f"{self._name()} must be a number.{self._got()}", allowed=allowed)
        if not (low < value if open_low else low <= value) or not value <= high:
            raise self.error(f"{self._name()} is out of range: {text}.", allowed=allowed)
        return value

    def whole(self, allowed: str, low: int) -> int:
        """Return a whole number that is not smaller than `low`.

        Raises
        ------
        BriefError
            If it is none, or smaller.
        """
        text = self.value.strip() if isinstance(self.value, str) else ""
        value = number(text)
        if value == value and value < low:
            raise self.error(f"{self._name()} is out of range: {text}.", allowed=allowed)
        if value != value or value != int(value):
            raise self.error(f"{self._name()} must be a whole number.{self._got()}", allowed=allowed)
        plain = text.replace(",", "")
        return int(plain) if plain.lstrip("+-").isdigit() else int(value)

    def choice(self, known: Sequence[Choice], do: str | None = None) -> Choice:
        """Return one of a few words.

        Raises
        ------
        BriefError
            If it is another.
        """
        word = self.value.strip() if isinstance(self.value, str) else ""
        for one in known:
            if word.lower() == one:
                return one
        raise self.error(
            f"{self._name()} must be one of {', '.join(known)}.{self._got()}",
            allowed=did_you_mean(word, known) if word else None,
            do=do,
        )

    def _name(self) -> str:
        return f"'{self.key}'" if self.key else "A brief"

    def _got(self) -> str:
        kind = "a list" if isinstance(self.value, tuple) else "keys with values" if isinstance(self.value, dict) else ""
        return f" Got {kind or repr(self.value)} instead."


def from_text(text: str, file: str) -> Entry:
    """Read YAML (or JSON, which is YAML) into entries; nothing in it is ever executed or expanded.

    Raises
    ------
    BriefError
        If it is no YAML, has a key twice, or uses anchors or tags.
    """
    lines = text.split("\n")

    def place(line: int) -> str:
        shown = lines[line].strip()[:120] if line < len(lines) else ""
        return f"{file}, line {line + 1}" + (f": {shown}" if shown else "")

    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line if event.start_mark else 0
                raise BriefError("A brief has no anchors and aliases.", where=place(line))
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise BriefError("The brief is empty.", where=file, do="Write one with: modelyard init DATA --label COLUMN")
        return _entry(root, "", place)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BriefError(
            f"The brief is not YAML: {error.problem or error.context}.", where=place(mark.line) if mark else file
        ) from None
    except yaml.YAMLError as error:
        raise BriefError(f"The brief is not YAML: {str(error).splitlines()[0]}.", where=file) from None
    except RecursionError:
        raise BriefError("The brief is nested too deeply.", where=file) from None


def from_python(value: object, key: str = "", depth: int = 0) -> Entry:
    """Turn what Python holds into entries.

    Raises
    ------
    BriefError
        If it holds anything but texts, numbers, paths, lists and mappings.
    """
    if depth > _DEEPEST:
        raise BriefError("The brief is nested too deeply.", where=key)
    if isinstance(value, Mapping):
        below = {str(k): from_python(v, f"{key}.{k}" if key else str(k), depth + 1) for k, v in value.items()}
        return Entry(below, key, key)
    if isinstance(value, list | tuple):
        return Entry(tuple(from_python(v, key, depth + 1) for v in value), key, key)
    if isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, bool):
        value = str(value).lower()
    if value is None or isinstance(value, str):
        return Entry(value, key, key)
    if isinstance(value, int | float):
        return Entry(repr(value + 0), key, key)
    raise BriefError(
        f"'{key}' cannot be a {type(value).__name__}.", where=key, allowed="Texts, numbers, lists and mappings."
    )


def _entry(node: yaml.Node, key: str, place: Placing) -> Entry:
    where = place(node.start_mark.line)
    if isinstance(node, yaml.ScalarNode) and (node.tag in _PLAIN_TAGS or node.tag == _NULL_TAG):
        return Entry(None if node.tag == _NULL_TAG else node.value, key, where)
    if isinstance(node, yaml.SequenceNode) and node.tag == _LIST_TAG:
        return Entry(tuple(_entry(item, key, place) for item in node.value), key, where)
    if isinstance(node, yaml.MappingNode) and node.tag == _SECTION_TAG:
        return Entry(dict(_pairs(node, key, place)), key, where)
    raise BriefError(f"A brief has no tags such as '{node.tag}'.", where=where)


def _pairs(node: yaml.MappingNode, key: str, place: Placing) -> Iterator[tuple[str, Entry]]:
    seen: dict[str, int] = {}
    for name, value in node.value:
        line = name.start_mark.line
        if not isinstance(name, yaml.ScalarNode):
            raise BriefError("A key must be a word.", where=place(line))
        if name.value in seen:
            raise BriefError(
                f"The key '{name.value}' stands twice.",
                where=place(line),
                do=f"Keep one: the other is on line {seen[name.value] + 1}.",
            )
        seen[name.value] = line
        entry = _entry(value, f"{key}.{name.value}" if key else name.value, place)
        # What is wrong with a section, or with nothing, is shown at its key.
        yield name.value, entry if isinstance(entry.value, str) else Entry(entry.value, entry.key, place(line))
