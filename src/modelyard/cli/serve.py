"""``modelyard serve``: serve a bundle over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelyard.cli import options
from modelyard.cli.access import access, access_of


@click.command("serve")
@click.argument("bundle")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--log", type=click.Path(path_type=Path), help="Folder of the prediction log; default: in the workspace.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer.")
@click.option("--no-log", is_flag=True, help="Write no prediction log.")
@options.workspace
@access
def command(
    bundle: str,
    host: str,
    port: int,
    log: Path | None,
    no_log: bool,
    workers: int,
    workspace: Path,
    **asked: Any,
) -> None:
    """Serve a bundle over HTTP: POST /v1/predict, /health/live, /health/ready, /metrics, /openapi.json, /docs.

    BUNDLE is a bundle's folder or archive, a run's id, or a release's name. SIGTERM lets requests in flight finish.

    \b
    Examples:
      modelyard serve k7
      modelyard serve readmission@production --host 0.0.0.0 --port 8080
      modelyard serve bundle.tar.gz --no-log
      modelyard serve readmission --auth keys --rate 6000
    """
    who = access_of(workspace, asked)
    path = Path(bundle)
    if not path.exists() or not (path.is_file() or (path / "manifest.json").is_file()):
        # Runs and releases need the workspace and its imports; a server in a container has a path and neither.
        from modelyard.flow.refs import find_bundle

        path = find_bundle(bundle, workspace)
    from modelyard.serving.serve import serve

    serve(
        path,
        host=host,
        port=port,
        log=None if no_log else log or workspace / "predictions",
        workers=workers,
        access=who,
        started=lambda address: click.echo(f"Serving {path} on {address} (Ctrl-C or SIGTERM ends it)"),
    )
