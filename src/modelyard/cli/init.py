"""``modelyard init``: profile a table and write a commented brief."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--label", required=True, help="The column to predict.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The brief's file; default: the table's name.")
@click.option("--force", is_flag=True, help="Write over a brief that is there.")
def command(data: Path, label: str, out: Path | None, force: bool) -> None:
    """Profile a table and write a commented brief.

    \b
    Examples:
      modelyard init patients.csv --label readmitted
      modelyard init claims.parquet --label amount -o claims.yaml
    """
    from modelyard.flow.init import init

    for line in init(data, label, out, force=force):
        click.echo(line)
