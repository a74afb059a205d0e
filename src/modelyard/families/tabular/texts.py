"""Texts: words and pairs of neighbouring words of text columns, found in training exactly as the graph finds them.

A word is a run of letters and digits, and one sign of a script that sets no spaces, or one picture sign, is a word of
its own. Which signs are letters is said by ranges, since tables of Unicode differ between libraries. No node of ONNX
lowers case without a locale of the machine it runs on: a vocabulary holds each word as it is, capitalised, and in
capitals, and what is written otherwise is a word nobody knows. There is none that hashes either, so words that are too
rare for the vocabulary are not shared out among buckets: they count as words, and say nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.core.optional import need
from modelyard.data.dataset import Ints
from modelyard.encoding.encoding import MISSING
from modelyard.families.tabular.memory import Memory

MOST_WORDS, MOST_PAIRS = 10_000, 20_000
"""Words and pairs kept of one column, those in most rows first."""
FEWEST_ROWS, FEWEST_ROWS_OF_PAIR = 3, 5
"""Rows a word, and a pair, must stand in."""
PAD, UNKNOWN = 0, 1
"""Numbers of what fills up a short text and of a word nobody knows; the vocabulary's words are counted from 2."""
_LETTERS = (
    "0-9A-Za-z", "00AA", "00B5", "00BA", "00C0-00D6", "00D8-00F6", "00F8-1FFF", "2C00-2DFF", "3131-318E",
    "A000-D7FF", "FB00-FDFF", "FE70-FEFC", "FF10-FF19", "FF21-FF3A", "FF41-FF5A", "10000-16FFF", "1E000-1EFFF",
)  # fmt: skip
_SINGLE = ("2600-27BF", "3041-30FF", "31F0-31FF", "3400-9FFF", "F900-FAFF", "1F300-1FAFF", "20000-3FFFF")
MEMORY = Memory(8)


def _ranges(spans: Sequence[str]) -> str:
    """Write ranges of signs as both RE2 (in the graph) and the expressions of polars read them."""
    made = [s if s == _LETTERS[0] else "-".join(rf"\x{{{end}}}" for end in s.split("-")) for s in spans]
    return f"[{''.join(made)}]"


WORD = f"{_ranges(_LETTERS)}+|{_ranges(_SINGLE)}"
"""What a word is, as a regular expression."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and pairs of one column.

    Attributes
    ----------
    words : tuple of str
        In lower case, sorted.
    pairs : tuple of int
        Keys of pairs of neighbours, sorted: see `pair_keys`.
    """

    words: tuple[str, ...] = ()
    pairs: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of a table with figures for each: two for pad and unknown, then words, then pairs."""
        return 2 + len(self.words) + len(self.pairs)

    def forms(self) -> dict[str, int]:
        """Return the number of each way of writing a word; where two words share one, it is that of the first."""
        found = {word: number for number, word in enumerate(self.words, 2)}
        for word, number in list(found.items()):
            for form in (word.capitalize(), word.upper()):
                found.setdefault(form, number)
        return found

    def pair_keys(self, numbers: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a key for each pair of word numbers."""
        return numbers * (len(self.words) + 2) + after

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"words": list(self.words), "pairs": list(self.pairs)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Vocabulary:
        """Return the vocabulary `plain` was taken from."""
        return cls(tuple(plain["words"]), tuple(plain["pairs"]))


@dataclass(frozen=True, slots=True, eq=False)
class TextRows:
    """One text column of some rows.

    Attributes
    ----------
    counts : scipy.sparse.csr_matrix of float64, [n, rows of the vocabulary]
        How often each word and pair stands in the text.
    length : float32 array of shape [n]
        Words of the text, known or not; NaN where the text is missing.
    """

    counts: Any
    length: NDArray[np.float32]

    def take(self, rows: Ints) -> TextRows:
        """Return the named rows."""
        return TextRows(self.counts[rows], self.length[rows])

    @property
    def gone(self) -> NDArray[np.bool_]:
        """Which texts are missing, [n]."""
        return np.isnan(self.length)


