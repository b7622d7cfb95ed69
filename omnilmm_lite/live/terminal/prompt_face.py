"""The session on a terminal: the timeline above, the status and an answer under way below the line that is typed."""

from __future__ import annotations

import anyio
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import print_formatted_text
from prompt_toolkit.styles import Style

from omnilmm_lite.errors import InputError, escaped
from omnilmm_lite.live.broadcast import Subscription
from omnilmm_lite.live.events import AnswerEnded, AnswerPiece, Event, Status, StatusChanged, Trouble
from omnilmm_lite.live.session import LiveSession
from omnilmm_lite.live.terminal.lines import status_line, timeline_line

MARK = "? "
HELP = "Enter asks | Ctrl-X stops the answer | Ctrl-D ends"
TALK_HELP = "Ctrl-T begins and ends what you say | "
TALKING = "listening: Ctrl-T when you have asked | "

STYLE = Style.from_dict(
    {
        "mark": "ansigreen bold",
        "answer": "ansicyan",
        "trouble": "ansiyellow",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)


class PromptFace:
    """`push_to_talk`: Ctrl-T begins and ends an utterance, as terminals don't tell when a key comes up."""

    def __init__(self, *, push_to_talk: bool = False) -> None:
        self._push_to_talk = push_to_talk
        self._talks = False
        self._status: Status | None = None
        self._answer = ""  # under way
        self._line: PromptSession[str] = PromptSession(style=STYLE, bottom_toolbar=self._toolbar, erase_when_done=True)
        terminal = self._line.app.input
        # what is printed above the prompt is printed in the terminal's ordinary mode, which would lose keys, too
        terminal.cooked_mode = terminal.raw_mode  # type: ignore[method-assign]
        self.was_interrupted = False  # by Ctrl-C

    async def listen(self, session: LiveSession, events: Subscription) -> None:
        """See `Listener`."""
        with patch_stdout(raw=True):
            async with anyio.create_task_group() as group:
                group.start_soon(self._type, session)
                async for event in events:
                    self._show(event)
                group.cancel_scope.cancel()

    async def _type(self, session: LiveSession) -> None:
        """One prompt for the whole session: between two of them the terminal would lose keys."""

        def ask(line: Buffer) -> bool:
            if line.text.strip():
                try:
                    session.ask(line.text)
                except InputError as error:
                    _print(str(error), "trouble")
            return False  # it is emptied

        self._line.default_buffer.accept_handler = ask
        try:
            await self._line.prompt_async([("class:mark", MARK)], key_bindings=self._keys(session))
        except EOFError:
            session.close()
        except KeyboardInterrupt:
            self.was_interrupted = True
            session.stop()

    def _show(self, event: Event) -> None:
        match event:
            case StatusChanged():
                self._status = event.status
            case AnswerPiece():
                self._answer += event.text
            case AnswerEnded():
                self._answer = ""
            case _:
                pass
        if (line := timeline_line(event)) is not None:
            kind = {AnswerEnded: "answer", Trouble: "trouble"}.get(type(event), "")
            _print(line, kind)
        self._line.app.invalidate()

    def _toolbar(self) -> StyleAndTextTuples:
        answer = f"{escaped(' '.join(self._answer.split()))}\n" if self._answer else ""
        status = status_line(self._status) if self._status is not None else ""
        talk = (TALKING if self._talks else TALK_HELP) if self._push_to_talk else ""
        return [("class:answer", answer), ("", f"{status}\n{talk}{HELP}")]

    def _keys(self, session: LiveSession) -> KeyBindings:
        keys = KeyBindings()

        @keys.add(Keys.ControlX)
        def _(event: KeyPressEvent) -> None:
            session.interrupt()

        if self._push_to_talk:

            @keys.add(Keys.ControlT)
            def _(event: KeyPressEvent) -> None:
                self._talks = not self._talks
                session.talk(self._talks)
                event.app.invalidate()

        return keys


def _print(line: str, kind: str) -> None:
    print_formatted_text(FormattedText([(f"class:{kind}" if kind else "", line)]), style=STYLE)
