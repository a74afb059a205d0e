"""Scoring a file of rows in batches: the file may be larger than memory, and the answer appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.bundle.runtimes.runtime import Answers
from modelyard.core.errors import DataError, RowError, WorkspaceError
from modelyard.core.files import guarded
from modelyard.core.progress import Progress, Silent
from modelyard.data.source import batches, existing, load

BATCH = 50_000
"""Rows held at once."""
COVERAGE = 80
"""Per cent of the interval written beside a forecast, where it has that one."""

Write = Callable[[pl.DataFrame], None]


def predict_file(
    bundle: Bundle,
    source: str | Path,
    target: str | Path,
    *,
    progress: Progress | None = None,
    coverage: float | None = None,
    ood: bool = False,
) -> int:
    """Score a file of rows.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    source : path
        CSV, Parquet or Arrow, told apart by content; columns the model does not know are passed through.
    target : path
        ``.csv``, ``.parquet``, or ``.arrow`` / ``.feather``: every column of the source in its order, then
        ``prediction`` and for classes ``p_<class>``, for a forecast ``low`` and ``high``.
    progress : Progress, optional
        Who watches.
    coverage : float, optional
        Write ``low`` and ``high`` of that coverage too, or for classes ``set``, a JSON list of classes. Without it a
        forecast has those of 0.8.
    ood : bool
        Write ``ood`` too, the out-of-distribution score.

    Returns
    -------
    int
        Rows scored.

    Raises
    ------
    DataError
        If the source cannot be read, a row does not fit (it names the row; the first one is 1), or the target's
        format is unknown. Nothing is left behind.
    BundleError
        If the bundle has no bounds of that coverage, or no score.
    WorkspaceError
        If the target cannot be written.
    """
    source, target = existing(source), Path(target)
    if coverage is not None:
        bundle.check_coverage(coverage)
    opened = _writer(target)
    if target.exists() and target.samefile(source):
        raise DataError("The answer would replace its own rows.", where=str(target), do="Name another file with -o.")
    if not target.parent.exists():
        raise WorkspaceError(
            f"There is no folder '{target.parent}'.", where=str(target), do="Make it, or name another file with -o."
        )
    watch = progress or Silent()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    done = 0
    with guarded(target):
        try:
            with ExitStack() as stack:
                write = opened(part, stack)
                for raw, text in _pieces(source):
                    write(_scored(bundle, raw, text, done + 1, source, coverage, ood))
                    done += raw.height
                    watch.step(done, done, f"{done:,} rows")
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return done


def in_file(error: DataError, source: Path, numbers: Sequence[int]) -> DataError:
    """Return an error of rows as one of their file, where `numbers` are the rows' places in it, the first one 1."""
    if isinstance(error, RowError):
        problem = error.problems[0]
        _, place, column = problem.pointer.split("/", 2)
        where = f"{source}, row {numbers[int(place)]}, column '{column}'"
        return DataError(problem.what, where=where, allowed=problem.allowed, do="Mend the row, or leave it out.")
    where = ", ".join(filter(None, [str(source), error.where]))
    return DataError(error.what, where=where, allowed=error.allowed, do=error.do)


def _pieces(source: Path) -> Iterator[tuple[pl.DataFrame, bool]]:
    empty = True
    for piece in batches(source, BATCH):
        empty = False
        yield piece
    if empty:
        # A night without rows still gets its file, with its header.
        loaded = load(source)
        yield loaded.frame, loaded.text


def _scored(
    bundle: Bundle, raw: pl.DataFrame, text: bool, first: int, source: Path, coverage: float | None, ood: bool
) -> pl.DataFrame:
    try:
        columns = answer_columns(bundle, bundle.frame(raw, text=text, first_row=first), coverage, ood)
    except DataError as error:
        raise in_file(error, source, range(first, first + raw.height)) from None
    taken = [c.name for c in columns if c.name in raw.columns]
    if taken:
        raise DataError(
            f"The file has a column '{taken[0]}' already.",
            where=str(source),
            do="Rename it: the answer needs the name.",
        )
    return raw.with_columns(columns)


def answer_columns(bundle: Bundle, frame: pl.DataFrame, coverage: float | None, ood: bool) -> list[pl.Series]:
    """Return what the model says of a typed frame, column by column.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    frame : polars.DataFrame
        Typed as the schema says.
    coverage, ood
        See `predict_file`.

    Returns
    -------
    list of Series
        ``prediction``; for classes ``p_<class>``, and ``set`` where a coverage is asked for; for numbers ``low`` and
        ``high`` then; ``ood`` where it is asked for.
    """
    answers = bundle.runtime.frame(frame)
    said, *names = bundle.schema.answers
    columns = [pl.Series(said, bundle.decide(answers))]
    columns += [pl.Series(names[i], answers[:, i]) for i in range(len(bundle.schema.classes))]
    if isinstance(bundle.runtime, ArraysRuntime) and bundle.runtime.coverages:
        known = bundle.runtime.coverages
        percent = COVERAGE if COVERAGE in known else known[0]
        columns += _ends(bundle.runtime.interval(frame, percent if coverage is None else round(100 * coverage)))
    elif coverage is not None and bundle.schema.classes:
        texts = [msgspec.json.encode(one).decode() for one in bundle.sets(answers, coverage)]
        columns.append(pl.Series("set", texts, dtype=pl.String))
    elif coverage is not None:
        columns += _ends(bundle.intervals(answers, coverage))
    if ood:
        columns.append(pl.Series("ood", bundle.ood_of_frame(frame)))
    return columns


def _ends(bounds: Answers) -> list[pl.Series]:
    # Too few past forecasts for a bound that holds leave none.
    return [pl.Series(name, bounds[:, i]).fill_nan(None) for i, name in enumerate(("low", "high"))]


def _writer(target: Path) -> Callable[[Path, ExitStack], Write]:
    writers = {".csv": _csv, ".parquet": _parquet, ".arrow": _arrow, ".feather": _arrow}
    if target.suffix.lower() not in writers:
        raise DataError(
            f"Files named '{target.suffix}' are not written.",
            where=str(target),
            allowed=f"A name that ends in {', '.join(writers)}.",
        )
    return writers[target.suffix.lower()]


def _csv(path: Path, stack: ExitStack) -> Write:
    file = stack.enter_context(path.open("wb"))
    return lambda frame: frame.write_csv(file, include_header=file.tell() == 0)


def _parquet(path: Path, stack: ExitStack) -> Write:
    from pyarrow import parquet

    return _arrow_like(stack, lambda schema: parquet.ParquetWriter(path, schema, compression="zstd"))


def _arrow(path: Path, stack: ExitStack) -> Write:
    import pyarrow as pa

    file = stack.enter_context(path.open("wb"))
    return _arrow_like(stack, lambda schema: pa.ipc.new_file(file, schema))


def _arrow_like(stack: ExitStack, opened: Callable[[Any], Any]) -> Write:
    """Return what writes frames through a pyarrow writer, opened when the first one shows the schema."""
    first: list[Any] = []

    def write(frame: pl.DataFrame) -> None:
        table = frame.to_arrow()
        if not first:
            first.extend([stack.enter_context(opened(table.schema)), table.schema])
        writer, schema = first
        writer.write_table(table.cast(schema))

    return write
