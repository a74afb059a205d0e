"""Counts of the request path: numbers in plain memory, which a worker adds to and any worker can read.

prometheus_client's own counters take a lock and, with several workers, write keys and values to a file for each change:
a few microseconds a request. These take a tenth of that, and survive a killed worker as those do.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_CELLS = 2**17
Numbers: TypeAlias = "array[float] | memoryview[float]"
_Key = tuple[str, tuple[str, ...]]


class Cells(Collector):
    """The numbers of one process, and the reader of all processes' numbers.

    Parameters
    ----------
    folder : Path or None
        Where the processes of a server have their files; None for a server of one process.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._taken = folder, 0
        self._lock = threading.Lock()  # a release that is taken up makes its series in a thread
        self._series: dict[_Key, int] = {}
        self._families: dict[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {}
        self.cells: Numbers = array("d")
        if folder is not None:
            self._path = folder / f"{os.getpid()}-{time.time_ns()}.cells"
            with self._path.open("w+b") as file:
                file.truncate(8 * _CELLS)
                self.cells = memoryview(mmap.mmap(file.fileno(), 8 * _CELLS)).cast("d")

    def counter(self, name: str, text: str, labels: Sequence[str]) -> None:
        """Declare a counter; `count` makes its series."""
        self._families[name] = text, tuple(labels), ()

    def histogram(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """Declare a histogram; `durations` makes its series."""
        self._families[name] = text, tuple(labels), tuple(bounds)

    def count(self, name: str, values: Sequence[str]) -> Count:
        """Return the series of a counter with these label values."""
        return Count(self.cells, self._place(name, values, 1))

    def durations(self, name: str, values: Sequence[str]) -> Durations:
        """Return the series of a histogram with these label values."""
        bounds = self._families[name][2]
        return Durations(self.cells, self._place(name, values, len(bounds) + 2), bounds)

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Return the numbers of all processes, added up."""
        sums: dict[_Key, list[float]] = {}
        for series, cells in self._everybody():
            for key, place in series.items():
                held = cells[place : place + self._width(key[0])]
                sums[key] = [a + b for a, b in zip(sums.get(key, [0.0] * len(held)), held, strict=True)]
        for name, (text, labels, bounds) in self._families.items():
            found = [(values, held) for (of, values), held in sums.items() if of == name]
            if bounds:
                durations = HistogramMetricFamily(name, text, labels=labels)
                for values, numbers in found:
                    durations.add_metric(values, _cumulative(bounds, numbers), numbers[0])
                yield durations
            else:
                counter = CounterMetricFamily(name, text, labels=labels)
                for values, numbers in found:
                    counter.add_metric(values, numbers[0])
                yield counter

    def _width(self, name: str) -> int:
        bounds = self._families[name][2]
        return len(bounds) + 2 if bounds else 1

    def _place(self, name: str, values: Sequence[str], width: int) -> int:
        key = name, tuple(values)
        with self._lock:
            place = self._series.get(key)
            if place is None:
                place, self._taken = self._taken, self._taken + width
                if isinstance(self.cells, array):
                    self.cells.extend([0.0] * width)
                else:
                    with self._path.with_suffix(".series").open("ab") as file:
                        file.write(msgspec.json.encode([name, values, place]) + b"\n")
                self._series[key] = place
        return place

    def _everybody(self) -> Iterator[tuple[dict[_Key, int], Numbers]]:
        if self._folder is None:
            with self._lock:
                series = self._series.copy()
            yield series, self.cells
            return
        for path in sorted(self._folder.glob("*.series")):
            series = {}
            for line in path.read_bytes().splitlines():
                name, values, place = msgspec.json.decode(line, type=tuple[str, tuple[str, ...], int])
                if name in self._families:
                    series[name, values] = place
            end = max((place + self._width(name) for (name, _), place in series.items()), default=0)
            with path.with_suffix(".cells").open("rb") as file:
                yield series, array("d", file.read(8 * end))


class Count:
    """A number that only grows."""

    __slots__ = ("_cells", "_place")

    def __init__(self, cells: Numbers, place: int) -> None:
        self._cells, self._place = cells, place

    def inc(self, by: float = 1.0) -> None:
        """Add to it."""
        self._cells[self._place] += by


class Durations:
    """How many took how long: the sum of seconds, then a number for each bucket, the last for what is longer."""

    __slots__ = ("_bounds", "_cells", "_place")

    def __init__(self, cells: Numbers, place: int, bounds: Sequence[float]) -> None:
        self._cells, self._place, self._bounds = cells, place, bounds

    def observe(self, seconds: float) -> None:
        """Count one."""
        cells, place = self._cells, self._place
        cells[place] += seconds
        cells[place + 1 + bisect_left(self._bounds, seconds)] += 1.0


def _cumulative(bounds: Sequence[float], held: Sequence[float]) -> list[tuple[str, float]]:
    found, so_far = [], 0.0
    for bound, count in zip((*bounds, float("inf")), held[1:], strict=True):
        so_far += count
        found.append((floatToGoString(bound), so_far))  # type: ignore[no-untyped-call]
    return found
