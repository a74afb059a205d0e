"""``modelyard labels``: say what came true."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("labels")
@click.argument("bundle")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--refuse-unknown", is_flag=True, help="Refuse labels of no prediction; default: kept until it comes.")
@options.log
@options.workspace
@options.as_json
def command(
    bundle: str, file: Path, refuse_unknown: bool, log: Path | None, store: str | None, workspace: Path, as_json: bool
) -> None:
    """Add what came true to the prediction log, from a file with the columns id and label.

    BUNDLE says what a label may be: a bundle's folder or archive, a run's id, or a release's name. FILE is CSV, Parquet
    or Arrow; a column row (from 0) tells rows of one request apart, a column at says when it came true. The same file
    twice changes nothing; another label for the same row is a correction, and both are kept.

    \b
    Examples:
      modelyard labels readmission outcomes.csv
      modelyard labels readmission outcomes.parquet --refuse-unknown
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.flow.labels import send_labels
    from modelyard.flow.refs import find_bundle

    place = options.predictions(log, store, workspace)
    sent = send_labels(load_bundle(find_bundle(bundle, workspace)), file, place, refuse=refuse_unknown)
    if as_json:
        options.print_json({"labels": sent.labels, "without_prediction": sent.waiting})
        return
    more = f"; {sent.waiting:,} ids are of no prediction yet" if sent.waiting else ""
    click.echo(f"Added {sent.labels:,} labels{more}")
