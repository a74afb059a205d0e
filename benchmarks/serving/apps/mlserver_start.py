"""MLServer: ``python mlserver_start.py GRAPH.json PORT FOLDER [parallel workers]`` writes its settings and starts it.

Without the last word they are its defaults.
"""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    about, port, folder, *workers = sys.argv[1:]
    ports = {"http_port": int(port), "grpc_port": int(port) + 1, "metrics_port": int(port) + 2}
    settings = ports | ({"parallel_workers": int(workers[0])} if workers else {})
    model = {"name": "packed", "implementation": "mlserver_model.Packed", "parameters": {"uri": about}}
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (Path(folder) / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    script = str(Path(sys.executable).with_name("mlserver"))
    os.execv(script, [script, "start", folder])
