"""``modelyard reasons``: give a bundle its reviewed table of reasons."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("reasons")
@click.argument("bundle")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--rows", type=click.Path(path_type=Path), required=True, help="Rows; answers compare with favourable ones."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder of the new bundle; default: its own.")
@options.workspace
def command(bundle: str, table: Path, rows: Path, out: Path | None, workspace: Path) -> None:
    """Give a bundle its reviewed table of reasons, which /v1/explain then tells of adverse answers.

    BUNDLE is a bundle's folder or archive, or a run's id. TABLE is YAML: adverse, reviewed_by, reviewed_on, and under
    reasons a column, direction (high, low, missing or any), code and text for every column. The bundle gets another
    hash: add reasons before it is registered.

    \b
    Examples:
      modelyard reasons k7 reasons.yaml --rows applications.csv
      modelyard reasons bundle.tar.gz reasons.yaml --rows applications.parquet -o reviewed
    """
    from modelyard.flow.reasons import add_reasons
    from modelyard.flow.refs import find_bundle

    made = add_reasons(find_bundle(bundle, workspace), table, rows, out)
    click.echo(f"Wrote {made.path}, bundle {made.hash[:12]}")
