"""The chat's loop: a line is read, a command, a picture or a question, until somebody leaves."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.terminal.commands import Leave, refuse_mistyped, run_command
from omnilmm_lite.terminal.line_reader import LineReader, PlainLineReader, TerminalLineReader
from omnilmm_lite.terminal.paths.line import read_line
from omnilmm_lite.terminal.picture import ChatPicture, PictureOpener
from omnilmm_lite.terminal.screen import Screen, wants_plain
from omnilmm_lite.terminal.session import AnswerStopped, Session

if TYPE_CHECKING:
    from omnilmm_lite.model import Model
    from omnilmm_lite.sampling_params import SamplingParams

TWICE_S = 2.0  # between two Ctrl-C that leave


def converse(
    model: Model,
    pictures: PictureOpener,
    picture: ChatPicture | None,
    system: str | None,
    params: SamplingParams,
    *,
    keeps: bool,
    earlier: Path | None = None,
) -> None:
    """The chat on this process's terminal, or on its pipes. `keeps`: conversations, for `--continue`; `earlier`: the
    file of the one to go on with."""
    plain = wants_plain()
    screen = Screen(plain=plain)
    session = Session(model, screen, pictures, picture, system, params, keeps=keeps)
    if earlier is not None:
        session.go_on_with(earlier)
    screen.note("Ask away; /help lists the commands.")
    ChatLoop(session, PlainLineReader() if plain else TerminalLineReader()).run()
    if session.is_kept:
        screen.note("kept: `omnilmm-lite run --continue` goes on with it")


class ChatLoop:
    def __init__(self, session: Session, prompt: LineReader) -> None:
        self._session, self._prompt = session, prompt
        self._interrupted = -TWICE_S  # when Ctrl-C was pressed last

    def run(self) -> None:
        """Reads and answers until /quit, the end of the input, or Ctrl-C twice."""
        screen = self._session.screen
        while True:
            try:
                line = self._prompt.read(self._status())
            except EOFError:
                return
            except UnicodeDecodeError:
                screen.complain("this line is not UTF-8 text; type it again")
                continue
            except KeyboardInterrupt:
                if self._was_interrupted():
                    _hear_no_more()
                    return
                screen.note("Ctrl-C once more leaves, and so do /quit and Ctrl-D")
                continue
            try:
                self._handle(line)
            except Leave:
                return
            except OmniLMMError as error:
                screen.complain(error)
            except AnswerStopped:
                self._was_interrupted()
            except KeyboardInterrupt:  # while a picture was looked at
                self._was_interrupted()
                screen.note("[stopped]")

    def _handle(self, line: str) -> None:
        text = line.strip()
        try:
            if not text or run_command(self._session, text):
                return
            typed = read_line(line)
            if not typed.begins_with_picture:
                refuse_mistyped(text)
            self._session.take(typed)
        finally:
            self._session.keep()

    def _was_interrupted(self) -> bool:
        """Notes a Ctrl-C; whether there was one a moment ago."""
        before, self._interrupted = self._interrupted, time.monotonic()
        return self._interrupted - before < TWICE_S

    def _status(self) -> str:
        session = self._session
        about = session.picture.name if session.picture else "no picture"
        return f"{about} · {session.context_used} of {session.context} tokens · /help"


def _hear_no_more() -> None:
    """Who leaves by Ctrl-C may press it once more, and would kill the program while it ends."""
    with contextlib.suppress(ValueError):  # not in the main thread, which alone hears it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
