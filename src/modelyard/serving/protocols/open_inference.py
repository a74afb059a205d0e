"""Open Inference Protocol: a tensor for each column comes in, a tensor for each part of the answer goes out.

References
----------
Open Inference Protocol, HTTP/REST, "Inference" and "Model Metadata" (github.com/kserve/open-inference-protocol).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from modelyard.bundle.bundle import Bundle
from modelyard.data.column import Column
from modelyard.serving.problem import HttpProblem
from modelyard.serving.protocols.sent import Sent
from modelyard.serving.protocols.tensors import Tensor, packed, values_of

_SHOWN = "an inference request: an object with 'inputs', a list of tensors"
_KINDS = {"integer": "INT64", "float": "FP64", "boolean": "BOOL"}
_COVERAGE = 0.9


class Wanted(msgspec.Struct):
    """An output that is asked for by name."""

    name: str
    parameters: dict[str, Any] = {}


class Inference(msgspec.Struct):
    """An inference request, as JSON has it."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] | None = None


_decode = msgspec.json.Decoder(Inference).decode


@dataclass(frozen=True, slots=True)
class Output:
    """A part of the answer as a tensor.

    Attributes
    ----------
    name, datatype : str
        As the protocol has them.
    width : int
        Values for each row; 0 where there is one, and no second dimension.
    values : callable
        From one row's answer (see ``Prediction.plain``) to its values.
    parameters : mapping
        Of the tensor, such as the names of the classes as a JSON list: the protocol's parameters are plain values.
    asks : str
        The query parameter that asks for it; "" where it always comes.
    """

    name: str
    datatype: str
    width: int
    values: Callable[[Mapping[str, Any]], Sequence[Any]]
    parameters: Mapping[str, Any]
    asks: str = ""


