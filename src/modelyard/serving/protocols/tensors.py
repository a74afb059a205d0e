"""Tensors of the Open Inference Protocol: data types, and the binary extension that sends them after the JSON.

References
----------
Open Inference Protocol, HTTP/REST (github.com/kserve/open-inference-protocol); its binary tensor data extension
(github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from modelyard.serving.problem import HttpProblem

_WIDTHS = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
DATATYPES = (*_WIDTHS, "BYTES")
_LENGTH = struct.Struct("<I")
_MOST_DEEP = 32


class Tensor(msgspec.Struct):
    """One tensor, as JSON has it; `data` is absent where it comes after the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}  # msgspec makes a new one for each
    data: list[Any] | None = None


def values_of(tensor: Tensor, at: str, binary: bytes | None) -> list[Any]:
    """Return the values of a tensor with one value for each row.

    Parameters
    ----------
    tensor : Tensor
        Of shape [n] or [n, 1].
    at : str
        JSON pointer of it, for errors.
    binary : bytes or None
        Its data, where it came after the JSON.

    Returns
    -------
    list of shape [n]
        Numbers, strings, true and false; null and NaN where missing.

    Raises
    ------
    HttpProblem
        400 if shape, data type and data do not fit each other.
    """
    kind, shape = tensor.datatype, tensor.shape
    if kind not in DATATYPES:
        raise HttpProblem(400, f"{at}/datatype says '{kind}'. Allowed: {', '.join(DATATYPES)}.")
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] < 1:
        raise HttpProblem(400, f"{at}/shape says {shape}. Allowed: [rows] or [rows, 1], one value for each row.")
    if binary is not None:
        values = _unpacked(kind, binary, at)
    else:
        if tensor.data is None:
            raise HttpProblem(400, f"{at} has neither 'data' nor the parameter 'binary_data_size'.")
        values = _flat(tensor.data, at)
        wrong = next((i for i, value in enumerate(values) if not _fits(kind, value)), None)
        if wrong is not None:
            raise HttpProblem(400, f"{at}/data holds a value that is not {kind}, number {wrong} of it.")
    if len(values) != shape[0]:
        raise HttpProblem(400, f"{at} holds {len(values):,} values, and its shape says {shape[0]:,}.")
    return values


def packed(kind: str, values: Sequence[Any]) -> bytes:
    """Return values as the binary extension writes them; None is NaN, or no bytes."""
    if kind == "BYTES":
        texts = ["" if v is None else str(v) for v in values]
        return b"".join(_LENGTH.pack(len(held)) + held for held in (text.encode() for text in texts))
    if kind.startswith("FP"):
        values = [math.nan if v is None else v for v in values]
    return np.array(values, dtype=_WIDTHS[kind]).tobytes()


def _fits(kind: str, value: Any) -> bool:
    if value is None:
        return True
    if kind == "BYTES":
        return isinstance(value, str)
    if kind == "BOOL":
        return isinstance(value, bool)
    return isinstance(value, int | float if kind.startswith("FP") else int) and not isinstance(value, bool)


def _flat(data: list[Any], at: str) -> list[Any]:
    """Return nested lists as one: the protocol allows either."""
    for _ in range(_MOST_DEEP):
        if not any(isinstance(held, list) for held in data):
            return data
        data = [value for held in data for value in (held if isinstance(held, list) else [held])]
    raise HttpProblem(400, f"{at}/data is nested too deeply.")


def _unpacked(kind: str, binary: bytes, at: str) -> list[Any]:
    if kind != "BYTES":
        width = np.dtype(_WIDTHS[kind]).itemsize
        if len(binary) % width:
            raise HttpProblem(400, f"{at} has {len(binary):,} bytes, which are no whole number of {kind}.")
        held: list[Any] = np.frombuffer(binary, dtype=_WIDTHS[kind]).tolist()
        return held
    values: list[Any] = []
    start = 0
    while start < len(binary):
        end = start + _LENGTH.size
        try:
            (length,) = _LENGTH.unpack_from(binary, start)
            start = end + length
            if start > len(binary):
                raise ValueError
            values.append(binary[end:start].decode())
        except (struct.error, ValueError):
            raise HttpProblem(400, f"{at}: BYTES number {len(values)} is cut short, or is not UTF-8.") from None
    return values
