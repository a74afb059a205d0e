"""Progress on a terminal: one living line for the present stage; plain lines where nobody watches."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Drawn:
    """Progress drawn on standard error, so that standard output holds results alone.

    Parameters
    ----------
    quiet : bool
        Draw nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=18),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._stage = ""
        self._began = 0.0
        self._note = ""
        self._told = 0.0

    def __enter__(self) -> Drawn:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish("stopped" if error else "done")
        self._bars.stop()

    def stage(self, name: str) -> None:
        """Begin a stage; the one before it is done."""
        self._finish("done")
        self._stage, self._began, self._note = name, time.monotonic(), ""
        self._task = self._bars.add_task(name, total=None, note="")

    def step(self, done: float, total: float, note: str = "") -> None:
        """Say how much of the present stage is done, and what is going on."""
        if self._task is None:
            return
        self._note = note
        self._bars.update(self._task, completed=done, total=total, note=note)
        # A log file gets a line now and then, not a living one.
        if not self._console.is_terminal and time.monotonic() - self._told > 15:
            self._told = time.monotonic()
            self._console.print(f"  {self._stage:<10} {done:g} of {total:g}  {note}", markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Tell one thing worth a line of its own."""
        self._console.print(text, markup=False, soft_wrap=True)

    def _finish(self, how: str) -> None:
        if self._task is None:
            return
        self._bars.remove_task(self._task)
        self._task = None
        seconds = time.monotonic() - self._began
        self._console.print(
            f"  {self._stage:<10} {how} in {seconds:.1f} s  {self._note}".rstrip(), markup=False, soft_wrap=True
        )