def inputs_of(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the tensors an inference request brings, one for each column."""
    return [{"name": c.name, "datatype": datatype(c), "shape": [-1]} for c in bundle.schema.features]


def datatype(column: Column) -> str:
    """Return the data type of a column's tensor; a date and a category are BYTES."""
    if column.kind == "boolean":
        return "BOOL"
    return "FP64" if column.kind == "number" else "BYTES"


def outputs_of(bundle: Bundle) -> list[Output]:
    """Return what an answer can hold, in order."""
    schema, label = bundle.schema, bundle.schema.label
    physical = label.physical if label is not None else "string"
    kind = _KINDS.get(physical, "BYTES") if schema.classes else "FP64"
    found = [Output("prediction", kind, 0, lambda answer: [answer["prediction"]], {})]
    if schema.classes:
        names, k = schema.classes, len(schema.classes)
        parameters = {"classes": json.dumps(list(bundle.classes), ensure_ascii=False)}
        nothing = dict.fromkeys(names)

        def chances(answer: Mapping[str, Any]) -> Sequence[Any]:
            held = answer.get("probabilities", nothing)
            return [held[name] for name in names]

        found.append(Output("probabilities", "FP64", k, chances, parameters))
        if bundle.coverages:
            found.append(Output("set", "BOOL", k, lambda answer: _members(answer, bundle), parameters, "coverage"))
    elif bundle.coverages:
        asks = "" if schema.task == "forecast" else "coverage"
        found.append(Output("interval", "FP64", 2, _ends, {}, asks))
    if bundle.scores_novelty:
        found.append(Output("ood", "FP64", 0, lambda answer: [answer.get("ood")], {}, "ood"))
    return [*found, Output("served_by", "BYTES", 0, lambda answer: [answer["served_by"]], {})]


def metadata(bundle: Bundle, versions: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of a model: its name, versions, and the tensors it takes and gives."""
    outputs = [
        {"name": o.name, "datatype": o.datatype, "shape": [-1, o.width] if o.width else [-1]}
        for o in outputs_of(bundle)
    ]
    return {
        "name": bundle.manifest.name,
        "versions": list(versions),
        "platform": f"modelyard_{bundle.manifest.runtime}",
        "inputs": inputs_of(bundle),
        "outputs": outputs,
    }


def read(body: bytes, header_bytes: int | None, bundle: Bundle) -> tuple[Sent, Inference]:
    """Read an inference request.

    Parameters
    ----------
    body : bytes
        JSON, and after it the data of tensors that say ``binary_data_size``.
    header_bytes : int or None
        Length of the JSON (``Inference-Header-Content-Length``); None where that is all.
    bundle : Bundle
        What answers.

    Returns
    -------
    (Sent, Inference)
        The rows, and the request.

    Raises
    ------
    HttpProblem
        400 if it is not one.
    """
    if header_bytes is not None and header_bytes > len(body):
        raise HttpProblem(
            400, f"Inference-Header-Content-Length is {header_bytes}, and the body has {len(body)} bytes."
        )
    try:
        request = _decode(body if header_bytes is None else body[:header_bytes])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HttpProblem(400, f"The body must be {_SHOWN}: {error}.") from None
    columns = _columns(request.inputs, b"" if header_bytes is None else body[header_bytes:])
    counts = {len(values) for values in columns.values()}
    if len(counts) != 1:
        said = f"Its tensors have {' and '.join(map(str, sorted(counts)))} rows." if counts else "It has no tensors."
        raise HttpProblem(400, f"The body must be {_SHOWN} of as many rows. {said}")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    places = {name: i for i, name in enumerate(columns)}

    def pointer(row: int, column: str) -> str:
        return f"/inputs/{places[column]}/data/{row}" if column in places else "/inputs"

    return Sent(rows, pointer, _asked(request, bundle)), request


def write(
    request: Inference, answers: Sequence[Mapping[str, Any]], bundle: Bundle, name: str, version: str
) -> tuple[bytes, int | None]:
    """Return the inference response, and the length of its JSON where tensors follow it.

    Parameters
    ----------
    request : Inference
        What was asked: its id, and which outputs in which form.
    answers : sequence of mapping
        One for each row (see ``Prediction.plain``).
    bundle : Bundle
        What answered.
    name : str
        Under which the prediction log keeps the answer.
    version : str
        Of the model that answered.
    """
    known = {output.name: output for output in outputs_of(bundle)}
    forms = {o.name: o.parameters for o in request.outputs or ()}
    chosen = forms or [n for n, o in known.items() if not o.asks or any(n in answer for answer in answers)]
    binary = request.parameters.get("binary_data_output", False)
    tensors, following = [], []
    for output in (known[n] for n in chosen):
        values = list(chain.from_iterable(output.values(answer) for answer in answers))
        parameters = dict(output.parameters)
        for key in ("interval", "set"):
            if output.name == key and key in answers[0]:
                parameters["coverage"] = answers[0][key]["coverage"]
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": [len(answers), output.width] if output.width else [len(answers)],
        }
        if forms.get(output.name, {}).get("binary_data", binary) is True:
            following.append(packed(output.datatype, values))
            parameters["binary_data_size"] = len(following[-1])
        else:
            tensor["data"] = values
        tensors.append({**tensor, "parameters": parameters} if parameters else tensor)
    # Who names outputs gets those alone, as the protocol says: what answered is told in a plain value beside them.
    served_by = ",".join(sorted({answer["served_by"] for answer in answers}))
    response = msgspec.json.encode(
        {
            "model_name": bundle.manifest.name,
            "model_version": version,
            "id": request.id or name,
            "parameters": {"prediction_id": name, "bundle": bundle.hash[:12], "served_by": served_by},
            "outputs": tensors,
        }
    )
    return (response + b"".join(following), len(response)) if following else (response, None)


def _columns(inputs: Sequence[Tensor], binary: bytes) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    start = 0
    for i, tensor in enumerate(inputs):
        at = f"/inputs/{i}"
        if tensor.name in columns:
            raise HttpProblem(400, f"{at} is a second tensor called '{tensor.name}'.")
        size = tensor.parameters.get("binary_data_size")
        held = None
        if size is not None:
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary) - start:
                raise HttpProblem(400, f"{at} says binary_data_size {size}, and {len(binary) - start} bytes are left.")
            held = binary[start : start + size]
            start += size
        columns[tensor.name] = values_of(tensor, at, held)
    if start < len(binary):
        raise HttpProblem(400, f"{len(binary) - start} bytes after the JSON belong to no tensor.")
    return columns


def _asked(request: Inference, bundle: Bundle) -> dict[str, str]:
    given = request.parameters
    asked: dict[str, str] = {name: str(given[name]) for name in ("coverage", "ood") if name in given}
    known = {output.name: output for output in outputs_of(bundle)}
    for i, wanted in enumerate(request.outputs or ()):
        if wanted.name not in known:
            raise HttpProblem(400, f"/outputs/{i} asks for '{wanted.name}'. Allowed: {', '.join(known)}.")
        if known[wanted.name].asks == "ood":
            asked["ood"] = "true"
        elif known[wanted.name].asks == "coverage" and "coverage" not in asked:
            asked["coverage"] = str(_COVERAGE if _COVERAGE in bundle.coverages else bundle.coverages[0])
    return asked


def _ends(answer: Mapping[str, Any]) -> Sequence[Any]:
    held = answer.get("interval", {})
    return [held.get("low"), held.get("high")]


def _members(answer: Mapping[str, Any], bundle: Bundle) -> Sequence[Any]:
    held = answer.get("set")
    return [held is None or one in held["classes"] for one in bundle.classes]
