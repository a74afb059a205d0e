"""``modelyard serve``: serve a bundle over HTTP."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from modelyard.cli import options
from modelyard.cli.access import access, access_of
from modelyard.core.errors import WorkspaceError
from modelyard.core.files import exists

_FILE = click.Path(path_type=Path, dir_okay=False)
_SECONDS = click.FloatRange(0, min_open=True)


@click.command("serve")
@click.argument("bundle")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--uds", type=_FILE, help="Unix socket to listen on, in place of host and port.")
@click.option("--tls-cert", type=_FILE, help="Certificate of TLS, PEM; its key too, unless --tls-key has it.")
@click.option("--tls-key", type=_FILE, help="Key of the certificate, PEM, without a passphrase.")
@click.option("--log", type=click.Path(path_type=Path), help="Folder of the prediction log; default: in the workspace.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer.")
@click.option("--no-log", is_flag=True, help="Write no prediction log.")
@click.option("--log-hash", multiple=True, metavar="COLUMN", help="Hash a column in the log; overrides the brief's.")
@click.option("--log-drop", multiple=True, metavar="COLUMN", help="Leave a column out; overrides the brief's.")
@click.option("--log-key", type=_FILE, help="File of the secret to hash with; default: in the workspace.")
@click.option(
    "--log-keep", default="90 days", show_default=True, help='What stays: "90 days", "10 GB", both, or "all".'
)
@click.option("--store", envvar="MODELYARD_STORE", help="Where the log is loaded: postgresql://..., or a SQLite file.")
@click.option("--no-load", is_flag=True, help="Leave the log in its files.")
@click.option("--refuse-labels", is_flag=True, help="Refuse labels of no prediction; default: kept until it comes.")
@click.option(
    "--unknown",
    default="refuse",
    show_default=True,
    type=click.Choice(["refuse", "ignore"]),
    help="What is done with a field the schema does not know.",
)
@click.option(
    "--in-flight", default=1_000, show_default=True, type=click.IntRange(1), help="Requests a worker has at once."
)
@click.option(
    "--body-limit", default=2**20, show_default=True, type=click.IntRange(1), metavar="BYTES",
    help="What the body of a request may have; columns have limits of their own.",
)  # fmt: skip
@click.option("--head-timeout", default=10.0, show_default=True, type=_SECONDS, help="Seconds a head may take to come.")
@click.option("--body-timeout", default=10.0, show_default=True, type=_SECONDS, help="Seconds a body may take to come.")
@click.option(
    "--answer-timeout", default=30.0, show_default=True, type=_SECONDS,
    help="Seconds an answer may take once the body is there.",
)  # fmt: skip
@click.option(
    "--model-timeout", type=_SECONDS,
    help="Seconds one call of the model may take; default: 1, and for a row its share of the brief's limit.",
)  # fmt: skip
@click.option(
    "--traces", metavar="URL",
    help="Collector that spans are sent to (OTLP over HTTP); default: OTEL_EXPORTER_OTLP_ENDPOINT, else none are made.",
)  # fmt: skip
@click.option("--deprecated", type=options.DATE, help="Day (UTC) the interface is deprecated from; answers say so.")
@click.option(
    "--sunset", type=options.DATE, help="Day (UTC) the interface ends; default: 90 days after it is deprecated."
)
@options.workspace
@access
def command(
    bundle: str,
    host: str,
    port: int,
    uds: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    log: Path | None,
    no_log: bool,
    log_hash: tuple[str, ...],
    log_drop: tuple[str, ...],
    log_key: Path | None,
    log_keep: str,
    store: str | None,
    no_load: bool,
    refuse_labels: bool,
    workers: int,
    unknown: str,
    in_flight: int,
    body_limit: int,
    head_timeout: float,
    body_timeout: float,
    answer_timeout: float,
    model_timeout: float | None,
    traces: str | None,
    deprecated: datetime | None,
    sunset: datetime | None,
    workspace: Path,
    **asked: Any,
) -> None:
    """Serve a bundle over HTTP: POST /v1/predict, /health/live, /health/ready, /metrics, /openapi.json, /docs.

    BUNDLE is a bundle's folder or archive, a run's id, or a release's name. A name without a version follows the
    registry: its next production release is taken up while requests go on. SIGTERM lets requests in flight finish.

    \b
    Examples:
      modelyard serve k7
      modelyard serve readmission --host 0.0.0.0 --port 8080 --workers 2 --auth keys
      modelyard serve readmission@3 --tls-cert server.pem --tls-key server.key
      modelyard serve bundle.tar.gz --no-log --uds /run/readmission.sock
    """
    who = access_of(workspace, asked)
    path, registry, release, pinned = Path(bundle), None, None, False
    if not exists(path) or not (path.is_file() or (path / "manifest.json").is_file()):
        # Runs and releases need the workspace and its imports; a server in a container has a path and neither.
        from modelyard.flow.refs import find_bundle, find_served

        named = find_served(bundle, workspace)
        if named is None:
            path = find_bundle(bundle, workspace)
        else:
            registry, found, pinned = named
            path, release = Path(found.bundle), str(found.version)
    from modelyard.adapters.otel_traces import traces_of
    from modelyard.flow.loader import loading, parse_keep
    from modelyard.serving.predictions.withhold import Withheld
    from modelyard.serving.serve import serve
    from modelyard.serving.terms import BODIES_LIMIT, Terms

    place, keep, rollouts = options.predictions(log, store, workspace), parse_keep(log_keep), _rollouts(workspace)
    with nullcontext() if no_log or no_load else loading(place, keep):
        serve(
            path,
            host=host,
            port=port,
            uds=uds,
            certificate=tls_cert,
            key=tls_key,
            log=None if no_log else place.folder,
            workers=workers,
            access=who,
            terms=Terms(
                body_limit=body_limit,
                bodies_limit=max(BODIES_LIMIT, body_limit),
                in_flight=in_flight,
                unknown="ignore" if unknown == "ignore" else "refuse",
                head_seconds=head_timeout,
                body_seconds=body_timeout,
                answer_seconds=answer_timeout,
                model_seconds=model_timeout,
                deprecated=None if deprecated is None else deprecated.replace(tzinfo=UTC),
                sunset=None if sunset is None else sunset.replace(tzinfo=UTC),
                registry=registry,
                pinned=pinned,
                rollouts=rollouts,
                release=release,
                withheld=Withheld(log_hash or None, log_drop or None, log_key or workspace / "log.key"),
                store=store,
                refuse_labels=refuse_labels,
            ),
            traces=traces_of(traces),
            started=lambda address: click.echo(f"Serving {path} on {address} (Ctrl-C or SIGTERM ends it)"),
        )


def _rollouts(workspace: Path) -> Path | None:
    """Return where rollouts lie; None where nobody names a workspace and none can be made, as in a sealed container."""
    from modelyard.serving.rollout.control import FOLDER
    from modelyard.serving.rollout.store import Rollouts

    try:
        return Rollouts(workspace / FOLDER).folder
    except WorkspaceError as error:
        if click.get_current_context().get_parameter_source("workspace") is not ParameterSource.DEFAULT:
            raise
        click.echo(f"No rollouts here, as no workspace can be made: {error.what} ({error.where})", err=True)
        return None
