"""What OpenAPI says of the protocols beside ``/v1/predict``: every path, body, answer and status."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.reasons import FILE as REASONS
from modelyard.serving.protocols import invocations, open_inference
from modelyard.serving.protocols.columnar import ARROW, PARQUET
from modelyard.serving.protocols.explain import MOST_ROWS
from modelyard.serving.protocols.tensors import DATATYPES, Tensor
from modelyard.serving.rows import example_rows
from modelyard.serving.schemas import REFUSALS, get, parameters, ref, refused

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
COLUMNAR = {ARROW: _BYTES, PARQUET: _BYTES}
_SERVED_BY = {"type": "string", "description": "Everything that answered a row, with commas between."}
_NOTHING = "No such model or version."
_NOT_READY = {"503": {"description": "Not ready.", "content": {"application/json": {"schema": {"type": "object"}}}}}


def protocol_paths(bundle: Bundle, answer: Mapping[str, Any], number: str) -> dict[str, Any]:
    """Return the paths of the protocols, with the examples their own writers make of a row and its answer.

    Parameters
    ----------
    bundle, answer, number
        See ``openapi``.
    """
    row = example_rows(bundle)[0]
    model = f"/v2/models/{bundle.manifest.name}"
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}, "example": number}
    infer, by_version = (_infer(bundle, row, answer, number) for _ in range(2))
    described = _json("ModelMetadata", open_inference.metadata(bundle, [number]))
    truth = {"type": "boolean"}
    ready = {"application/json": {"schema": _object(ready=truth)}}
    live = {"application/json": {"schema": _object(live=truth)}}
    paths: dict[str, Any] = {
        "/v1/explain": {"post": _explain(bundle, row)},
        "/invocations": {"post": _invocations(bundle, row, answer)},
        "/ping": get("ping", "Whether it should be sent requests", {}),
        "/v2": get("server", "Server metadata of the Open Inference Protocol", _json("ServerMetadata")),
        "/v2/health/live": get("liveV2", "Whether the process lives", live),
        "/v2/health/ready": get("readyV2", "Whether it should be sent requests", ready),
        model: get("model", "Model metadata: the tensors it takes and gives", described, _404=_NOTHING),
        f"{model}/ready": get("modelReady", "Whether the model is ready", ready, _404=_NOTHING),
        f"{model}/infer": {"post": {**infer, "operationId": "infer"}},
        f"{model}/versions/{{version}}": get("version", "Metadata of a version", described, _404=_NOTHING),
        f"{model}/versions/{{version}}/ready": get("versionReady", "Whether a version is ready", ready, _404=_NOTHING),
        f"{model}/versions/{{version}}/infer": {"post": {**by_version, "operationId": "inferVersion"}},
    }
    for path, operations in paths.items():
        for operation in operations.values():
            if "{version}" in path:
                operation["parameters"] = [version, *operation.get("parameters", ())]
                operation["responses"] |= refused("401", "403", "429", "500", "503", _404=_NOTHING)
            if path.endswith(("/ready", "/ping")):
                operation["responses"] |= _NOT_READY
    return paths


def protocol_schemas(bundle: Bundle) -> dict[str, Any]:
    """Return the schemas the protocols' paths refer to."""
    text, numbers = {"type": "string"}, {"type": "array", "items": {"type": "integer"}}
    facts = {"type": "object"}
    tensor = {"name": text, "datatype": {"enum": list(DATATYPES)}, "shape": numbers, "parameters": facts}
    data = {"type": "array", "description": "Values in order; nested lists are read too. null is a missing value."}
    described = {
        "type": "array",
        "items": {"type": "object", "required": ["name", "datatype", "shape"], "properties": {**tensor}},
    }
    input_ = {**tensor, "name": {"enum": [c.name for c in bundle.schema.features]}, "data": data}
    number = {"type": "number"}
    told = _object(prediction={}, served_by=text)
    told["properties"] |= {"explanation": ref("Explanation"), "reasons": ref("Reasons")}
    return {
        "Inference": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": text,
                "parameters": facts,
                "inputs": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "object", "required": ["name", "shape", "datatype"], "properties": input_},
                },
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"enum": [o.name for o in open_inference.outputs_of(bundle)]},
                            "parameters": facts,
                        },
                    },
                },
            },
        },
        "Inferred": {
            "type": "object",
            "required": ["model_name", "model_version", "id", "outputs"],
            "properties": {
                "model_name": text,
                "model_version": text,
                "id": text,
                "parameters": _object(prediction_id=text, bundle=text, served_by=_SERVED_BY),
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "shape", "datatype"],
                        "properties": {**tensor, "data": data},
                    },
                },
            },
        },
        "ServerMetadata": _object(name=text, version=text, extensions={"type": "array", "items": text}),
        "ModelMetadata": _object(
            name=text, versions={"type": "array", "items": text}, platform=text, inputs=described, outputs=described
        ),
        "Invocation": {
            "type": "object",
            "minProperties": 1,
            "properties": {
                "dataframe_split": _split(bundle),
                "dataframe_records": {"type": "array", "minItems": 1, "items": ref("Row")},
                "instances": {"type": "array", "minItems": 1, "items": ref("Row")},
                "inputs": {"description": "Values by column, a list for each or one; or a list of rows."},
                "params": {"type": "object", "properties": {"probabilities": {"type": "boolean"}}},
            },
            "additionalProperties": False,
        },
        "Invoked": {
            "type": "object",
            "required": ["predictions", "served_by"],
            "properties": {
                "predictions": {"type": "array"},
                "served_by": {"type": "array", "items": text, "description": "What answered each row."},
                "id": text,
                "model": text,
                "bundle": text,
            },
        },
        "Explained": {"anyOf": [told, _object(predictions={"type": "array", "items": told}, id=text)]},
        "Explanation": _object(
            explained={"description": "The class whose raw score is explained; null for numbers."},
            base={**number, "description": "Raw score of an average row."},
            contributions={"type": "object", "additionalProperties": number},
        ),
        "Reasons": {
            "type": "array",
            "maxItems": 4,
            "items": _object(code=text, text=text, columns={"type": "array", "items": text}),
        },
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _json(name: str, example: Any = None) -> dict[str, Any]:
    return {"application/json": {"schema": ref(name), **({} if example is None else {"example": example})}}


