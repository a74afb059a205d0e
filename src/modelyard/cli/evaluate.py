"""``modelyard evaluate``: measure a bundle on labelled rows."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("evaluate")
@click.argument("bundle")
@click.argument("rows", type=click.Path(path_type=Path))
@options.workspace
@options.as_json
def command(bundle: str, rows: Path, workspace: Path, as_json: bool) -> None:
    """Measure a bundle on labelled rows it has not seen: its metrics with intervals, and its targets.

    Exits with 2 where a target is missed, and with 3 where the rows do not decide it.

    \b
    Examples:
      modelyard evaluate k7 last-month.csv
      modelyard evaluate readmission@production labelled.parquet --json
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.core.canonical import to_plain
    from modelyard.flow.develop import EXIT_CODES
    from modelyard.flow.evaluate import evaluate_file, evaluation_lines
    from modelyard.flow.refs import find_bundle

    result = evaluate_file(load_bundle(find_bundle(bundle, workspace)), rows)
    if as_json:
        options.print_json(to_plain(result))
    else:
        for line in evaluation_lines(result):
            click.echo(line)
    if result.targets:
        raise SystemExit(EXIT_CODES[result.target_met])
