"""Reading a brief: a YAML or JSON file, a mapping, or one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, get_args

from modelyard.brief.brief import (
    Brief,
    Budget,
    ClassWeights,
    ColumnKind,
    DataBrief,
    Direction,
    Fallback,
    ForecastBrief,
    LogBrief,
    Presets,
    Strategy,
    Task,
    Validation,
)
from modelyard.brief.entry import Entry, from_python, from_text
from modelyard.brief.keys import KEYS, SECTIONS, keys_of
from modelyard.brief.model_type import model_name
from modelyard.brief.presets import PRESETS, under
from modelyard.brief.rule import Rule
from modelyard.brief.sentence import parse_sentence
from modelyard.brief.size import parse_size
from modelyard.brief.target import parse_latency, parse_targets
from modelyard.brief.words import load, number
from modelyard.core.errors import BriefError
from modelyard.metrics.find import metric as find_metric

T = TypeVar("T")
Word = TypeVar("Word", bound=str)
_FILES = {".yaml", ".yml", ".json"}
_ALSO_CALLED = {"required": "data.keep", "forbidden": "data.drop"}
_LARGEST = 1_000_000  # bytes of a brief's file


def read_brief(source: str | Path | Mapping[str, object], *, presets: str | None = None) -> Brief:
    """Read and check a brief.

    Parameters
    ----------
    source : path, str or mapping
        A file (it exists, or its name ends in .yaml, .yml or .json), the same as a mapping, or one sentence in the
        form `modelyard.brief.sentence` writes down. A relative data path is taken from the file's folder, otherwise
        from the present one.
    presets : {"fast", "balanced", "best"}, optional
        Laid over the brief's own; what the brief says itself still wins over what a preset settles.

    Raises
    ------
    BriefError
        With file and line: an unknown key or metric, a turned sign, a value of the wrong type or out of range, ...
    """
    known: tuple[Presets, ...] = get_args(Presets)
    over = None if presets is None else from_python(presets, "presets").choice(known)
    if isinstance(source, Mapping):
        return _brief(from_python(source), Path.cwd(), "python", over)
    if isinstance(source, str) and not (source.strip() and _is_file(source)):
        if not any(c.isspace() for c in source.strip()):
            raise BriefError(
                f"There is no brief '{source}'." if source.strip() else "The brief is empty.",
                allowed="A .yaml, .yml or .json file, or a sentence in double quotes.",
                do="Write one with: modelyard init DATA --label COLUMN",
            )
        said = parse_sentence(source)
        return said if over is None else under(said, over)
    path = Path(source)
    return _brief(from_text(_content(path), str(path)), path.absolute().parent, str(path), over)


def _is_file(source: str) -> bool:
    try:
        return (Path(source).suffix.lower() in _FILES and "\n" not in source) or Path(source).exists()
    except (OSError, ValueError):  # longer than a name may be, or with a null byte: no path
        return False


def _content(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise BriefError("The file is too large to be a brief.", where=str(path), allowed=f"{_LARGEST:,} bytes.")
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise BriefError(
            f"There is no brief {path}.", do="Check the path, or write one with: modelyard init DATA --label COLUMN"
        ) from None
    except UnicodeDecodeError:
        raise BriefError("The brief is not text in UTF-8.", where=str(path)) from None
    except (OSError, ValueError) as error:
        why = "is a folder" if path.is_dir() else f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise BriefError(f"The brief {path} {why}.", allowed="A .yaml, .yml or .json file.") from None
    # JSON may be indented by tabs, YAML may not; within a JSON text a tab is always escaped.
    return text.replace("\t", " ") if path.suffix.lower() == ".json" else text


def _brief(root: Entry, folder: Path, source: str, over: Presets | None) -> Brief:
    elsewhere = {k.partition(".")[2]: k for k in KEYS if "." in k} | _ALSO_CALLED
    top = root.section(keys_of(), elsewhere)
    sections = {
        name: top[name].section(keys_of(name), _ALSO_CALLED)
        for name in SECTIONS
        if name in top and not isinstance(top[name].value, str)
    }
    budget, validation, forecast, log = (sections.get(n, {}) for n in SECTIONS[1:])
    for name in SECTIONS[1:]:
        if name in top and name not in sections:
            top[name].section(keys_of(name))  # a word where a section belongs: says so
    strategies: tuple[Strategy, ...] = get_args(Strategy)
    tasks: tuple[Task, ...] = get_args(Task)
    known: tuple[Presets, ...] = get_args(Presets)
    stands: tuple[Fallback, ...] = get_args(Fallback)
    zero, one = Brief(), "A whole number, 1 or more."
    named = _take(top, "presets", lambda e: e.choice(known), zero.presets)
    preset = PRESETS[over or named]
    brief = Brief(
        use_case=_take(top, "use_case", Entry.text, zero.use_case),
        task=_take(top, "task", lambda e: e.choice(tasks, "Left out, the label decides."), None),
        model=_take(top, "model", lambda e: model_name(e.text()), zero.model),
        target=_take(top, "target", lambda e: tuple(t for i in e.items() for t in _at(i, parse_targets)), ()),
        metric=_take(top, "metric", lambda e: _at(e, find_metric).name, None),
        latency=_take(top, "latency", lambda e: _at(e, parse_latency), None),
        size=_take(top, "size", lambda e: _at(e, parse_size), None),
        requests_per_day=_take(top, "requests_per_day", lambda e: _at(e, load), None),
        framework=_take(top, "framework", lambda e: e.text().lower(), None),
        infrastructure=_take(top, "infrastructure", lambda e: e.text().lower(), None),
        data=_data(top["data"], sections.get("data", {}), folder) if "data" in top else zero.data,
        rule=_take(top, "rule", lambda e: _at(e, Rule.parse).text, None),
        fallback=_take(
            top, "fallback", lambda e: tuple(dict.fromkeys(i.choice(stands) for i in e.items())), zero.fallback
        ),
        presets=over or named,
        budget=Budget(
            seconds=_take(budget, "seconds", lambda e: e.number("More than 0.", 0, open_low=True), preset.seconds),
            trials=_take(budget, "trials", lambda e: e.whole("A whole number, 0 or more.", 0), None),
            memory=_take(budget, "memory", lambda e: e.number("More than 0.", 0, open_low=True), None),
        ),
        validation=Validation(
            strategy=_take(validation, "strategy", lambda e: e.choice(strategies), zero.validation.strategy),
            folds=_take(validation, "folds", lambda e: e.whole("A whole number, 2 or more.", 2), None),
            test_fraction=_take(
                validation, "test_fraction", lambda e: e.number("0 for none, or a share up to 0.9.", 0, 0.9), None
            ),
            gap=_take(validation, "gap", lambda e: e.number("Days, 0 or more.", 0), zero.validation.gap),
        ),
        forecast=ForecastBrief(
            horizon=_take(forecast, "horizon", lambda e: e.whole(one, 1), None),
            season=_take(forecast, "season", lambda e: e.whole(one, 1), None),
        ),
        log=LogBrief(hash=_take(log, "hash", Entry.words, ()), drop=_take(log, "drop", Entry.words, ())),
        seed=_take(top, "seed", lambda e: e.whole("A whole number, 0 or more.", 0), zero.seed),
        source=source,
    )
    _check_columns(brief.data, sections.get("data", {}))
    return brief


def _data(entry: Entry, keys: dict[str, Entry], folder: Path) -> DataBrief:
    if isinstance(entry.value, str):
        return DataBrief(path=_path(entry, folder))
    kinds: tuple[ColumnKind, ...] = get_args(ColumnKind)
    directions: tuple[Direction, ...] = get_args(Direction)
    return DataBrief(
        path=_take(keys, "path", lambda e: _path(e, folder), None),
        label=_take(keys, "label", Entry.text, None),
        group=_take(keys, "group", Entry.text, None),
        time=_take(keys, "time", Entry.text, None),
        sensitive=_take(keys, "sensitive", Entry.words, ()),
        drop=_take(keys, "drop", Entry.words, ()),
        keep=_take(keys, "keep", Entry.words, ()),
        weight=_take(keys, "weight", Entry.text, None),
        positive=_take(keys, "positive", Entry.text, None),
        class_weights=_take(keys, "class_weights", _class_weights, {}),
        types=_by_column(keys, "types", "types", kinds, "{zip: category}"),
        monotone=_by_column(keys, "monotone", "directions", directions, "{age: increasing}"),
        minimum=_of_columns(keys, "minimum", "numbers or dates", "Such as {age: 0}", _bound),
        maximum=_of_columns(keys, "maximum", "numbers or dates", "Such as {age: 120}", _bound),
        levels=_of_columns(keys, "levels", "lists of levels", "Such as {sex: [F, M]}", Entry.words),
    )


def _by_column(keys: dict[str, Entry], key: str, words: str, known: tuple[Word, ...], example: str) -> dict[str, Word]:
    """Return one of a few words for each column that a key names."""
    allowed = f"Such as {example}; {words}: {', '.join(known)}"
    return _of_columns(keys, key, words, allowed, lambda e: e.choice(known))


def _of_columns(keys: dict[str, Entry], key: str, words: str, allowed: str, read: Callable[[Entry], T]) -> dict[str, T]:
    """Return what a key says of each column it names."""
    if key not in keys:
        return {}
    entry = keys[key]
    if not isinstance(entry.value, dict):
        raise entry.error(f"'data.{key}' must be columns with {words}.", allowed=allowed)
    return {name: read(e) for name, e in entry.value.items()}


def _bound(entry: Entry) -> float | str:
    """Return a number, or the text of a date: which of them a column takes is seen once its type is known."""
    text = entry.text("A number, or a date as ISO 8601.").strip()
    value = number(text)
    return text if value != value else value


def _class_weights(entry: Entry) -> ClassWeights:
    if isinstance(entry.value, dict):
        allowed = "More than 0, up to a million."
        return {name: e.number(allowed, 0, 1e6, open_low=True) for name, e in entry.value.items()}
    if isinstance(entry.value, str) and entry.value.strip().lower() == "balanced":
        return "balanced"
    raise entry.error("'data.class_weights' must be classes with numbers.", allowed="Such as {fraud: 5}; or balanced.")


def _path(entry: Entry, folder: Path) -> str:
    return os.path.normpath(folder / Path(entry.text("The path of a CSV, Parquet or Arrow file.")).expanduser())


def _check_columns(data: DataBrief, keys: dict[str, Entry]) -> None:
    """Refuse one column in two roles that cannot both be."""
    roles = {role: name for role in ("label", "group", "time", "weight") if (name := getattr(data, role)) is not None}
    taken: dict[str, str] = {}
    for role, name in roles.items():
        if name in taken:
            raise keys[role].error(f"'{name}' cannot be both data.{taken[name]} and data.{role}.")
        if name in data.drop:
            raise keys["drop"].error(f"'{name}' is data.{role} and cannot be dropped.", do="Take it out of data.drop.")
        taken[name] = role
    for key in ("keep", "monotone", "minimum", "maximum", "levels"):
        for name in getattr(data, key):
            # Rows bring the time, and a direction alone has no meaning for it.
            if name in taken and (key == "monotone" or taken[name] != "time"):
                raise keys[key].error(
                    f"'{name}' is data.{taken[name]}, which no model reads as a column.",
                    do=f"Take it out of data.{key}.",
                )
            if name in data.drop:
                raise keys[key].error(f"'{name}' is both in data.drop and in data.{key}.", do="Keep it in one of them.")


def _take(entries: dict[str, Entry], key: str, read: Callable[[Entry], T], otherwise: T) -> T:
    return read(entries[key]) if key in entries else otherwise


def _at(entry: Entry, parse: Callable[[str], T]) -> T:
    """Parse an entry's text; what is wrong with it is wrong at its line."""
    try:
        return parse(entry.text())
    except BriefError as error:
        raise BriefError(error.what, where=entry.place or error.where, allowed=error.allowed, do=error.do) from None
