"""Writing a brief as YAML a person goes on with: every key in its place, those left at their default as comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from modelyard.brief.brief import Brief
from modelyard.brief.keys import KEYS
from modelyard.brief.presets import under
from modelyard.brief.size import size_text
from modelyard.brief.target import latency_text, target_text
from modelyard.brief.words import shortest

SCHEMA = Path(__file__).with_name("brief.schema.json")
_COMMENT_AT = 34  # column where comments begin, where they fit


def brief_text(brief: Brief, comments: Mapping[str, str]) -> str:
    """Return a brief as commented YAML that `read_brief` reads back as the same brief.

    Parameters
    ----------
    brief : Brief
        What to write. A relative ``data.path`` is written as it is.
    comments : mapping of str to str
        By key path, such as ``{"data.group": "patient_id repeats"}``: what stands behind a key instead of its meaning.

    Returns
    -------
    str
        The first line names the JSON Schema, so that editors complete the rest.
    """
    values, defaults = _values(brief), _values(under(Brief(), brief.presets))
    written = {key for key in KEYS if values[key] != defaults[key]} | {"use_case"}
    if brief.presets != Brief().presets:
        written.add("presets")
    lines = [f"# yaml-language-server: $schema={SCHEMA.as_posix()}"]
    section = ""
    for key, meaning in KEYS.items():
        group, _, name = key.rpartition(".")
        live = not group or any(k.startswith(f"{group}.") for k in written)
        if group != section and group:
            lines.append(f"{group}:" if live else f"# {group}:")
        section = group
        text = f"{name}: {values[key] or _example(key)}"
        indent = "  " if group else ""
        line = indent + text if key in written else f"{indent}# {text}" if live else f"# {indent}{text}"
        comment = " ".join("".join(c if c.isprintable() else " " for c in comments.get(key, meaning)).split())
        lines.append(f"{line.ljust(_COMMENT_AT)}  # {comment}" if comment else line)
    return "\n".join(lines) + "\n"


def _values(brief: Brief) -> dict[str, str]:
    """Return every key's value as YAML; empty where there is none."""
    data, rule = brief.data, brief.rule
    values = {
        "use_case": _scalar(brief.use_case),
        "task": brief.task or "",
        "model": _scalar(brief.model),
        "target": _list([target_text(t) for t in brief.target]),
        "metric": _scalar(brief.metric),
        "latency": "" if brief.latency is None else latency_text(brief.latency),
        "size": "" if brief.size is None else size_text(brief.size),
        "requests_per_day": _number(brief.requests_per_day),
        "framework": _scalar(brief.framework),
        "infrastructure": _scalar(brief.infrastructure),
        "rule": _scalar(rule),
        "fallback": _flow(list(brief.fallback)),
        "presets": brief.presets,
        "budget.seconds": _number(brief.budget.seconds),
        "budget.trials": _number(brief.budget.trials),
        "budget.memory": _number(brief.budget.memory),
        "validation.strategy": brief.validation.strategy,
        "validation.folds": _number(brief.validation.folds),
        "validation.test_fraction": _number(brief.validation.test_fraction),
        "validation.gap": _number(brief.validation.gap),
        "forecast.horizon": _number(brief.forecast.horizon),
        "forecast.season": _number(brief.forecast.season),
        "seed": _number(brief.seed),
        "data.types": _flow({str(k): str(v) for k, v in data.types.items()}) if data.types else "",
        "data.monotone": _flow({str(k): str(v) for k, v in data.monotone.items()}) if data.monotone else "",
        "data.levels": _flow({k: list(v) for k, v in data.levels.items()}) if data.levels else "",
    }
    values |= {f"data.{k}": _bounds(getattr(data, k)) for k in ("minimum", "maximum")}
    weights = data.class_weights
    values["data.class_weights"] = weights if isinstance(weights, str) else _bounds(weights)
    values |= {f"data.{k}": _scalar(getattr(data, k)) for k in ("path", "label", "group", "time", "weight", "positive")}
    values |= {f"log.{k}": _list(getattr(brief.log, k)) for k in ("hash", "drop")}
    return values | {f"data.{k}": _list(getattr(data, k)) for k in ("sensitive", "drop", "keep")}


def _example(key: str) -> str:
    """Return a value that shows the form of a key that has no default."""
    examples = {
        "task": "binary", "target": "roc_auc >= 0.80", "metric": "roc_auc", "latency": "p99 < 100 ms",
        "size": "20 MB", "requests_per_day": "10000", "framework": "scikit-learn", "infrastructure": "kubernetes",
        "data.path": "table.csv", "data.label": "label_column",
        "data.group": "entity_column", "data.time": "time_column",
        "data.sensitive": "[sex, age]", "data.drop": "[known_only_later]", "data.keep": "[known_in_time]",
        "data.weight": "weight_column", "data.positive": "'yes'",
        "data.class_weights": "{fraud: 5}", "data.types": "{zip: category}",
        "data.monotone": "{age: increasing}", "data.minimum": "{age: 0}", "data.maximum": "{age: 120}",
        "data.levels": "{sex: [F, M]}",
        "rule": "prior_visits > 2", "budget.trials": "20", "budget.memory": "4", "validation.test_fraction": "0.2",
        "log.hash": "[patient_number]", "log.drop": "[name]", "validation.folds": "5",
        "forecast.horizon": "12", "forecast.season": "12",
    }  # fmt: skip
    return examples[key]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    text = str(value) if isinstance(value, int) else shortest(value)
    # To YAML 1.1 a number with an exponent and no point is a word.
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _scalar(text: str | None) -> str:
    return "" if text is None else _flow([text])[1:-1]


def _list(words: Sequence[str]) -> str:
    return "" if not words else _scalar(words[0]) if len(words) == 1 else _flow(list(words))


def _bounds(bounds: Mapping[str, float | str]) -> str:
    texts = {name: bound if isinstance(bound, str) else shortest(bound) for name, bound in bounds.items()}
    return _flow(texts) if texts else ""


def _flow(value: list[str] | dict[str, str] | dict[str, list[str]]) -> str:
    """Return a list or a mapping on one line, quoted where YAML asks for it."""
    inside = [text for texts in value.values() for text in texts] if isinstance(value, dict) else []
    broken = re.search(r"[\n\r\x85\u2028\u2029]", "".join([*value, *inside]))
    style = '"' if broken else None  # only double quotes keep a line break on one line
    return yaml.safe_dump(
        value, default_flow_style=True, default_style=style, allow_unicode=True, width=2**31, sort_keys=False
    ).strip()
