"""``modelyard export``: write what deploys and watches a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options

TARGETS = "docker kubernetes kserve argo triton nginx envoy systemd prometheus grafana workflow".split()


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
@options.workspace
def command(bundle: str, out: Path, targets: tuple[str, ...], image: str | None, workspace: Path) -> None:
    """Write what deploys and watches a bundle: container, orchestrators, proxies, alerts, dashboard, CI.

    Each file says at its top how it is applied, and which values are to be filled in.

    \b
    Examples:
      modelyard export k7 -o deployment/
      modelyard export k7 -o deployment/ --target docker --target kubernetes
      modelyard export readmission@production -o deployment/ --image registry.example.org/ward/readmission
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.flow.export import export_all
    from modelyard.flow.refs import find_bundle

    chosen = () if "all" in targets else targets
    for path in export_all(load_bundle(find_bundle(bundle, workspace)), out, targets=chosen, image=image):
        click.echo(f"Wrote {path}")
