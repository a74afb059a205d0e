"""``mlflow models serve`` with its default settings.

    python mlflow_start.py GRAPH.json PORT FOLDER onnx|rows

``onnx`` is the graph in MLflow's own flavour, which takes its two matrices; ``rows`` a model that takes rows by name.
"""

import json
import os
import sys
from pathlib import Path


def save(about: str, folder: str, kind: str) -> None:
    """Save the model."""
    import mlflow.onnx
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    known = json.loads(Path(about).read_text(encoding="utf-8"))
    if kind == "onnx":
        inputs = [
            TensorSpec(np.dtype(np.float32), (-1, len(known["numbers"])), "numbers"),
            TensorSpec(np.dtype(object), (-1, len(known["strings"])), "strings"),
        ]
        mlflow.onnx.save_model(onnx.load(known["graph"]), folder, signature=ModelSignature(inputs=Schema(inputs)))
        return
    columns = [ColSpec("double", n) for n in known["numbers"]] + [ColSpec("string", n) for n in known["strings"]]
    mlflow.pyfunc.save_model(
        folder, python_model=str(Path(__file__).with_name("mlflow_rows.py")), artifacts={"about": about},
        signature=ModelSignature(inputs=Schema(columns)), code_paths=[str(Path(__file__).with_name("graph.py"))],
    )  # fmt: skip


if __name__ == "__main__":
    about, port, folder, kind = sys.argv[1:]
    save(about, folder, kind)
    script = str(Path(sys.executable).with_name("mlflow"))
    # The same mlflow must be found by the process it starts.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.execv(script, [script, "models", "serve", "-m", folder, "--env-manager", "local", "-p", port])
