"""The ML bill of materials: the model, its data and the libraries it was made and runs with, in CycloneDX 1.6."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from modelyard.bundle.manifest import PLATFORM, Manifest
from modelyard.core.canonical import content_hash, pretty_json

_TASKS = {"binary": "classification", "multiclass": "classification", "regression": "regression"}
_MODEL, _DATA = "model", "data"


def bill_of_materials(manifest: Manifest, served_with: Mapping[str, str]) -> bytes:
    """Return the bill of materials as CycloneDX 1.6 JSON, the same bytes for the same model.

    Parameters
    ----------
    manifest : Manifest
        With the hash of the model's file.
    served_with : mapping of str to str
        Packages needed to answer, and their versions; those that trained the model come from the lineage.

    References
    ----------
    CycloneDX 1.6 (ECMA-424), machine learning bill of materials.
    """
    trained_with = {k: v for k, v in manifest.lineage.environment.items() if k not in PLATFORM}
    libraries = [_library(name, version) for name, version in sorted({**trained_with, **served_with}.items())]
    bill: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _model(manifest)},
        "components": [_data(manifest), *libraries],
        "dependencies": [{"ref": _MODEL, "dependsOn": [_DATA, *(library["bom-ref"] for library in libraries)]}],
    }
    # The serial number names the content, not the occasion: equal models have equal bills.
    serial = uuid5(NAMESPACE_URL, content_hash(bill)).urn
    return pretty_json({**bill, "serialNumber": serial})


def _model(manifest: Manifest) -> dict[str, Any]:
    schema = manifest.schema
    graph = "model.onnx" if manifest.runtime == "onnx" else "forecast.npz"
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": manifest.name,
        "version": manifest.files[graph][:12],
        "hashes": [{"alg": "SHA-256", "content": manifest.files[graph]}],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": _TASKS.get(schema.task, "forecasting"),
                "architectureFamily": _families(manifest.facts),
                "datasets": [{"ref": _DATA}],
                "inputs": [{"format": f"{c.name}: {c.kind}"} for c in schema.features],
                "outputs": [{"format": f"probability of {name}"} for name in schema.classes] or [{"format": "value"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": list(_figures(manifest.estimate))},
            "considerations": {"useCases": [manifest.brief.use_case]},
        },
        "properties": [
            {"name": "modelyard:format", "value": str(manifest.format)},
            {"name": "modelyard:runtime", "value": manifest.runtime},
        ],
    }


def _families(facts: Mapping[str, Any]) -> str:
    members = facts.get("members", ())
    titles = [str(m.get("title", m.get("name", ""))) if isinstance(m, Mapping) else str(m) for m in members]
    return ", ".join(dict.fromkeys(filter(None, titles))) or "see model-card.md"


def _figures(estimate: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for figure in (estimate, *estimate.get("others", ())):
        value, bounds = figure.get("value"), (figure.get("low"), figure.get("high"))
        if not _known(value):
            continue
        found = {"type": figure["metric"], "value": f"{value:.6g}", "slice": f"{estimate['on']}, {figure['n']} rows"}
        if all(map(_known, bounds)):
            found["confidenceInterval"] = {"lowerBound": f"{bounds[0]:.6g}", "upperBound": f"{bounds[1]:.6g}"}
        yield found


def _known(value: float | None) -> bool:
    return value is not None and isfinite(value)


def _data(manifest: Manifest) -> dict[str, Any]:
    fingerprint = manifest.lineage.fingerprint
    sensitive = [c.name for c in manifest.schema.columns if c.sensitive]
    return {
        "type": "data",
        "bom-ref": _DATA,
        "name": manifest.brief.data.path or manifest.name,
        "version": fingerprint[:12],
        "data": [
            {
                "type": "dataset",
                "name": "the table the model was trained and tested on",
                **({"sensitiveData": sensitive} if sensitive else {}),
            }
        ],
        "properties": [{"name": "modelyard:fingerprint", "value": fingerprint}],
    }


def _library(name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
