"""A program on a terminal of its own, and what a person would see there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pyte

from tests.systems import HEED_INTERRUPTS

DEADLINE_S = 60  # for a program that hangs; a busy machine is no failure
POLL_S = 0.02

TAB, ENTER, ESCAPE, CTRL_C, CTRL_D, UP = "\t", "\r", "\x1b", "\x03", "\x04", "\x1b[A"


class _AnsweringScreen(pyte.Screen):
    """Answers what programs ask of a terminal, such as where the cursor is."""

    def __init__(self, columns: int, rows: int, answer: Callable[[str], None]) -> None:
        super().__init__(columns, rows)
        self._answer = answer

    def select_graphic_rendition(self, *attrs: int) -> None:
        """Dim letters are grey ones: pyte doesn't know dim."""
        super().select_graphic_rendition(*((90,) if attrs == (2,) else attrs))

    def write_process_input(self, data: str) -> None:
        self._answer(data)


class EmulatedTerminal:
    """Keys go in, and `screen` is what pyte makes of what comes out; `output` is that as it came."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        columns: int = 100,
        rows: int = 40,
        term: str = "xterm-256color",
    ) -> None:
        self.screen = _AnsweringScreen(columns, rows, self.type)
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        environment = os.environ | {"TERM": term, "COLORTERM": "truecolor", "LANG": "C.UTF-8"} | dict(env)
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)
        self._child: Any = pexpect.spawn(
            argv[0],
            list(argv[1:]),
            cwd=str(cwd),
            env=environment,
            dimensions=(rows, columns),
            echo=True,
            timeout=DEADLINE_S,
            **HEED_INTERRUPTS,
        )
        self._child.delaybeforesend = None

    def type(self, *keys: str) -> None:
        for key in keys:
            self._child.send(key)

    def resize(self, columns: int) -> None:
        """The program hears of it."""
        self.screen.resize(columns=columns)
        self._child.setwinsize(self.screen.lines, columns)

    @property
    def text(self) -> str:
        """The screen's lines, without the spaces at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait_for(self, expected: str | Callable[[str], bool]) -> str:
        """Reads until the screen holds `expected`, or satisfies it; the screen then."""
        holds = expected if callable(expected) else lambda text: expected in text
        deadline = time.monotonic() + DEADLINE_S
        while not holds(self.text):
            assert time.monotonic() < deadline, f"waited for {expected!r}, the screen is:\n{self.text}"
            assert self.read(), f"the program ended before {expected!r}, the screen is:\n{self.text}"
        return self.text

    def read(self) -> bool:
        """Takes what has been printed; False once the program has ended."""
        try:
            data = self._child.read_nonblocking(1 << 16, timeout=POLL_S)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.output += data
        self._stream.feed(data)
        return True

    def exit_code(self) -> int | None:
        """Waits for the program's end; None if a signal ended it."""
        deadline = time.monotonic() + DEADLINE_S
        while self.read():
            assert time.monotonic() < deadline, f"the program doesn't end, the screen is:\n{self.text}"
        self._child.close()
        code: int | None = self._child.exitstatus
        return code

    def kill(self) -> None:
        self._child.close(force=True)
