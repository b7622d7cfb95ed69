"""The chat's /commands: one table for running, completing and explaining them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.terminal.session import Session


class Leave(Exception):
    """The chat is over."""


class Argument(Enum):
    """What completion offers after a command."""

    NONE = "none"
    TEXT = "text"
    PICTURE = "picture"
    FILE = "file"
    SETTING = "setting"


@dataclass(frozen=True)
class Command:
    name: str
    usage: str
    help: str
    argument: Argument
    run: Callable[[Session, str], None]
    others: tuple[str, ...] = ()  # names that it is known by elsewhere


def _leave(session: Session, argument: str) -> None:
    raise Leave


COMMANDS = (
    Command(
        "/image",
        "PATH | clipboard | screen",
        "talk about another picture; so does a path in a line, with a question or without",
        Argument.PICTURE,
        Session.look_for,
    ),
    Command("/clear", "", "begin anew with the same picture", Argument.NONE, lambda session, _: session.clear()),
    Command(
        "/regenerate", "", "answer the last question again", Argument.NONE, lambda session, _: session.regenerate()
    ),
    Command(
        "/undo", "", "take the last question and its answer back", Argument.NONE, lambda session, _: session.undo()
    ),
    Command(
        "/system",
        "TEXT | default",
        "what the model is told first, in a new conversation",
        Argument.TEXT,
        Session.set_system,
    ),
    Command(
        "/set",
        "NAME VALUE",
        "how answers are drawn; without a name, all settings",
        Argument.SETTING,
        Session.set_option,
    ),
    Command("/save", "PATH", "keep the conversation in a file", Argument.FILE, Session.save),
    Command("/load", "PATH", "take up a saved conversation", Argument.FILE, Session.load),
    Command("/export", "[PATH]", "write the conversation as Markdown, with its picture", Argument.FILE, Session.export),
    Command("/info", "", "device, memory, context, speed", Argument.NONE, lambda session, _: session.info()),
    Command("/help", "", "this text", Argument.NONE, lambda session, _: session.screen.rows(help_rows()), ("/?",)),
    Command("/quit", "", "leave", Argument.NONE, _leave, ("/exit", "/bye")),
)

BARE = {"help": "/help", "quit": "/quit", "exit": "/exit", "bye": "/bye"}  # alone in a line
_COMMAND = re.compile(r"/[A-Za-z?][\w?-]*")

KEYS = (
    ("Alt-Enter", "a new line; so does a backslash at the line's end"),
    ("Ctrl-C", "stop the answer; twice: leave"),
    ("Ctrl-D", "leave"),
)


def help_rows() -> list[tuple[str, str]]:
    """Every command and key, and what it does."""
    return [(f"{command.name} {command.usage}".strip(), command.help) for command in COMMANDS] + list(KEYS)


def run_command(session: Session, line: str) -> bool:
    """Runs the command that a line is; whether it is one."""
    if line.lower() in BARE:
        line = BARE[line.lower()]
    name, *rest = line.split(maxsplit=1)
    argument = rest[0].strip() if rest else ""
    command = next((command for command in COMMANDS if name.lower() in (command.name, *command.others)), None)
    if command is None:
        return False
    if command.argument is Argument.NONE and argument:
        raise InputError(f"{name}: it takes nothing after it; leave {printable(repr(argument))} out")
    command.run(session, argument)
    return True


def refuse_mistyped(line: str) -> None:
    """InputError for a line that begins like a command."""
    name = line.split(maxsplit=1)[0]
    if line == "/" or _COMMAND.fullmatch(name):
        near = difflib.get_close_matches(name, [command.name for command in COMMANDS], 1)
        hint = f", perhaps {near[0]}" if near else ""
        raise InputError(f"{printable(name)}: there is no such command{hint}; /help lists them")
