"""``modelyard predict``: score a file of rows."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("predict")
@click.argument("bundle")
@click.argument("rows", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="CSV, Parquet or Arrow file.")
@click.option("--coverage", type=float, help="Add intervals (low, high) or sets of classes (set): 0.8, 0.9 or 0.95.")
@click.option("--ood", is_flag=True, help="Add how unusual each row is (ood), 0 to 1.")
@options.workspace
@options.quiet
def command(
    bundle: str, rows: Path, out: Path, coverage: float | None, ood: bool, workspace: Path, quiet: bool
) -> None:
    """Score a file of rows, in batches: the file may be larger than memory.

    BUNDLE is a bundle's folder or archive, a run's id, or a release's name. The answer keeps every column and adds
    "prediction" and, for classes, "p_<class>".

    \b
    Examples:
      modelyard predict k7 new.csv -o scored.csv
      modelyard predict bundle.tar.gz new.parquet -o scored.parquet
      modelyard predict k7 new.csv -o scored.csv --coverage 0.9 --ood
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.bundle.stream import predict_file
    from modelyard.cli.progress import Drawn
    from modelyard.core.machine import usable_cores
    from modelyard.flow.refs import find_bundle

    loaded = load_bundle(find_bundle(bundle, workspace), threads=usable_cores())
    with Drawn(quiet) as progress:
        progress.stage("predict")
        count = predict_file(loaded, rows, out, progress=progress, coverage=coverage, ood=ood)
    click.echo(f"Wrote {count:,} predictions to {out}")
