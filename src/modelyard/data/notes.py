"""What reading notices: columns left aside and why, rows left out, names the brief has and the table has not."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from modelyard.brief.brief import Brief, ColumnKind
from modelyard.core.errors import DataError, did_you_mean, listed
from modelyard.data.column import Column
from modelyard.data.delimited import NULLS, Words
from modelyard.data.finding import Finding
from modelyard.data.infer import unclear_date

_MANY_LEVELS = 1000
_MOST_NAMED = 10
_BY_COLUMN = ("types", "monotone", "minimum", "maximum", "levels")


def not_in_table(names: Sequence[str], brief: Brief) -> list[Finding]:
    """Check that every column the brief names is there.

    Returns
    -------
    list of Finding
        For sensitive columns that are absent: slices over them cannot be made.

    Raises
    ------
    DataError
        For any other name; a misspelt column under ``drop`` would otherwise stay in.
    """
    data = brief.data
    single = {"label": data.label, "group": data.group, "time": data.time, "weight": data.weight}
    asked = [(f"data.{key}", name) for key, name in single.items() if name is not None]
    asked += [("data.drop", n) for n in data.drop] + [("data.keep", n) for n in data.keep]
    asked += [(f"data.{key}", n) for key in _BY_COLUMN for n in getattr(data, key)]
    asked += [("log.hash", n) for n in brief.log.hash] + [("log.drop", n) for n in brief.log.drop]
    for key, name in asked:
        if name not in names:
            raise _absent(key, name, names, brief.source)
    for key, named in single.items():
        if named is not None and named in data.drop:
            raise DataError(
                f"The brief drops '{named}' and names it as {key}.", where=brief.source, do="Remove it from data.drop."
            )
    doubled = [n for n in set(single.values()) if n is not None and list(single.values()).count(n) > 1]
    if doubled:
        raise DataError(
            f"The brief gives '{doubled[0]}' two roles.",
            where=brief.source,
            allowed="label, group, time and weight are four columns.",
            do="Name it once.",
        )
    return [
        Finding(
            "sensitive",
            "warn",
            name,
            f"The sensitive column '{name}' is not in the table.",
            "No fairness slice can be made over it.",
            "Add the column to the table, or correct data.sensitive.",
        )
        for name in data.sensitive
        if name not in names
    ]


def _absent(key: str, name: str, names: Sequence[str], source: str) -> DataError:
    what = "The label" if key == "data.label" else "The column"
    return DataError(
        f"{what} '{name}' is not in the table.",
        where=f"{source}: {key}",
        allowed=f"Its columns: {listed(names, 12)}.",
        do=did_you_mean(name, names) or "Name one of them.",
    )


def left_out(kind: str, column: str, rows: int, of: int, why: str) -> Finding:
    """Return the note for rows that are not used."""
    return Finding(
        kind,
        "warn",
        column,
        f"{rows:,} of {of:,} rows ({100 * rows / of:.1f} %) have {why}.",
        "They are left out of training and testing.",
        "Check that they are missing by chance: an outcome that is known later would bias what is left.",
    )


def missing_words(words: Words) -> list[Finding]:
    """Return one note on the words of a text file that were read as missing, most rows first; none without any."""
    found = sorted(((name, held) for name, held in words.items() if held), key=lambda w: -w[1].total())
    if not found:
        return []
    said = [
        f"'{name}' says " + ", ".join(f"'{word}' in {rows:,}" for word, rows in held.most_common())
        for name, held in found[:_MOST_NAMED]
    ]
    more = f"; and {len(found) - _MOST_NAMED:,} more columns" if len(found) > _MOST_NAMED else ""
    return [
        Finding(
            "missing_word",
            "note",
            found[0][0] if len(found) == 1 else None,
            f"{'; '.join(said)} rows{more}.",
            "These words are read as missing values.",
            "Where one is a value of its own, write another word in the file.",
        )
    ]


def date_unclear(series: pl.Series, column: Column) -> Finding | None:
    """Return the note for a column that looks like dates and is not read as such, or None."""
    if column.role not in ("feature", "ignored") or column.physical != "string" or column.kind == "date":
        return None
    value = unclear_date(series)
    if value is None:
        return None
    return Finding(
        "date_unclear",
        "note",
        column.name,
        f"'{column.name}' looks like dates, but '{value}' is not ISO 8601: day and month are not guessed.",
        "It is left out." if column.role == "ignored" else "It is read as a category: what lies between is lost.",
        "Write it as ISO 8601, such as 2024-03-09, to use it as a date.",
    )


def ignored_because(column: Column, rows: int, asked: ColumnKind | None) -> Finding | None:
    """Return why a feature cannot be learnt from, or None when it can."""
    name = column.name
    if column.missing >= 1.0:
        return Finding(
            "empty",
            "warn",
            name,
            f"'{name}' is empty in all {rows:,} rows.",
            "It is left out.",
            "Fill it, or remove it from the table.",
        )
    if column.kind == "id":
        return Finding(
            "id",
            "note",
            name,
            f"'{name}' has {column.distinct:,} different values in {rows:,} rows: an identifier.",
            "It is left out: a model would learn single rows by heart.",
            f"If it is a measurement, write data.types: {{{name}: number}}.",
        )
    if column.distinct == 1 and column.missing == 0.0:
        return Finding(
            "constant",
            "note",
            name,
            f"'{name}' has one value in every row.",
            "It is left out: it tells nothing.",
            "Remove it from the table, or check how the rows were chosen.",
        )
    return None


def note_kinds(columns: Sequence[Column]) -> list[Finding]:
    """Return notes on guesses a user may want to correct."""
    notes = []
    for column in columns:
        if column.role == "feature" and column.kind == "text":
            notes.append(
                Finding(
                    "text",
                    "note",
                    column.name,
                    f"'{column.name}' holds text.",
                    "Its words and pairs of words are read.",
                    f"If it is a category, write data.types: {{{column.name}: category}}.",
                )
            )
        if column.role == "feature" and column.kind == "category" and column.distinct > _MANY_LEVELS:
            notes.append(
                Finding(
                    "many_levels",
                    "note",
                    column.name,
                    f"'{column.name}' has {column.distinct:,} different values.",
                    "A level of few rows is answered for by how often it occurs, and by all levels together"
                    + (", and by its words." if column.phrases else "."),
                    "Group levels where they belong together, or add the column to data.drop.",
                )
            )
        words = [f"'{level}'" for level in column.levels if level.strip() in NULLS]
        if column.role in ("feature", "label") and column.kind == "category" and words:
            notes.append(
                Finding(
                    "missing_word",
                    "note",
                    column.name,
                    f"'{column.name}' has the level {listed(words, _MOST_NAMED)}, which looks like a missing value.",
                    "It is kept as a level like any other.",
                    "If it stands for no value, leave those cells empty.",
                )
            )
        if column.role == "group" and column.missing > 0:
            notes.append(
                Finding(
                    "group_missing",
                    "warn",
                    column.name,
                    f"'{column.name}' is empty in {100 * column.missing:.1f} % of rows.",
                    "Those rows are kept together, as if they were one entity.",
                    "Fill it where the entity is known.",
                )
            )
    return notes
