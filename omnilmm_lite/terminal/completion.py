"""What Tab offers: commands, their settings, and paths."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from omnilmm_lite.picture.reading import PICTURE_SUFFIXES
from omnilmm_lite.terminal import settings
from omnilmm_lite.terminal.commands import COMMANDS, Argument
from omnilmm_lite.terminal.picture import CLIPBOARD, SCREEN

MOST_ENTRIES = 10_000  # of a folder


class ChatCompleter(Completer):
    """Completes nothing but lines that begin with a slash."""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """The completions of what stands before the cursor, in the order in which they are offered."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, argument = text.partition(" ")
        for command in COMMANDS:
            takes_argument = command.argument is not Argument.NONE
            if not space and command.name.startswith(name):
                typed = command.name + (" " if takes_argument else "")
                yield Completion(typed, -len(name), display=command.name, display_meta=command.help)
            elif space and command.name == name and takes_argument:
                yield from _of_argument(command.argument, argument.lstrip())


def _of_argument(kind: Argument, text: str) -> Iterator[Completion]:
    if kind is Argument.SETTING:
        yield from _words(settings.NAMES, text, end=" ")
    elif kind is Argument.PICTURE:
        yield from _words((CLIPBOARD, SCREEN), text)
        yield from _paths(text, PICTURE_SUFFIXES)
    elif kind is Argument.FILE:
        yield from _paths(text, None)


def _words(words: Iterable[str], text: str, end: str = "") -> Iterator[Completion]:
    for word in words:
        if word.startswith(text):
            yield Completion(word + end, -len(text), display=word)


def _paths(text: str, suffixes: tuple[str, ...] | None) -> Iterator[Completion]:
    """Folders, and files with one of `suffixes`. The argument is the rest of the line, so spaces need no quotes; where
    there is a quote, it is closed after a file."""
    quote = text[:1] if text[:1] in ("'", '"') else ""
    start = os.path.split(text[len(quote) :])[1]
    folder = text[len(quote) : len(text) - len(start)]
    for name, is_folder in _entries(folder):
        if not name.casefold().startswith(start.casefold()) or (name.startswith(".") and not start):
            continue
        if is_folder:
            yield Completion(name + "/", -len(start))
        elif suffixes is None or Path(name).suffix.lower() in suffixes:
            yield Completion(name + quote, -len(start), display=name)


def _entries(folder: str) -> list[tuple[str, bool]]:
    """Names in a folder and whether they are folders, in order; none where it can't be read."""
    try:
        with os.scandir(Path(folder).expanduser()) as found:
            entries = [(entry.name, entry.is_dir()) for entry in itertools.islice(found, MOST_ENTRIES)]
    except (OSError, ValueError, RuntimeError):
        return []
    return sorted(entry for entry in entries if entry[0].isprintable())
