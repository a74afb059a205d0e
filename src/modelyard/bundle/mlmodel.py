"""The files that make a bundle an MLflow model: ``mlflow.pyfunc.load_model(folder)`` works without converting it."""

from __future__ import annotations

import json
import sys
from typing import Any

import yaml

from modelyard.data.schema import Column, Schema

LOADER = "modelyard.adapters.mlflow_model"
"""Module MLflow imports to load the folder."""

_TYPES = {
    "integer": "long",
    "float": "double",
    "string": "string",
    "boolean": "boolean",
    "date": "datetime",
    "datetime": "datetime",
}


def mlmodel_files(schema: Schema, versions: dict[str, str]) -> dict[str, bytes]:
    """Return ``MLmodel``, ``python_env.yaml`` and ``requirements.txt``, the same bytes for the same model.

    Parameters
    ----------
    schema : Schema
        Gives the signature.
    versions : mapping of str to str
        Packages needed to answer, and their versions.

    Notes
    -----
    MLflow's own writer adds a moment and a random id; the format asks for neither.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    model = {
        "flavors": {
            "python_function": {
                "env": {"virtualenv": "python_env.yaml"},
                "loader_module": LOADER,
                "python_version": python,
            }
        },
        "signature": _signature(schema),
    }
    environment = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    requirements = "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
    return {
        "MLmodel": yaml.safe_dump(model, sort_keys=True, allow_unicode=True).encode(),
        "python_env.yaml": yaml.safe_dump(environment, sort_keys=False).encode(),
        "requirements.txt": requirements.encode(),
    }


def _signature(schema: Schema) -> dict[str, str]:
    inputs = [{"name": c.name, "type": _type(c), "required": c.missing == 0} for c in schema.features]
    label = schema.label
    output = _TYPES[label.physical] if schema.classes and label is not None else "double"
    # What MLflow calls a parameter: pyfunc.predict(rows, params={"probabilities": True}).
    choice = {"name": "probabilities", "type": "boolean", "default": False, "shape": None}
    parts: dict[str, list[dict[str, Any]]] = {
        "inputs": inputs,
        "outputs": [{"type": output, "required": True}],
        **({"params": [choice]} if schema.classes else {}),
    }
    return {name: json.dumps(part, ensure_ascii=False) for name, part in parts.items()}


def _type(column: Column) -> str:
    # pandas turns integers and booleans into floats or objects as soon as one is missing, and MLflow would refuse
    # either the frames with a missing value or those without; our own schema still checks every value.
    if column.missing > 0 and column.physical in {"integer", "boolean"}:
        return "any"
    return _TYPES[column.physical]
