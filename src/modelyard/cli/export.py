"""``modelyard export``: write Dockerfile, Kubernetes, CI and alert files."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("export")
@click.argument("bundle")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--image", help="Name of the container image, such as registry.example.org/team/model.")
@options.workspace
def command(bundle: str, out: Path, image: str | None, workspace: Path) -> None:
    """Write a Dockerfile, Kubernetes manifests, a GitHub Actions workflow and Prometheus rules for a bundle.

    \b
    Examples:
      modelyard export k7 -o deployment/
      modelyard export readmission@production -o deployment/ --image registry.example.org/ward/readmission
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.flow.export import export_all
    from modelyard.flow.refs import find_bundle

    for path in export_all(load_bundle(find_bundle(bundle, workspace)), out, image=image):
        click.echo(f"Wrote {path}")
