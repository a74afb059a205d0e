"""A brief in one sentence.

::

    sentence   = verb ["a" | "an" | "the"] model-type [("for" | "to") use-case] {clause} ["."]
    verb       = "Develop" | "Build" | "Create" | "Train" | "Make"
    model-type = [name] kind, as in "XGBoost classifier", "demand forecast", "model"
    use-case   = phrase
    clause     = ("achieving" | "reaching" | "with") limit {("and" | ",") limit}
               | ["with"] "preset" ("fast" | "balanced" | "best") | "with" ["the"] ("fast" | ...) "preset"
               | "using" framework
               | ["running" | "deployed" | "hosted"] "on" infrastructure
               | "serving" load
    limit      = target | latency, as `modelyard.brief.target` writes them down, | size, as `modelyard.brief.size` does
    framework, infrastructure = phrase
    load       = number ["K" | "M" | "million" | ...] ("daily requests" | "requests per day" | "per second" | ...)
    phrase     = words up to the next clause | a text in double quotes

Clauses come in any order, each at most once ("achieving" and "with" may both state limits). Some words open a clause
only where they can: "with" before a limit, or after one; "serving" before a number; "preset" before one of its words,
or after any other clause; "on" after a framework, a load, a latency, a size or a preset, or before the name of a
platform (aws, kubernetes, ...), and otherwise it belongs to the phrase, as in "99% recall on defects". "deployed on"
always opens one, and double quotes always close a phrase off. What stands before the kind of a model is its name when
it is known, capitalised or in double quotes; in "demand forecast" it is the use case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from modelyard.brief.brief import Brief, Presets
from modelyard.brief.entry import from_python
from modelyard.brief.model_type import model_type_text, parse_model_type
from modelyard.brief.presets import PRESETS, under
from modelyard.brief.size import BEGINS_SIZE, is_size, parse_size, size_text
from modelyard.brief.target import conjuncts, is_latency, latency_text, parse_latency, parse_target, target_text
from modelyard.brief.words import COMPARISON, NUMBER, PLATFORMS, QUOTED, load, quote, shortest, unquote
from modelyard.core.errors import BriefError
from modelyard.metrics.find import metric as find_metric

T = TypeVar("T")
FORM = (
    "Develop {model type} for {use case} achieving {metric target} with {latency} latency using {framework} "
    "on {infrastructure}"
)
_VERBS = ("develop", "build", "create", "train", "make")
_WORD = re.compile(rf"({QUOTED})|\"|(?:[^\s\",]|,(?=\d))+", re.DOTALL)
_BEGINS_LIMIT = re.compile(
    rf"(?:an?\s+)?(?:{COMPARISON}|{NUMBER}|p\s?\d|median\b|latency\b|response time\b|[a-z]+-?\w*\s+latency\b|"
    rf"{BEGINS_SIZE})",
    re.IGNORECASE,
)
_LONGEST = 2000  # characters
_PRESET = {"preset", "presets"}
_NAMES_PRESET = re.compile(rf"(?:the\s+|an?\s+)?({'|'.join(PRESETS)})\s+presets?\b", re.IGNORECASE)
_RESERVED = _PRESET | {
    "for",
    "to",
    "achieving",
    "reaching",
    "with",
    "using",
    "on",
    "serving",
    "running",
    "deployed",
    "hosted",
}


def parse_sentence(text: str) -> Brief:
    """Read a brief from one sentence.

    Raises
    ------
    BriefError
        Where it leaves the grammar, with the column of the fault.
    """
    if len(text) > _LONGEST:
        raise BriefError(f"A sentence of {len(text):,} characters is too long.", allowed=f"{_LONGEST:,} characters.")
    return _Reader(text).brief()


def sentence_text(brief: Brief) -> str:
    """Return what a sentence can say of a brief, as `parse_sentence` reads it back."""
    parts = [f"Develop {model_type_text(brief.model, brief.task)} for {_phrase(brief.use_case)}"]
    if brief.target:
        parts.append("achieving " + " and ".join(map(target_text, brief.target)))
    limits = [] if brief.latency is None else [f"{latency_text(brief.latency)} latency"]
    limits += [] if brief.size is None else [f"{size_text(brief.size)} size"]
    if limits:
        parts.append(f"with {' and '.join(limits)}")
    if brief.requests_per_day is not None:
        parts.append(f"serving {shortest(brief.requests_per_day)} daily requests")
    if brief.framework is not None:
        parts.append(f"using {_phrase(brief.framework)}")
    if brief.infrastructure is not None:
        parts.append(f"{'on' if brief.framework is not None else 'deployed on'} {_phrase(brief.infrastructure)}")
    if brief.presets != Brief().presets:
        parts.append(f"preset {brief.presets}")
    return " ".join(parts)


def _phrase(text: str) -> str:
    words = text.split(" ")
    plain = all(re.fullmatch(r"[^\W_][\w-]*", w) for w in words) and not _RESERVED & {w.lower() for w in words}
    return text if plain else quote(text)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    begin: int
    end: int

    @property
    def plain(self) -> str:
        """The word in lower case; of a quoted text nothing, so that it never opens a clause."""
        return "" if self.text.startswith('"') else self.text.lower()


class _Reader:
    """The words of a sentence, and how far they have been read."""

    def __init__(self, text: str) -> None:
        stripped = text.rstrip()
        self._text = stripped[:-1] if stripped.endswith(".") else stripped
        self._words = [_Word(m[0], m.start(), m.end()) for m in _WORD.finditer(self._text)]
        self._brief = Brief(source="sentence")
        self._said: set[str] = set()
        for word in self._words:
            if word.text == '"':
                raise self._error("A double quote is never closed.", word.begin, len(self._text))

    def brief(self) -> Brief:
        """Return what the sentence says."""
        words = self._words
        if not words or words[0].plain not in _VERBS:
            raise BriefError(
                "A brief in one sentence begins with 'Develop'." if words else "The brief is empty.",
                where=self._text[:120] or None,
                allowed=FORM,
                do="Or name a .yaml file that exists; write one with: modelyard init DATA --label COLUMN",
            )
        at = 2 if len(words) > 1 and words[1].plain in {"a", "an", "the"} else 1
        end = self._until(at, "model", ("for", "to"))
        kind = self._parse(at, end, parse_model_type, words[at - 1].text)
        self._brief = replace(
            self._brief, model=kind.name, task=kind.task, use_case=kind.purpose or self._brief.use_case
        )
        if end < len(words) and words[end].plain in {"for", "to"}:
            at, end = end + 1, self._until(end + 1, "for")
            self._brief = replace(self._brief, use_case=self._phrase(at, end, words[at - 1].text))
        while end < len(words):
            clause, length = self._opens(end, "") or ("", 0)
            at, end = end + length, self._until(end + length, clause)
            self._clause(clause, at, end)
        return self._brief

    def _clause(self, clause: str, at: int, end: int) -> None:
        opener = self._words[at - 1].text
        if clause in self._said:
            raise self._error(
                f"'{opener}' opens a second clause of its kind.", self._words[at - 1].begin, self._end(end)
            )
        self._said.add(clause)
        if clause in {"achieving", "with"}:
            self._limits(at, end, opener)
        elif clause == "preset":
            self._brief = under(self._brief, self._parse(at, end, _preset, opener))
        elif clause == "using":
            self._brief = replace(self._brief, framework=self._phrase(at, end, opener).lower())
        elif clause == "on":
            self._brief = replace(self._brief, infrastructure=self._phrase(at, end, opener).lower())
        else:
            self._brief = replace(self._brief, requests_per_day=self._parse(at, end, load, opener))

    def _limits(self, at: int, end: int, opener: str) -> None:
        if end > at and self._words[end - 1].plain == "and":
            end -= 1
        for part in conjuncts(self._slice(at, end, opener)):
            if is_latency(part):
                if self._brief.latency is not None:
                    raise self._error("A second latency is stated.", self._words[at].begin, self._end(end))
                self._brief = replace(self._brief, latency=self._parse(at, end, parse_latency, part=part))
            elif is_size(part):
                if self._brief.size is not None:
                    raise self._error("A second size is stated.", self._words[at].begin, self._end(end))
                self._brief = replace(self._brief, size=self._parse(at, end, parse_size, part=part))
            else:
                target = self._parse(at, end, parse_target, part=part)
                self._brief = replace(self._brief, target=(*self._brief.target, target))

    def _until(self, at: int, clause: str, also: tuple[str, ...] = ()) -> int:
        """Return where the phrase that begins at a word ends: at the next clause, or at the end."""
        for i in range(at, len(self._words)):
            if self._words[i].plain in also or self._opens(i, clause, at):
                return i
        return len(self._words)

    def _opens(self, i: int, clause: str, began: int = 0) -> tuple[str, int] | None:
        """Return the clause that opens at a word and how many words open it, or None; see the module's grammar.

        `clause` is the one being read, "" when the word must open one, and `began` its first word.
        """
        word = self._words[i].plain
        follows = self._words[i + 1].plain if i + 1 < len(self._words) else ""
        rest = self._text[self._words[i].end :].lstrip()
        if word in {"achieving", "reaching"}:
            return "achieving", 1
        if word == "using":
            return "using", 1
        if word in {"running", "deployed", "hosted"} and follows == "on":
            return "on", 2
        if word in _PRESET and (follows in PRESETS or clause not in {"model", "for", "preset"}):
            return "preset", 1
        if word == "with" and follows in _PRESET:
            return "preset", 2
        if word == "with" and _NAMES_PRESET.match(rest):
            return "preset", 1
        if word == "serving" and (not clause or follows[:1].isdigit()):
            return "serving", 1
        if word == "with" and (clause in {"", "achieving"} or _BEGINS_LIMIT.match(rest) or self._is_metric(i + 1)):
            return "with", 1
        if word == "on":
            so_far = conjuncts(self._text[self._words[began].begin : self._words[i].begin])[-1] if i > began else ""
            if (
                clause in {"", "using", "serving"}
                or (clause in {"achieving", "with"} and (is_latency(so_far) or is_size(so_far)))
                or clause == "preset"
                or (clause != "on" and re.split(r"\W", follows + " ")[0] in PLATFORMS | {""} and follows)
            ):
                return "on", 1
        return None

    def _is_metric(self, i: int) -> bool:
        """Say whether a metric's name begins at a word: alone, or with the next one or two."""
        for n in (1, 2, 3):
            try:
                find_metric(" ".join(w.plain for w in self._words[i : i + n]))
            except BriefError:
                continue
            return True
        return False

    def _phrase(self, at: int, end: int, opener: str) -> str:
        text = self._parse(at, end, unquote, opener)
        return text if text.startswith('"') or end - at == 1 else re.sub(r"\s+", " ", text)

    def _parse(self, at: int, end: int, parse: Callable[[str], T], opener: str = "", part: str | None = None) -> T:
        """Parse the words from one to before another, or a part of them; what is wrong with them is wrong there."""
        text = self._slice(at, end, opener)
        try:
            return parse(text if part is None else part)
        except BriefError as error:
            placed = self._error(error.what, self._words[at].begin, self._end(end))
            raise BriefError(error.what, where=placed.where, allowed=error.allowed, do=error.do) from None

    def _slice(self, at: int, end: int, opener: str) -> str:
        if end <= at:
            begin = self._words[at - 1].begin
            raise self._error(f"Nothing stands after '{opener}'.", begin, self._end(at))
        return self._text[self._words[at].begin : self._end(end)]

    def _end(self, end: int) -> int:
        return self._words[end - 1].end

    def _error(self, what: str, begin: int, end: int) -> BriefError:
        return BriefError(what, where=f"sentence, column {begin + 1}: {self._text[begin:end][:120]}", allowed=FORM)


def _preset(text: str) -> Presets:
    named = _NAMES_PRESET.fullmatch(text)
    return from_python(named[1] if named else text, "preset").choice(tuple(PRESETS))
