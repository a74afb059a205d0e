"""``modelyard log``: what the prediction log holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from modelyard.cli import options


@click.group("log")
def command() -> None:
    """Export what was asked and answered, count it, or move it into the store.

    What waits in files is loaded into the store first.

    \b
    Examples:
      modelyard log stats
      modelyard log export -o january.parquet --name readmission --since 2026-01-01 --until 2026-02-01
    """


@command.command("export")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="File: .parquet, .csv or .jsonl.")
@click.option("--name", help="Name of the model.")
@click.option("--version", help="The release's version.")
@click.option("--variant", help="Arm of a rollout, such as stable or canary.")
@click.option("--since", help="From this moment on (ISO 8601, UTC).")
@click.option("--until", help="Before this moment.")
@click.option("--label", default="label", show_default=True, help="What the label's column is called.")
@click.option("--labelled", is_flag=True, help="Only rows that have a label.")
@options.log
@options.workspace
def export(
    out: Path,
    name: str | None,
    version: str | None,
    variant: str | None,
    since: str | None,
    until: str | None,
    label: str,
    labelled: bool,
    log: Path | None,
    store: str | None,
    workspace: Path,
) -> None:
    """Write what was asked and answered to a table, a line a row, with the labels that came.

    \b
    Examples:
      modelyard log export -o all.parquet
      modelyard log export -o canary.csv --name readmission --version 3 --variant canary
      modelyard log export -o outcomes.parquet --name readmission --label readmitted --labelled
    """
    from modelyard.serving.predictions.export import export as write
    from modelyard.serving.predictions.record import Chosen

    chosen = Chosen(name, version, variant, _moment(since, "--since"), _moment(until, "--until"))
    with _loaded(log, store, workspace) as held:
        count = write(held, out, chosen, label=label, labelled=labelled)
    click.echo(f"Wrote {count:,} rows to {out}")


@command.command("stats")
@options.log
@options.workspace
@options.as_json
def stats(log: Path | None, store: str | None, workspace: Path, as_json: bool) -> None:
    """Count requests, rows and labels by model, version and variant.

    \b
    Example:
      modelyard log stats
    """
    from modelyard.core.canonical import to_plain

    with _loaded(log, store, workspace) as held:
        summaries, waiting = held.summaries(), held.waiting_labels()
    if as_json:
        options.print_json({"held": to_plain(summaries), "labels_without_prediction": waiting})
        return
    rows = [
        [
            s.model, s.version, s.variant, f"{s.requests:,}", f"{s.rows:,}", f"{s.labelled:,}", _day(s.first),
            _day(s.last), f"{s.milliseconds:.2f}", f"{s.bytes / 1e6:,.1f}",
        ]
        for s in summaries
    ]  # fmt: skip
    columns = ["model", "version", "variant", "requests", "rows", "labelled", "first", "last", "ms", "MB"]
    options.print_table(columns, rows, right="requests rows labelled ms MB")
    if waiting:
        click.echo(f"{waiting:,} labels wait for their prediction.")


@command.command("load")
@click.option(
    "--keep", default="90 days", show_default=True, help='How much stays: "90 days", "10 GB", both, or "all".'
)
@click.option("--follow", is_flag=True, help="Go on until stopped.")
@options.log
@options.workspace
def load(keep: str, follow: bool, log: Path | None, store: str | None, workspace: Path) -> None:
    """Move the log's files into its store, and remove what is older than is kept.

    `modelyard serve` does so beside itself; this is for logs of servers that cannot.

    \b
    Examples:
      modelyard log load
      modelyard log load --log /var/log/readmission --store postgresql://db/models --follow
    """
    import signal
    import threading

    from modelyard.flow.loader import parse_keep
    from modelyard.serving.predictions import load as loading

    place, kept = options.predictions(log, store, workspace), parse_keep(keep)
    if follow:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        loading.follow(place, kept, stop)
        return
    with _loaded(log, store, workspace) as held:
        gone = loading.prune(place, held, kept)
        click.echo(f"The store holds {sum(s.requests for s in held.summaries()):,} requests; {gone:,} were removed")


@contextmanager
def _loaded(log: Path | None, store: str | None, workspace: Path) -> Iterator[Any]:
    """Load what waits, and give the store."""
    from modelyard.serving.predictions.load import load as move
    from modelyard.serving.predictions.predictions import no_log

    place = options.predictions(log, store, workspace)
    if not place.folder.is_dir():
        raise no_log(place.folder)
    with closing(place.open()) as held:
        move(place, held)
        yield held


def _moment(text: str | None, option: str) -> float | None:
    from modelyard.data.dates import ALLOWED, parse_date

    if text is None:
        return None
    moment = parse_date(text)
    if moment is None:
        raise click.UsageError(f"{option} {text} is not a date. {ALLOWED}")
    return moment.replace(tzinfo=UTC).timestamp()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
