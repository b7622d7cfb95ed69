"""The interactive chat of `omnilmm-lite run`: a question a line, a few /commands."""

from __future__ import annotations

import contextlib
import sys

from PIL import Image

from omnilmm_lite.chat import Chat, SamplingOptions
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.image import load_image
from omnilmm_lite.model import Model

with contextlib.suppress(ImportError):  # there is none on Windows
    import readline  # noqa: F401  # gives input() history and arrow keys

HELP = """\
/image PATH  talk about another picture (starts a new conversation)
/clear       start the conversation anew, with the same picture
/help        this text
/quit        leave (or Ctrl-D); Ctrl-C stops an answer"""


class Repl:
    """Holds the picture as it was when it was named, so that /clear still shows it when the file has changed."""

    def __init__(self, model: Model, image: Image.Image | None, system: str | None, options: SamplingOptions) -> None:
        self._model, self._image, self._system, self._options = model, image, system, options
        self._chat = self._new_chat()

    def run(self) -> None:
        """Reads and answers until /quit or the end of the input."""
        print("Ask away; /help lists the commands.", file=sys.stderr)
        while True:
            try:
                line = input("> ").strip()
                if line == "/quit":
                    return
                self._handle(line)
            except EOFError:
                print(file=sys.stderr)
                return
            except KeyboardInterrupt:  # at the prompt, or while a picture is looked at
                print("\n/quit or Ctrl-D leaves", file=sys.stderr)
            except UnicodeDecodeError:
                print("this line is not UTF-8 text; type it again", file=sys.stderr)
            except OmniLMMError as error:
                print(error, file=sys.stderr)

    def _handle(self, line: str) -> None:
        command, _, argument = line.partition(" ")
        if command == "/image":
            image = load_image(argument.strip())
            self._chat, self._image = self._model.chat(image, self._system), image
        elif command == "/clear":
            self._chat = self._new_chat()
        elif command == "/help":
            print(HELP, file=sys.stderr)
        elif command.startswith("/"):
            raise InputError(f"{command}: there is no such command; /help lists them")
        elif line:
            self._answer(line)

    def _answer(self, question: str) -> None:
        pieces = self._chat.stream(question, **self._options)
        try:
            for piece in pieces:
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" [stopped]", end="", file=sys.stderr, flush=True)
        print()

    def _new_chat(self) -> Chat:
        return self._model.chat(self._image, self._system)