def find_vocabulary(texts: NDArray[np.object_]) -> Vocabulary:
    """Return the words and pairs that stand in enough of the texts; no label is looked at."""
    return MEMORY.ask(f"words {_digest(texts)}", lambda: _find(texts))


def read_texts(texts: NDArray[np.object_], vocabulary: Vocabulary) -> TextRows:
    """Count words and pairs of texts, [n] of str."""
    words = hashlib.sha256(repr(vocabulary).encode()).hexdigest()
    return MEMORY.ask(f"rows {_digest(texts)} {words}", lambda: _read(texts, vocabulary))


def _digest(texts: NDArray[np.object_]) -> str:
    return hashlib.sha256("\0".join(texts.tolist()).encode()).hexdigest()


def _words(texts: NDArray[np.object_]) -> tuple[pl.Series, NDArray[np.int64]]:
    """Return every word of every text as written, and the row it stands in."""
    found = pl.Series("text", texts.tolist(), dtype=pl.String).str.extract_all(WORD)
    count = found.list.len().to_numpy().astype(np.int64)
    return found.explode().drop_nulls(), np.repeat(np.arange(len(texts)), count)


def _find(texts: NDArray[np.object_]) -> Vocabulary:
    written, row = _words(texts)
    seen = pl.DataFrame({"word": written.str.to_lowercase(), "row": row}).unique()["word"].value_counts(name="rows")
    often = seen.filter(pl.col("rows") >= FEWEST_ROWS).sort(["rows", "word"], descending=[True, False])
    words = Vocabulary(tuple(sorted(often["word"].head(MOST_WORDS).to_list())))
    keys, of = _pairs(words, _numbers(written, words), row)
    pairs = pl.DataFrame({"pair": keys, "row": of}).unique()["pair"].value_counts(name="rows")
    kept = pairs.filter(pl.col("rows") >= FEWEST_ROWS_OF_PAIR).sort(["rows", "pair"], descending=[True, False])
    return Vocabulary(words.words, tuple(sorted(kept["pair"].head(MOST_PAIRS).to_list())))


def _numbers(written: pl.Series, vocabulary: Vocabulary) -> NDArray[np.int64]:
    forms = vocabulary.forms()
    if not forms:
        return np.full(len(written), UNKNOWN, dtype=np.int64)
    known = written.replace_strict(list(forms), list(forms.values()), default=UNKNOWN, return_dtype=pl.Int64)
    return known.to_numpy()


def _pairs(
    vocabulary: Vocabulary, numbers: NDArray[np.int64], row: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the keys of neighbours that are both known, and their rows."""
    both = (row[:-1] == row[1:]) & (numbers[:-1] > UNKNOWN) & (numbers[1:] > UNKNOWN)
    return vocabulary.pair_keys(numbers[:-1][both], numbers[1:][both]), row[1:][both]


def _read(texts: NDArray[np.object_], vocabulary: Vocabulary) -> TextRows:
    written, row = _words(texts)
    numbers = _numbers(written, vocabulary)
    keys, of = _pairs(vocabulary, numbers, row)
    pairs = np.array(vocabulary.pairs, dtype=np.int64)
    place = np.searchsorted(pairs, keys)
    held = place < len(pairs)
    held[held] = pairs[place[held]] == keys[held]
    known = numbers > UNKNOWN
    rows = np.concatenate([row[known], of[held]])
    columns = np.concatenate([numbers[known], 2 + len(vocabulary.words) + place[held]])
    sparse = need("scipy.sparse", "train", "A text column")
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), vocabulary.rows))
    length = np.bincount(row, minlength=len(texts)).astype(np.float32)
    length[texts == MISSING] = np.nan
    return TextRows(counts, length)
