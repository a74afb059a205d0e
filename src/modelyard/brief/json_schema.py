"""The JSON Schema of a brief's file: from the types, loosened where the file may be looser than they are.

``python -m modelyard.brief.json_schema`` writes the one that is shipped.
"""

from __future__ import annotations

from typing import Any

import msgspec

from modelyard.brief.brief import Brief
from modelyard.brief.keys import KEYS, SECTIONS
from modelyard.brief.write import SCHEMA
from modelyard.core.canonical import pretty_json
from modelyard.core.files import write_atomic

_NAME = {"type": ["string", "number", "boolean", "null"]}
_NAMES = {"anyOf": [_NAME, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]}
_TEXT = {"type": ["string", "null"]}
_FALLBACK = {"enum": ["cached", "previous", "rule"]}
_LOOSER: dict[str, dict[str, Any]] = {
    "target": {"anyOf": [_TEXT, {"type": "array", "items": {"type": "string"}}]},
    "fallback": {"anyOf": [_FALLBACK, {"type": "array", "items": _FALLBACK}]},
    "latency": _TEXT,
    "size": _TEXT,
    "requests_per_day": {"anyOf": [{"type": ["number", "null"], "exclusiveMinimum": 0}, {"type": "string"}]},
    "budget.seconds": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "budget.trials": {"type": ["integer", "null"], "minimum": 0},
    "budget.memory": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "validation.folds": {"type": ["integer", "null"], "minimum": 2},
    "validation.test_fraction": {
        "anyOf": [{"type": ["number", "null"], "minimum": 0, "maximum": 0.9}, {"type": "string", "pattern": "%$"}]
    },
    "validation.gap": {"type": ["number", "null"], "minimum": 0},
    "forecast.horizon": {"type": ["integer", "null"], "minimum": 1},
    "forecast.season": {"type": ["integer", "null"], "minimum": 1},
    "seed": {"type": ["integer", "null"], "minimum": 0},
    **{f"data.{key}": _NAME for key in ("label", "group", "time", "weight", "positive")},
    **{f"data.{key}": _NAMES for key in ("sensitive", "drop", "keep")},
    "data.class_weights": {
        "anyOf": [
            {"type": ["object", "null"], "additionalProperties": {"type": ["number", "string"]}},
            {"const": "balanced"},
        ]
    },
    "data.levels": {"type": ["object", "null"], "additionalProperties": _NAMES},
    "log.hash": _NAMES,
    "log.drop": _NAMES,
}


def brief_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a brief's file."""
    made = msgspec.json.schema(Brief)
    defs: dict[str, Any] = made["$defs"]
    properties = _properties("", defs["Brief"]["properties"])
    del properties["source"]
    for name in SECTIONS:
        of_type = str(properties[name]["$ref"]).rpartition("/")[2]
        section = {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": _properties(name, defs[of_type]["properties"]),
        }
        properties[name] = {"anyOf": [section, {"type": "string"}]} if name == "data" else section
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "modelyard brief",
        "description": "What is asked of a model. See `modelyard help brief`.",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _properties(section: str, made: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, of_type in made.items():
        key = f"{section}.{name}" if section else name
        properties[name] = dict(_LOOSER.get(key, of_type))
        if key in KEYS:
            properties[name]["description"] = KEYS[key]
        default = of_type.get("default")
        if default not in (None, ()):
            properties[name]["default"] = list(default) if isinstance(default, tuple) else default
    return properties


if __name__ == "__main__":
    write_atomic(SCHEMA, pretty_json(brief_json_schema()))
