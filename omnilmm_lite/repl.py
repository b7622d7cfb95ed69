"""The interactive chat of `omnilmm-lite run`: a question a line, a few /commands."""

from __future__ import annotations

import sys

from omnilmm_lite.chat import Chat, SamplingOptions
from omnilmm_lite.errors import InputError
from omnilmm_lite.image import load_image
from omnilmm_lite.model import Model

HELP = """\
/image PATH  talk about another picture (starts a new conversation)
/clear       start the conversation anew, with the same picture
/help        this text
/quit        leave (or Ctrl-D); Ctrl-C stops an answer"""


class Repl:
    def __init__(self, model: Model, image: str | None, system: str | None, options: SamplingOptions) -> None:
        self._model, self._image, self._system, self._options = model, image, system, options
        self._chat = self._new_chat()

    def run(self) -> None:
        """Reads and answers until /quit or the end of the input."""
        print("Ask away; /help lists the commands.", file=sys.stderr)
        while True:
            try:
                line = input("> ").strip()
            except (EOFError, KeyboardInterrupt):
                print(file=sys.stderr)
                return
            if line == "/quit":
                return
            try:
                self._handle(line)
            except InputError as error:
                print(error, file=sys.stderr)

    def _handle(self, line: str) -> None:
        command, _, argument = line.partition(" ")
        if command == "/image":
            load_image(argument.strip())  # a bad path leaves the conversation as it is
            self._image = argument.strip()
            self._chat = self._new_chat()
        elif command == "/clear":
            self._chat = self._new_chat()
        elif command == "/help":
            print(HELP, file=sys.stderr)
        elif command.startswith("/"):
            raise InputError(f"{command}: there is no such command; /help lists them")
        elif line:
            self._answer(line)

    def _answer(self, question: str) -> None:
        try:
            for piece in self._chat.stream(question, **self._options):
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" [stopped]", end="", file=sys.stderr)
        print()

    def _new_chat(self) -> Chat:
        return self._model.chat(self._image, self._system)
