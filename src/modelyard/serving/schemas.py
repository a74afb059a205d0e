"""JSON Schemas of rows, answers and problems, from the bundle's one Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.data.limits import allowed_values
from modelyard.data.schema import Column
from modelyard.encoding.encoding import MOST_CHARACTERS
from modelyard.serving.predictions.label_check import MOST_CHARACTERS_OF_ID, MOST_ROWS
from modelyard.serving.problem import MEDIA_TYPE
from modelyard.serving.version import Unknown

_JSON_TYPES = {"number": "number", "boolean": "boolean"}
_SHOWN_LEVELS = 20
_SHOWN_SERIES = 100


def row_schema(bundle: Bundle, unknown: Unknown = "refuse") -> dict[str, Any]:
    """Return the JSON Schema of one row: a property for each column a row must bring.

    Columns the model passes over may be sent too; any other name is refused, or ignored where the server says so.
    """
    features = bundle.schema.features
    others = [c for c in bundle.schema.columns if c not in features]
    return {
        "type": "object",
        "required": [c.name for c in features if c.missing == 0.0],
        "properties": {c.name: _property(c) for c in features}
        | {c.name: {"description": "Passed over: the model does not read it."} for c in others},
        "additionalProperties": unknown == "ignore",
    }


def _property(column: Column) -> dict[str, Any]:
    kind = _JSON_TYPES.get(column.kind, "string")
    kinds = [kind]
    if kind == "string" and column.physical not in ("string", "date", "datetime"):
        kinds = ["string", "number", "boolean"]  # a category that was read from numbers may be sent as them
    if column.kind == "boolean":
        kinds = ["boolean", "integer"]
    if column.missing > 0.0:
        kinds.append("null")
    described: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds, "description": _seen(column)}
    if column.kind == "date":
        described["format"] = "date" if column.physical == "date" else "date-time"
    return described | _limits(column)


def _limits(column: Column) -> dict[str, Any]:
    """Return what the brief allows, as far as JSON Schema has a word for it: it has none for the ends of dates."""
    if column.allowed:
        numbers = [n for level in column.allowed if (n := _number(level, column)) is not None]
        return {"enum": [*column.allowed, *numbers, *([None] if column.missing > 0.0 else [])]}
    ends = {"minimum": column.minimum, "maximum": column.maximum} if column.kind == "number" else {}
    return {word: end for word, end in ends.items() if end is not None}


def _number(level: str, column: Column) -> float | None:
    """Return a level of a category that was read from numbers as the number it may be sent as."""
    if column.physical not in ("integer", "float"):
        return None
    try:
        return int(level) if column.physical == "integer" else float(level)
    except ValueError:
        return None


def _seen(column: Column) -> str:
    missing = f", {column.missing:.1%} missing" if column.missing else ""
    limits = allowed_values(column)
    return f"{_shown(column)}{missing}{'; allowed: ' * bool(limits)}{limits}"


def _shown(column: Column) -> str:
    if column.kind == "number" and column.low is not None and column.high is not None:
        return f"{column.low:g} to {column.high:g}"
    if column.kind == "date":
        return "ISO 8601"
    if column.kind == "text":
        return f"Text, of which the first {MOST_CHARACTERS:,} characters are read"
    levels = ", ".join(column.levels[:_SHOWN_LEVELS])
    more = f", and {column.distinct - _SHOWN_LEVELS:,} more" if column.distinct > _SHOWN_LEVELS else ""
    return f"{levels or column.kind}{more}"


def row_schemas(bundle: Bundle, unknown: Unknown) -> dict[str, Any]:
    """Return the schemas of what is sent: ``Row`` and ``Rows``, and for a forecast ``Ahead``."""
    rows = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "minItems": 1, "items": ref("Row")}},
        "additionalProperties": False,
    }
    found = {"Row": row_schema(bundle, unknown), "Rows": rows}
    if isinstance(bundle.runtime, ArraysRuntime):
        name: dict[str, Any] = {"enum": list(bundle.runtime.series[:_SHOWN_SERIES])}
        if len(bundle.runtime.series) > _SHOWN_SERIES:
            name = {"type": "string", "description": f"One of {len(bundle.runtime.series):,} series."}
        named = {"oneOf": [name, {"type": "array", "items": name, "minItems": 1}]}
        steps = {"type": "integer", "minimum": 1, "maximum": bundle.runtime.horizon}
        found["Ahead"] = {
            "type": "object",
            "required": ["horizon", *(["series"] if len(bundle.runtime.series) > 1 else [])],
            "properties": {"series": named, "horizon": steps},
            "additionalProperties": False,
        }
    return found


def parameters(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the query parameters of a prediction: those the bundle can answer."""
    found: list[dict[str, Any]] = []
    if bundle.coverages:
        what = "the set of classes" if bundle.schema.classes else "the interval"
        schema = {"type": "number", "enum": list(bundle.coverages)}
        found.append(_parameter("coverage", f"Answer with {what} that holds the truth this often.", schema))
    if bundle.scores_novelty:
        found.append(_parameter("ood", "Answer with how unusual the row is.", {"type": "boolean"}))
    return found