def _split(bundle: Bundle) -> dict[str, Any]:
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    rows = {"type": "array", "minItems": 1, "items": {"type": "array"}}
    return {"type": "object", "required": ["columns", "data"], "properties": {"columns": names, "data": rows}}


def _infer(bundle: Bundle, row: Mapping[str, Any], answer: Mapping[str, Any], number: str) -> dict[str, Any]:
    inputs = [
        Tensor(column.name, [1], open_inference.datatype(column), data=[row.get(column.name)])
        for column in bundle.schema.features
    ]
    request = open_inference.Inference(inputs)
    body, _ = open_inference.write(request, [answer], bundle, answer["id"], number)
    sent = {"inputs": [{k: v for k, v in msgspec.to_builtins(one).items() if k != "parameters"} for one in inputs]}
    header = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": "Length of the JSON, where the data of tensors follows it.",
        "schema": {"type": "integer", "minimum": 0},
    }
    return {
        "summary": "Answer tensors: the Open Inference Protocol",
        "parameters": [*parameters(bundle), header],
        "requestBody": {
            "required": True,
            "content": {**_json("Inference", sent), "application/octet-stream": _BYTES},
        },
        "responses": {
            "200": {
                "description": "A tensor for each part of the answer.",
                "content": {**_json("Inferred", msgspec.json.decode(body)), "application/octet-stream": _BYTES},
            },
            **refused(*REFUSALS),
        },
    }


def _invocations(bundle: Bundle, row: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    about = {k: answer[k] for k in ("id", "model", "bundle")}
    told = msgspec.json.decode(invocations.write([answer], about, False, bundle))
    return {
        "operationId": "invocations",
        "summary": "Answer rows as MLflow and SageMaker send them",
        "requestBody": {
            "required": True,
            "content": {
                **_json("Invocation", {"dataframe_records": [row]}),
                "text/csv": {"schema": {"type": "string"}, "example": _csv(row)},
            },
        },
        "responses": {
            "200": {"description": "Classes or values.", "content": _json("Invoked", told)},
            **refused(*REFUSALS),
        },
    }


def _explain(bundle: Bundle, row: Mapping[str, Any]) -> dict[str, Any]:
    more = " and the reasons of an adverse one" if REASONS in bundle.manifest.files else ""
    return {
        "operationId": "explain",
        "summary": f"Answer up to {MOST_ROWS} rows, with what each column did to each answer{more}",
        "parameters": parameters(bundle),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"oneOf": [ref("Row"), ref("Rows")]}, "example": row},
            },
        },
        "responses": {
            "200": {"description": "The answer, explained.", "content": _json("Explained")},
            **refused(*REFUSALS, _501="This model cannot be explained, or a library it takes is not installed."),
        },
    }


def _csv(row: Mapping[str, Any]) -> str:
    into = io.StringIO()
    writer = csv.writer(into, lineterminator="\n")
    writer.writerow(row)
    writer.writerow("" if value is None else value for value in row.values())
    return into.getvalue()
