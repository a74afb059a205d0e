"""OpenAPI 3.1 from the bundle's schema, with a made-up row and the answer it got; and the page people read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.core.markup import Code, Document, Facts, Heading, Table, Text, literal
from modelyard.serving.protocols.described import COLUMNAR, protocol_paths, protocol_schemas
from modelyard.serving.rows import example_rows
from modelyard.serving.schemas import (
    PROBLEM,
    REFUSALS,
    answer_schemas,
    get,
    label_schemas,
    parameters,
    ref,
    refused,
    row_schemas,
)
from modelyard.serving.version import Unknown

_SHOWN = "/v1/predict"
_STARTING = "The server is starting or shutting down."
_BUSY = "Too many requests are waiting."


def openapi(
    bundle: Bundle,
    answer: Mapping[str, Any],
    unknown: Unknown = "refuse",
    number: str | None = None,
    *,
    labels: bool = False,
) -> dict[str, Any]:
    """Return the OpenAPI document of a served bundle.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    answer : mapping
        What the first example row was answered.
    unknown : {"refuse", "ignore"}
        What is done with a name the schema does not know.
    number : str, optional
        The release's version; default: the bundle's short hash.
    labels : bool
        Whether the server takes labels.

    References
    ----------
    OpenAPI Specification 3.1.1; JSON Schema 2020-12; RFC 9457.
    """
    manifest = bundle.manifest
    text = {"text/plain": {"schema": {"type": "string"}}}
    status = {"application/json": {"schema": {"type": "object", "required": ["status"]}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.name,
            "version": bundle.hash[:12],
            "description": f"Predictions of {manifest.name} ({manifest.schema.task}), bundle {bundle.hash[:12]}.",
        },
        "paths": {
            _SHOWN: {"post": _predict(bundle, answer)},
            **protocol_paths(bundle, answer, number or bundle.hash[:12]),
            **({"/v1/labels": {"post": _labels(answer)}} if labels else {}),
            "/health/live": get("live", "Whether the process lives", status),
            "/health/ready": get("ready", "Whether it should be sent requests", status, _503=_STARTING),
            "/metrics": get("metrics", "Counters and histograms for Prometheus", text, _503=_BUSY),
        },
        "components": {
            "schemas": {
                **row_schemas(bundle, unknown),
                **answer_schemas(bundle),
                **protocol_schemas(bundle),
                **(label_schemas(bundle) if labels else {}),
                "Problem": PROBLEM,
            }
        },
    }


def _predict(bundle: Bundle, answer: Mapping[str, Any]) -> dict[str, Any]:
    row = example_rows(bundle)[0]
    shared = {k: answer[k] for k in ("id", "model", "bundle")}
    single = {k: v for k, v in answer.items() if k not in shared}
    ahead = [ref("Ahead")] if bundle.schema.task == "forecast" else []
    forecasts = [ref("Forecasts")] if ahead else []
    return {
        "operationId": "predict",
        "summary": "Answer one row, or many",
        "parameters": parameters(bundle),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [ref("Row"), ref("Rows"), *ahead]},
                    "examples": {"row": {"value": row}, "instances": {"value": {"instances": [row]}}},
                },
                **COLUMNAR,
            },
        },
        "responses": {
            "200": {
                "description": "The answer; in columns where Accept asks for them and columns were sent.",
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [ref("Answer"), ref("Answers"), *forecasts]},
                        "examples": {
                            "row": {"value": dict(answer)},
                            "instances": {"value": {"predictions": [single], **shared}},
                        },
                    },
                    **COLUMNAR,
                },
            },
            **refused(*REFUSALS),
        },
    }


def _labels(answer: Mapping[str, Any]) -> dict[str, Any]:
    label = {"id": answer["id"], "label": answer["prediction"]}
    taken = {"type": "object", "required": ["labels"], "properties": {"labels": {"type": "integer"}}}
    return {
        "operationId": "labels",
        "summary": "Take what came true of one row, or of many",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [ref("Label"), ref("Labels")]},
                    "examples": {"label": {"value": label}, "labels": {"value": {"labels": [label]}}},
                },
            },
        },
        "responses": {
            "202": {
                "description": "How many were written, to be met with their predictions.",
                "content": {"application/json": {"schema": taken, "example": {"labels": 1}}},
            },
            **refused(*REFUSALS, _400="The body is no JSON of labels.", _503="They could not be written now."),
        },
    }


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the OpenAPI document as a page that needs nothing from elsewhere.

    Parameters
    ----------
    document : mapping
        What `openapi` returned.
    """
    operation = document["paths"][_SHOWN]["post"]
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
                ("path", "what"),
                [(f"`{p}`", next(iter(v.values()))["summary"]) for p, v in document["paths"].items() if p != _SHOWN],
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


def _type(described: Mapping[str, Any]) -> str:
    kinds = described.get("type", "any")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)
