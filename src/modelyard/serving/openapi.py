"""OpenAPI 3.1 from the bundle's schema, with a made-up row and the answer it got; and the page people read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.core.markup import Code, Document, Facts, Heading, Table, Text, literal
from modelyard.data.schema import Column
from modelyard.encoding.encoding import MOST_CHARACTERS
from modelyard.serving.rows import example_rows
from modelyard.serving.version import Unknown

_JSON_TYPES = {"number": "number", "boolean": "boolean"}
_SHOWN_LEVELS = 20
_REFUSALS = {
    "400": "The body is not JSON, or neither a row nor a list of instances; or the query asks for what there is not.",
    "405": "The method is not POST.",
    "408": "The body did not arrive in time.",
    "413": "The body is larger than the server takes.",
    "415": "The body is not sent as application/json.",
    "422": "Fields do not fit the schema; each is named, with what was allowed.",
    "503": "Neither the model nor a fallback could answer, or the server has all it can do (Retry-After).",
}


def openapi(bundle: Bundle, answer: Mapping[str, Any], unknown: Unknown = "refuse") -> dict[str, Any]:
    """Return the OpenAPI document of a served bundle.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    answer : mapping
        What the first example row was answered.
    unknown : {"refuse", "ignore"}
        What is done with a name the schema does not know.

    References
    ----------
    OpenAPI Specification 3.1.1; JSON Schema 2020-12; RFC 9457.
    """
    manifest = bundle.manifest
    row = example_rows(bundle)[0]
    refusals = {status: _response(text, "Problem", "application/problem+json") for status, text in _REFUSALS.items()}
    single = {k: v for k, v in answer.items() if k not in ("id", "model", "bundle")}
    shared = {k: answer[k] for k in ("id", "model", "bundle")}
    many = {"id": shared["id"], "predictions": [single], "model": shared["model"], "bundle": shared["bundle"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.name,
            "version": bundle.hash[:12],
            "description": f"Predictions of {manifest.name} ({manifest.schema.task}), bundle {bundle.hash[:12]}.",
        },
        "paths": {
            "/v1/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": "Answer one row, or many",
                    "parameters": _parameters(bundle),
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {"oneOf": [_ref("Row"), _ref("Rows")]},
                                "examples": {"row": {"value": row}, "instances": {"value": {"instances": [row]}}},
                            }
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "The answer.",
                            "content": {
                                "application/json": {
                                    "schema": {"oneOf": [_ref("Answer"), _ref("Answers")]},
                                    "examples": {"row": {"value": dict(answer)}, "instances": {"value": many}},
                                }
                            },
                        },
                        **refusals,
                    },
                }
            },
            "/health/live": _get("live", "Whether the process lives"),
            "/health/ready": _get("ready", "Whether it should be sent requests", "503", "Starting or shutting down."),
            "/metrics": _get("metrics", "Counters and histograms for Prometheus"),
        },
        "components": {"schemas": {**_row_schemas(bundle, unknown), **_answer_schemas(bundle), "Problem": _PROBLEM}},
    }


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


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the OpenAPI document as a page that needs nothing from elsewhere.

    Parameters
    ----------
    document : mapping
        What `openapi` returned.
    """
    operation = document["paths"]["/v1/predict"]["post"]
    sent = operation["requestBody"]["content"]["application/json"]["examples"]["row"]["value"]
    answer = operation["responses"]["200"]["content"]["application/json"]["examples"]["row"]["value"]
    row = document["components"]["schemas"]["Row"]
    columns = [
        (literal(name), _type(p), "yes" if name in row["required"] else "no", literal(p.get("description", "")))
        for name, p in row["properties"].items()
    ]
    info = document["info"]
    page = Document(
        title=info["title"],
        answer=[
            Facts(
                [
                    ("Model", info["title"]),
                    ("Bundle", info["version"]),
                    ("Machine-readable", "[openapi.json](openapi.json)"),
                ]
            ),
            Code(curl(sent, secured="security" in operation), "sh"),
            Code(json.dumps(answer, indent=2, ensure_ascii=False), "json"),
            Text('Many rows at once: `{"instances": [row, ...]}`; the answer then holds `predictions`, in order.'),
            *(
                [Table(("query", "values", "what it adds"), [_asked(p) for p in operation["parameters"]])]
                if operation["parameters"]
                else []
            ),
        ],
        blocks=[
            Heading("A row"),
            Table(("column", "type", "required", "in development"), columns),
            Heading("What goes wrong"),
            Text("As `application/problem+json` (RFC 9457); `errors` names every bad field."),
            Table(("status", "when"), [(s, r["description"]) for s, r in operation["responses"].items() if s != "200"]),
            Heading("Also here"),
            Table(
                ("path", "what"), [(f"`{p}`", v["get"]["summary"]) for p, v in document["paths"].items() if "get" in v]
            ),
        ],
    )
    return page.html()


def _asked(parameter: Mapping[str, Any]) -> tuple[str, str, str]:
    values = parameter["schema"].get("enum", ["true", "false"])
    return f"`?{parameter['name']}=`", ", ".join(map(str, values)), parameter["description"]


def curl(row: Mapping[str, Any], address: str = "http://127.0.0.1:8000", *, secured: bool = False) -> str:
    """Return the command that sends one row, with a key or token out of the environment where there is a guard."""
    body = json.dumps(row, indent=2, ensure_ascii=False).replace("'", "'\\''")
    bearer = '  -H "Authorization: Bearer $KEY" \\\n' if secured else ""
    return f"curl {address}/v1/predict \\\n{bearer}  -H 'Content-Type: application/json' \\\n  -d '{body}'"


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
    return described


def _seen(column: Column) -> str:
    missing = f", {column.missing:.1%} missing" if column.missing else ""
    if column.kind == "number" and column.low is not None and column.high is not None:
        return f"{column.low:g} to {column.high:g}{missing}"
    if column.kind == "date":
        return f"ISO 8601{missing}"
    if column.kind == "text":
        return f"Text, of which the first {MOST_CHARACTERS:,} characters are read{missing}"
    levels = ", ".join(column.levels[:_SHOWN_LEVELS])
    more = f", and {column.distinct - _SHOWN_LEVELS:,} more" if column.distinct > _SHOWN_LEVELS else ""
    return f"{levels or column.kind}{more}{missing}"


def _type(described: Mapping[str, Any]) -> str:
    kinds = described.get("type", "any")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _row_schemas(bundle: Bundle, unknown: Unknown) -> dict[str, Any]:
    rows = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "minItems": 1, "items": _ref("Row")}},
        "additionalProperties": False,
    }
    return {"Row": row_schema(bundle, unknown), "Rows": rows}


def _parameters(bundle: Bundle) -> list[dict[str, Any]]:
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
        bounds = dict.fromkeys(("low", "high", "coverage"), number)
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


def _answer_schemas(bundle: Bundle) -> dict[str, Any]:
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
    return {
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
            "properties": {"predictions": {"type": "array", "items": _ref("Prediction")}, **about},
            "additionalProperties": False,
        },
    }


_PROBLEM = {
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


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _response(text: str, name: str, media_type: str) -> dict[str, Any]:
    return {"description": text, "content": {media_type: {"schema": _ref(name)}}}


def _get(name: str, summary: str, status: str | None = None, text: str = "") -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "Yes." if status else "Answered."}}
    if status is not None:
        responses[status] = _response(text, "Problem", "application/problem+json")
    return {"get": {"operationId": name, "summary": summary, "responses": responses}}
