"""A console for plain text, and progress on stderr."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SPEED_ESTIMATE_S = 24 * 3600  # the library's 30 seconds hold not one step of what takes a minute
FILE_WIDTH = 120  # columns


def plain_console(*, stderr: bool = False) -> Console:
    """Prints what it is given: names and paths hold brackets and colons, which aren't markup and `:cat:`'s picture."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def table_console() -> Console:
    """The same on stdout, wide enough for a table where it isn't shown but written."""
    console = plain_console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console


class ConsoleProgress:
    """A bar a stage, on stderr; one plain line a stage where stderr is no terminal."""

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        columns = [
            TextColumn("{task.description:<26}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[line]}", markup=False),
        ]
        self._progress = Progress(
            *columns,
            console=self._console,
            disable=not self._console.is_terminal,
            speed_estimate_period=SPEED_ESTIMATE_S,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> ConsoleProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, name: str, steps: int) -> None:
        """Begins the next stage."""
        self._task = self._progress.add_task(name, total=steps, line="")
        if not self._console.is_terminal:
            self._console.print(f"{name} ({steps} {'step' if steps == 1 else 'steps'})")

    def step(self, line: str) -> None:
        """One step of the current stage is done."""
        if self._task is not None:
            self._progress.update(self._task, advance=1, line=line)

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text)
