"""``modelyard watch``: compare new rows with those the model learnt from."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("watch")
@click.argument("bundle")
@click.argument("traffic", type=click.Path(path_type=Path), required=False)
@click.option("--previous", type=click.Path(path_type=Path), help="The window before: drift that lasts is watched.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the monitoring page and the runbooks.")
@options.log
@options.workspace
@options.as_json
def command(
    bundle: str,
    traffic: Path | None,
    previous: Path | None,
    out: Path | None,
    log: Path | None,
    store: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Compare new rows with those the model learnt from: drift, missing values, schema, predictions.

    TRAFFIC is a file of rows, or the folder of a server's prediction log; without it, the log of the workspace is
    looked at. Exits with 2 where an alarm asks for action.

    \b
    Examples:
      modelyard watch readmission
      modelyard watch readmission this-week.csv
      modelyard watch readmission this-week.parquet --previous last-week.parquet -o monitoring/
      modelyard watch k7 yard/predictions
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.core.canonical import to_plain
    from modelyard.flow.refs import find_bundle
    from modelyard.flow.watch import alarm_lines, watch_traffic

    seen = options.predictions(log, store, workspace) if traffic is None else traffic
    alarms, pages = watch_traffic(load_bundle(find_bundle(bundle, workspace)), seen, previous, out)
    if as_json:
        options.print_json({"alarms": to_plain(alarms), "pages": [str(p) for p in pages]})
    else:
        for line in alarm_lines(alarms):
            click.echo(line)
        for page in pages:
            click.echo(f"Wrote {page}")
    raise SystemExit(2 if any(a.severity == "action" for a in alarms) else 0)
