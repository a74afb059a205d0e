"""A Triton model repository: the bundle's graph for the ONNX backend, with its real inputs, types and widths."""

from __future__ import annotations

import json

from modelyard.bundle.runtimes.onnx import AT_ONCE, FILE
from modelyard.core.errors import ServingError
from modelyard.serving.manifests.deployed import Deployed

_CLASSES = "classes.txt"


def triton_files(deployed: Deployed) -> dict[str, str | bytes]:
    """Return the repository: configuration, the graph as version 1, and the names of the classes.

    Raises
    ------
    ServingError
        If the bundle holds no graph.
    """
    bundle, root = deployed.bundle, f"triton/{deployed.name}"
    if bundle.manifest.runtime != "onnx":
        raise ServingError(
            "A forecast is a table of answers and no graph, so Triton cannot run it.",
            allowed="Binary, multiclass and regression models have a graph.",
            do="Choose another --target.",
        )
    files: dict[str, str | bytes] = {
        f"{root}/config.pbtxt": config(deployed),
        f"{root}/1/{FILE}": (bundle.path / FILE).read_bytes(),
    }
    if bundle.classes:
        files[f"{root}/{_CLASSES}"] = "".join(f"{label}\n" for label in bundle.schema.classes)
    return files


def config(deployed: Deployed) -> str:
    """Return ``config.pbtxt``.

    One thread a graph and one graph a core answer single rows fastest, as in modelyard's own server; requests are not
    gathered into batches, as waiting for others costs more than the graph takes.
    """
    bundle = deployed.bundle
    encoding = bundle.manifest.encoding
    columns = {
        "numbers": ("TYPE_FP32", [n.name for n in encoding.given], "missing is NaN; false is 0, true is 1"),
        "moments": ("TYPE_INT64", list(encoding.dates), "microseconds since 1970; missing is -9223372036854775808"),
        "strings": ("TYPE_STRING", list(encoding.strings), 'missing is ""'),
        "texts": ("TYPE_STRING", list(encoding.texts), 'missing is ""; at most 5,000 characters'),
    }
    blocks = []
    for name, (kind, names, meant) in columns.items():
        if names:
            blocks.append(f"# {', '.join(names)} ({meant})\n{_tensor('input', name, kind, len(names))}")
    width = max(1, len(bundle.classes))
    label = [f"label_filename: {json.dumps(_CLASSES)}"] if bundle.classes else []
    said = f"probabilities of {', '.join(map(str, bundle.schema.classes))}" if bundle.classes else "the value"
    blocks.append(f"# {said}\n{_tensor('output', 'answer', 'TYPE_FP32', width, label)}")
    text = f"""\
name: {json.dumps(deployed.name)}
backend: "onnxruntime"
max_batch_size: {AT_ONCE}
{"".join(blocks)}instance_group [ {{ count: 1, kind: KIND_CPU }} ]
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
parameters {{ key: "inter_op_thread_count" value {{ string_value: "1" }} }}
version_policy {{ latest {{ num_versions: 1 }} }}
"""
    how = [
        "tritonserver --model-repository triton/",
        "Fill in: count of instance_group, the cores Triton may use.",
        "Rows reach the graph as they are: the schema's checks, the fallback, the log and the intervals are not here.",
    ]
    if bundle.threshold is not None:
        how.append(f"A row is answered {bundle.schema.classes[1]} from a probability of {bundle.threshold:.6g} on.")
    return deployed.commented(text, *how)


def _tensor(side: str, name: str, kind: str, width: int, more: list[str] | None = None) -> str:
    fields = [f"name: {json.dumps(name)}", f"data_type: {kind}", f"dims: [ {width} ]", *(more or [])]
    return f"{side} {{\n" + "".join(f"  {field}\n" for field in fields) + "}\n"
