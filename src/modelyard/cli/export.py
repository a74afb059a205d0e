"""``modelyard export``: write what deploys and watches a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelyard.cli import options
from modelyard.cli.access import auth_of, callers

TARGETS = "docker kubernetes kserve argo triton nginx envoy systemd prometheus grafana workflow".split()
SERVERS = {"docker", "kubernetes", "kserve", "argo", "systemd"}
"""Those that start the server."""


@click.command("export")
@click.argument("bundle")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option(
    "--target",
    "targets",
    type=click.Choice([*TARGETS, "all"]),
    multiple=True,
    help="What to write; more than one may be named.  [default: all]",
)
@click.option("--image", help="Name of the container image, such as registry.example.org/team/model.")
@click.option("--store", envvar="MODELYARD_STORE", help="Store of the server's prediction log: its pods may reach it.")
@click.option("--redis", envvar="MODELYARD_REDIS", help="Redis that counts its limits: its pods may reach it.")
@click.option("--traces", metavar="URL", help="Collector of traces (OTLP over HTTP): its pods may reach it.")
@options.workspace
@callers
def command(
    bundle: str,
    out: Path,
    targets: tuple[str, ...],
    image: str | None,
    workspace: Path,
    store: str | None,
    redis: str | None,
    traces: str | None,
    **asked: Any,
) -> None:
    """Write what deploys and watches a bundle: container, orchestrators, proxies, alerts, dashboard, CI.

    Each file says at its top how it is applied, and which values are to be filled in. Pods reach what --store, --redis,
    --issuer and --traces name, and nothing else. With --auth the servers ask callers for a key or a token; without,
    they are open to whoever reaches them.

    \b
    Examples:
      modelyard export k7 -o deployment/
      modelyard export k7 -o deployment/ --target docker --target kubernetes
      modelyard export readmission@production -o deployment/ --image registry.example.org/ward/readmission
      modelyard export k7 -o deployment/ --auth keys
      modelyard export k7 -o deployment/ --auth oidc --issuer https://login.example.org/realms/ward --audience models
      modelyard export k7 -o deployment/ --store postgresql://models@db.example.org/models --redis redis://limits:6379/0
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.flow.export import export_all
    from modelyard.flow.refs import find_bundle
    from modelyard.serving.manifests.callers import Callers
    from modelyard.serving.manifests.outside import outside

    chosen = () if "all" in targets else targets
    places = outside(store=store, redis=redis, issuer=asked["issuer"], traces=traces)
    who = Callers("keys" in auth_of(asked), asked["issuer"], asked["audience"], asked["scope_prefix"])
    found = load_bundle(find_bundle(bundle, workspace))
    for path in export_all(found, out, targets=chosen, image=image, outside=places, callers=who):
        click.echo(f"Wrote {path}")
    if not chosen or SERVERS.intersection(chosen):
        for line in who.told():
            click.echo(line)
