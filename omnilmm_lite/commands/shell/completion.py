"""`omnilmm-lite completion`: the script by which a shell completes the commands, made from their parser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

SHELLS = ("bash", "zsh", "fish")

# What stands for a value in --help says what it is: there are no other marks in the parser.
FILES = {"FILE", "IMAGE", "OUT", "PATH"}
FOLDERS = {"CHECKPOINT", "FOLDER", "W"}
MODELS = {"BUNDLE", "MODEL", "ORIGINAL", "OTHER"}  # a name, or a folder
NAMES = "NAME"  # of `omnilmm-lite models ACTION`, a name alone; elsewhere it is one on a hub, or anybody's

_NAMES = "omnilmm-lite models names 2>/dev/null"
_MODELS = {
    "bash": "_omnilmm_lite_models",
    "zsh": "_omnilmm_lite_models",
    "fish": f"({_NAMES}; __fish_complete_directories (commandline -ct))",
    "preamble": {
        "bash": f'_omnilmm_lite_models() {{ compgen -W "$({_NAMES})" -- "$1"; _shtab_compgen_dirs "$1"; }}',
        "zsh": f'_omnilmm_lite_models() {{ compadd -- ${{(f)"$({_NAMES})"}}; _files -/; }}',
    },
}


def add_completion(parser: argparse.ArgumentParser, build_parser: Callable[[], argparse.ArgumentParser]) -> None:
    """`build_parser` makes the whole command line's."""
    parser.description = (
        "Prints a script by which the shell completes commands, options, files and the names of models. For bash: "
        'eval "$(omnilmm-lite completion bash)" in ~/.bashrc; for zsh likewise in ~/.zshrc, behind compinit; for fish: '
        "omnilmm-lite completion fish | source in its config.fish."
    )
    parser.add_argument("shell", choices=SHELLS, help="whose script")
    parser.set_defaults(command=lambda args: sys.stdout.write(completion_script(build_parser(), args.shell)))


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of `SHELLS`. `parser` takes marks on its way, and is good for nothing else then."""
    import shtab

    for command, action in _values(parser):
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        if metavar in MODELS:
            _mark(action, _MODELS)
        elif metavar == NAMES and " models " in command:
            _mark(action, shtab.cmd(_NAMES))
        elif FILES & set(metavar.split("|")):
            _mark(action, shtab.FILE)
        elif metavar in FOLDERS:
            _mark(action, shtab.DIRECTORY)
        elif "|" in metavar:  # words, and what stands for more of them
            action.choices = [word for word in metavar.split("|") if word.isalpha() and word.islower()]
            action.metavar = None  # zsh would take a colon in it for its own
    return shtab.complete(parser, shell)


def _mark(action: argparse.Action, how: object) -> None:
    vars(action)["complete"] = how


def _values(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Every argument that takes a value of its own, with its command's name: "omnilmm-lite models remove"."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for line in action._choices_actions:
                action.choices[line.dest].description = line.help  # shells show one line a command
            for each in action.choices.values():
                yield from _values(each)
        elif action.nargs != 0 and action.choices is None:
            yield parser.prog, action
