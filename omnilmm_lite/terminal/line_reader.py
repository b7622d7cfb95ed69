"""Where lines are typed: with prompt_toolkit on a terminal, else one plain line after another."""

from __future__ import annotations

import contextlib
import sys
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.styles import Style

from omnilmm_lite.terminal.completion import ChatCompleter
from omnilmm_lite.terminal.history import open_history

MARK = "> "
CONTINUED = "\\"  # at a line's end: another line follows

STYLE = Style.from_dict(
    {
        "mark": "ansigreen bold",
        "continuation": "ansigreen",
        "bottom-toolbar": "noreverse ansibrightblack",
        "completion-menu.completion": "bg:ansibrightblack ansiwhite",
        "completion-menu.completion.current": "bg:ansigreen ansiblack",
        "completion-menu.meta.completion": "bg:ansiblack ansiwhite",
        "completion-menu.meta.completion.current": "bg:ansiblack ansigreen",
    }
)


class LineReader(Protocol):
    """What the chat reads from."""

    def read(self, status: str) -> str:
        """The next input, of one line or several. EOFError at its end, KeyboardInterrupt for Ctrl-C."""
        ...


class PlainLineReader:
    """Standard input as it is, without escape codes."""

    def read(self, status: str) -> str:
        """The next input; `status` isn't shown."""
        text = self._line()
        while text.endswith(CONTINUED + "\n"):
            text = text[: -len(CONTINUED + "\n")] + "\n"
            with contextlib.suppress(EOFError):
                text += self._line()
        return text

    def _line(self) -> str:
        print(MARK, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=sys.stderr)
            raise EOFError
        return line


class TerminalLineReader:
    """A terminal, with history, completion and inputs of several lines."""

    def __init__(self) -> None:
        self._session: PromptSession[str] = PromptSession(
            message=[("class:mark", MARK)],
            multiline=True,  # Enter still ends the input: see `_keys`
            prompt_continuation=[("class:continuation", ". ")],
            history=open_history(),
            completer=ChatCompleter(),
            complete_while_typing=Condition(_types_command),
            key_bindings=_keys(),
            style=STYLE,
        )

    def read(self, status: str) -> str:
        """The next input; `status` stands below it while it is typed."""
        return self._session.prompt(bottom_toolbar=status)


def _types_command() -> bool:
    """Whether to offer commands unasked; paths are looked for when Tab is pressed, as a folder may be slow."""
    return " " not in get_app().current_buffer.text


def complete(buffer: Buffer) -> None:
    """Tab: completes as far as it is certain, else shows what there is, and goes through it."""
    state = buffer.complete_state
    if state is not None and state.complete_index is not None:  # going through the menu already
        buffer.complete_next()
        return
    # at once and not by prompt_toolkit, which drops the key while completions for the last letter are being made
    completions = list(ChatCompleter().get_completions(buffer.document, CompleteEvent(completion_requested=True)))
    if len(completions) == 1:
        buffer.apply_completion(completions[0])
    elif certain := get_common_complete_suffix(buffer.document, completions):
        buffer.insert_text(certain)
        buffer.start_completion()
    elif state is not None:
        buffer.complete_next()
    elif completions:
        buffer.start_completion()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add(Keys.Tab)
    def _(event: KeyPressEvent) -> None:
        complete(event.current_buffer)

    @keys.add(Keys.Enter)
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        chosen = buffer.complete_state.current_completion if buffer.complete_state else None
        if chosen is not None and chosen.text.endswith((" ", "/")):
            buffer.complete_state = None  # a folder, or a command that wants an argument: more is to come
        elif buffer.document.text_before_cursor.endswith(CONTINUED) and buffer.document.is_cursor_at_the_end:
            buffer.delete_before_cursor(len(CONTINUED))
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add(Keys.Escape, Keys.Enter)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
