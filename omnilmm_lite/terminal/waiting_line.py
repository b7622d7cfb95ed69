"""What is going on, while nothing else can be shown: a line with the seconds that erases itself."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import TypeVar, cast

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from omnilmm_lite.engine.interrupt import in_background

T = TypeVar("T")

DELAY_S = 0.3  # what is done sooner shows no line


def is_dumb(terminal: str | None = None) -> bool:
    """Whether the terminal (that of $TERM, unless named) understands no escape codes."""
    return (os.environ.get("TERM", "") if terminal is None else terminal).lower() in ("dumb", "unknown")


class WaitingLine:
    """The line, on a terminal's stderr; nothing elsewhere."""

    def __init__(self, what: str) -> None:
        console = Console(stderr=True, highlight=False, markup=False)
        self._what = what
        self._started = time.monotonic()
        self._spinner = Spinner("dots" if console.encoding.startswith("utf") else "line", style="cyan")
        self._live: Live | None = None
        self._timer: threading.Timer | None = None
        if sys.stderr is not None and sys.stderr.isatty() and not is_dumb():
            self._live = Live(
                console=console,
                get_renderable=self._line,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._timer = threading.Timer(DELAY_S, self._live.start)
            self._timer.daemon = True

    def __enter__(self) -> WaitingLine:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Erases the line."""
        if self._timer is not None and self._live is not None:
            self._timer.cancel()
            self._timer.join()  # it may be starting the line just now
            self._timer = None
            self._live.stop()

    def _line(self) -> Spinner:
        self._spinner.update(text=f"{self._what} {time.monotonic() - self._started:.0f} s")
        return self._spinner


def items_of(produce: Callable[[], Iterable[T]], what: str) -> Generator[T, None, None]:
    """`produce`'s items, made in the background, so that Ctrl-C is heard; until the first one, the line says `what`."""
    items = cast("Generator[T, None, None]", in_background(produce))
    with contextlib.closing(items), WaitingLine(what) as waiting:
        for item in items:
            waiting.stop()
            yield item


def value_of(make: Callable[[], T], what: str) -> T:
    """What `make` returns, made in the background; until then the line says `what`."""
    (value,) = items_of(lambda: [make()], what)
    return value
