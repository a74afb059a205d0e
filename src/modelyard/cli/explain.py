"""``modelyard explain``: say which columns drove each prediction."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("explain")
@click.argument("bundle")
@click.argument("rows", type=click.Path(path_type=Path))
@click.option("-n", "--limit", default=10, show_default=True, help="Rows to explain.")
@click.option("--top", default=5, show_default=True, help="Columns for each row.")
@options.workspace
@options.as_json
def command(bundle: str, rows: Path, limit: int, top: int, workspace: Path, as_json: bool) -> None:
    """Say which columns drove each prediction: contributions to the raw score (log-odds for classes).

    \b
    Examples:
      modelyard explain k7 new.csv
      modelyard explain k7 new.csv -n 100 --json
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.flow.explain import explain_file
    from modelyard.flow.refs import find_bundle

    explained = explain_file(load_bundle(find_bundle(bundle, workspace)), rows, limit)
    if as_json:
        options.print_json(explained)
        return
    for number, row in enumerate(explained, start=1):
        click.echo(f"row {number}  prediction {row['prediction']}")
        largest = sorted(row["contributions"].items(), key=lambda item: -abs(item[1]))[:top]
        options.print_table(["  column", "contribution"], [[f"  {c}", f"{v:+.4f}"] for c, v in largest], "contribution")