def _parameter(name: str, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": dict(schema)}


def _bounds_schemas(bundle: Bundle) -> dict[str, Any]:
    """Return what an answer holds beside the prediction, where it was asked for (a forecast's interval always)."""
    found: dict[str, Any] = {}
    number = {"type": "number"}
    if bundle.schema.task == "forecast" or (bundle.coverages and not bundle.schema.classes):
        end = {"type": ["number", "null"], "description": "null where too few past forecasts reach this far."}
        bounds = {"low": end, "high": end, "coverage": number}
        found["interval"] = {"type": "object", "properties": bounds, "required": list(bounds)}
    elif bundle.coverages:
        held = {"type": "array", "items": {"enum": list(bundle.classes)}, "minItems": 1}
        found["set"] = {
            "type": "object",
            "properties": {"classes": held, "coverage": number},
            "required": ["classes", "coverage"],
            "description": "Classes that may be the true one; one where the model is sure.",
        }
    if bundle.scores_novelty:
        text = "Share of development rows less unusual than this one."
        found["ood"] = {"type": "number", "minimum": 0, "maximum": 1, "description": text}
    return found


def answer_schemas(bundle: Bundle) -> dict[str, Any]:
    """Return the schemas of answers: ``Prediction``, ``Answer`` and ``Answers``, and for a forecast ``Forecasts``."""
    schema = bundle.schema
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    prediction: dict[str, Any] = {
        "prediction": {"enum": list(bundle.classes)} if schema.classes else {"type": "number"},
        "served_by": {"type": "string", "description": "model, or what stood in: cached, previous, rule"},
    }
    if schema.classes:
        prediction["probabilities"] = {
            "type": "object",
            "properties": dict.fromkeys(schema.classes, chance),
            "description": "Of every class; absent when a rule answered.",
        }
    prediction |= _bounds_schemas(bundle)
    about = {
        "id": {"type": "string", "description": "Under which the prediction log keeps it."},
        "model": {"type": "string"},
        "bundle": {"type": "string", "description": "First 12 digits of the bundle's SHA-256."},
    }
    ahead: dict[str, Any] = {}
    if schema.task == "forecast":
        step = {"type": "object", "required": ["prediction", "served_by"], "properties": prediction}
        steps = {"type": "array", "items": step, "minItems": 1}
        one = {"type": "object", "required": ["steps"], "properties": {"series": {"type": "string"}, "steps": steps}}
        ahead["Forecasts"] = {
            "type": "object",
            "required": ["forecasts", *about],
            "properties": {"forecasts": {"type": "array", "items": one}, **about},
            "additionalProperties": False,
        }
    return {
        **ahead,
        "Prediction": {"type": "object", "required": ["prediction", "served_by"], "properties": prediction},
        "Answer": {
            "type": "object",
            "required": ["prediction", "served_by", *about],
            "properties": {**prediction, **about},
            "additionalProperties": False,
        },
        "Answers": {
            "type": "object",
            "required": ["predictions", *about],
            "properties": {"predictions": {"type": "array", "items": ref("Prediction")}, **about},
            "additionalProperties": False,
        },
    }


def label_schemas(bundle: Bundle) -> dict[str, Any]:
    """Return the schemas of what came true: ``Label`` and ``Labels``."""
    text = {"type": "string"}
    properties = {
        "id": {
            **text,
            "minLength": 1,
            "maxLength": MOST_CHARACTERS_OF_ID,
            "description": "Of the prediction's answer.",
        },
        "label": {"enum": list(bundle.classes)} if bundle.schema.classes else {"type": "number"},
        "row": {
            "type": "integer",
            "minimum": 0,
            "exclusiveMaximum": MOST_ROWS,
            "description": "Which row of a request that had many; 0 where it is left out.",
        },
        "at": {**text, "format": "date-time", "description": "When it came true."},
    }
    return {
        "Label": {
            "type": "object",
            "required": ["id", "label"],
            "properties": properties,
            "additionalProperties": False,
        },
        "Labels": {
            "type": "object",
            "required": ["labels"],
            "properties": {"labels": {"type": "array", "minItems": 1, "items": ref("Label")}},
            "additionalProperties": False,
        },
    }


PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "what", "allowed"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the body."},
                    "what": {"type": "string"},
                    "allowed": {"type": "string"},
                },
            },
        },
    },
}


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


REFUSALS = {
    "400": "The body cannot be read as what it is sent as, or the query asks for what there is not.",
    "401": "The server has a guard, and no valid key or token came with the request.",
    "403": "The key or token does not have this permission.",
    "405": "The path does not take this method.",
    "408": "The body did not arrive in time.",
    "413": "The body is larger than the server takes.",
    "415": "The body is sent as something else than what is listed here, or compressed.",
    "422": "Fields do not fit the schema; each is named, with what was allowed.",
    "429": "More requests than the key's limit.",
    "431": "The head of the request is larger than the server takes.",
    "500": "A fault of the server.",
    "503": "Neither the model nor a fallback could answer, or too many requests are waiting.",
}
"""What a path that answers rows may say instead, by status."""


def refused(*statuses: str, **texts: str) -> dict[str, Any]:
    """Return the responses of refusals: those of `REFUSALS` that are named, and others with their texts.

    Parameters
    ----------
    *statuses : str
        Such as ``"400"``.
    **texts : str
        By status with an underscore before it, such as ``_404``.
    """
    told = {status: REFUSALS[status] for status in statuses} | {name[1:]: text for name, text in texts.items()}
    content = {MEDIA_TYPE: {"schema": ref("Problem")}}
    return {status: {"description": text, "content": content} for status, text in sorted(told.items())}


def get(name: str, summary: str, content: Mapping[str, Any], **texts: str) -> dict[str, Any]:
    """Return a path that takes GET.

    Parameters
    ----------
    name, summary : str
        Of the operation.
    content : mapping
        Of the answer, by media type.
    **texts : str
        Other answers, see `refused`.
    """
    answered = {"description": "Answered.", **({"content": dict(content)} if content else {})}
    responses = {"200": answered, **refused("405", "431", **texts)}
    return {"get": {"operationId": name, "summary": summary, "responses": responses}}
