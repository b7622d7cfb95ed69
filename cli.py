"""`omnilmm-lite`: parses the command line and hands over to the packages.

Each command stands in the package that it needs: omnilmm_lite/commands, export/quality_command.py,
quantize/convert_command.py. Heavy imports happen inside the command, so that `--help` is instant.
"""

from __future__ import annotations

import signal
import threading


def _raises_interrupts() -> bool:
    """Whether Ctrl-C is Python's KeyboardInterrupt, not ignored nor somebody else's, and may be changed here."""
    is_main_thread = threading.current_thread() is threading.main_thread()
    return is_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Until everything is imported, Ctrl-C ends the process without a word: nothing can be lost yet.
RAISES = _raises_interrupts()
if RAISES:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from export.checkpoint_config import checkpoint_config
from export.open_checkpoint import open_checkpoint
from export.quality_command import add_quality
from omnilmm_lite import __version__
from omnilmm_lite.builtin import BUILTIN_NAME
from omnilmm_lite.commands.bench import add_bench
from omnilmm_lite.commands.caption import add_caption
from omnilmm_lite.commands.doctor import add_doctor
from omnilmm_lite.commands.eval import add_eval
from omnilmm_lite.commands.home.config import add_config
from omnilmm_lite.commands.home.in_use import fill_in
from omnilmm_lite.commands.home.models import add_models
from omnilmm_lite.commands.inspect import add_inspect
from omnilmm_lite.commands.live.command import add_live
from omnilmm_lite.commands.plan import add_plan
from omnilmm_lite.commands.pull import add_pull
from omnilmm_lite.commands.push import add_push
from omnilmm_lite.commands.run import add_run
from omnilmm_lite.commands.scale.merge import add_merge
from omnilmm_lite.commands.serve import add_serve
from omnilmm_lite.commands.shell.completion import add_completion
from omnilmm_lite.engine.pages.huge_pages import start_again_with_huge_pages
from omnilmm_lite.errors import InputError, OmniLMMError, one_line
from omnilmm_lite.files.mistake import report_mistake
from omnilmm_lite.machine.output_pipe import STDOUT, output_errors_told, take_closed_streams
from quantize.convert_command import add_convert
from quantize.setup.command import add_setup

if RAISES:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FAILURE, USAGE, INTERRUPTED = 1, 2, 130

DESCRIPTION = """\
Talk to pictures with OmniLMM-12B, quantized to 4 bits, on your own machine.

  omnilmm-lite run cat.jpg -p "What is this?"
      one answer, from the built-in demonstration model
  omnilmm-lite setup
      get the real one, openbmb/OmniLMM-12B, as it suits this machine
  omnilmm-lite run cat.jpg
      a conversation with it
  omnilmm-lite inspect BUNDLE --verify
      what is in it, and whether it is whole"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code is 0, 1 for a failure, 2 for wrong usage or input, 130 after Ctrl-C."""
    try:
        take_closed_streams()
        _set_up_streams()
        args = build_parser().parse_args(argv)
        fill_in(args)
        if argv is None and vars(args).get("decodes") and args.model not in (None, BUILTIN_NAME):  # which gains nothing
            start_again_with_huge_pages()
        _import_numpy()
        with output_errors_told():
            args.command(args)
            sys.stdout.flush()
    except InputError as error:
        return _complain(error, USAGE)
    except OmniLMMError as error:
        return _complain(error, FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `omnilmm-lite ... | head` has read enough
        _discard_stdout()
        return FAILURE
    except OSError as error:
        if error.filename == STDOUT:
            _discard_stdout()
        return _complain(f"{error.filename or 'system'}: {error.strerror or error}", FAILURE)
    except MemoryError:
        return _complain("the memory is not enough: close other programs, or give a smaller --context", FAILURE)
    except Exception as error:
        return _complain(report_mistake(error), FAILURE)
    return 0


def _import_numpy() -> None:
    """Which every command needs, and which makes an ImportError of its own of a Ctrl-C that it meets."""
    raises = _raises_interrupts()
    if raises:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import numpy  # noqa: F401

    if raises:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Parser(argparse.ArgumentParser):
    """Its commands' parsers are of its kind."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ever, but where a command names its `words`, those behind an option belong to those in front of it."""
        found, rest = super().parse_known_args(args, namespace)
        words = self.get_default("words")
        if words is not None and rest:
            marked = rest.index("--") if "--" in rest else len(rest)
            if not any(word.startswith("-") and word != "-" for word in rest[:marked]):
                setattr(found, words, [*getattr(found, words), *rest[:marked], *rest[marked + 1 :]])
                rest = []
        return found, rest

    def error(self, message: str) -> NoReturn:
        """As ever, but the command line's own text in one line."""
        super().error(one_line(message))


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="omnilmm-lite", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"omnilmm-lite {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_setup(commands.add_parser("setup", help="get a model: fetch, convert, verify, make it the default"))
    add_run(commands.add_parser("run", help="answer a question about a picture, or chat about it"), open_checkpoint)
    add_caption(
        commands.add_parser("caption", help="describe every picture of a folder, a line of JSON each"), open_checkpoint
    )
    add_merge(commands.add_parser("merge", help="join what several runs of caption have written"))
    add_live(commands.add_parser("live", help="watch a camera or video, and answer about it"), open_checkpoint)
    add_serve(commands.add_parser("serve", help="answer other programs, and a page in the browser"), open_checkpoint)
    add_convert(commands.add_parser("convert", help="make a bundle from a Hugging Face checkpoint"))
    add_inspect(commands.add_parser("inspect", help="show what is in a bundle"))
    add_plan(commands.add_parser("plan", help="say what a model will need, before it is downloaded"), checkpoint_config)
    add_pull(commands.add_parser("pull", help="fetch a checkpoint or a bundle from a hub"), checkpoint_config)
    add_push(commands.add_parser("push", help="upload a bundle to the Hugging Face hub"))
    add_doctor(commands.add_parser("doctor", help="say what this machine has, and which device is used and why"))
    add_bench(commands.add_parser("bench", help="measure speed and memory, or check a device against the CPU"))
    add_eval(
        commands.add_parser("eval", help="score a model on the card's benchmarks, from your own data files"),
        open_checkpoint,
    )
    add_models(commands.add_parser("models", help="list your models, choose the default, remove one"))
    add_config(commands.add_parser("config", help="show every setting, and where it comes from"))
    add_quality(commands.add_parser("quality", help="measure how far a bundle is from the model it was made from"))
    add_completion(commands.add_parser("completion", help="print what makes a shell complete all this"), build_parser)
    return parser


def _set_up_streams() -> None:
    """Text that this terminal has no letters for is no error; on Windows, pipes and files hold UTF-8 as elsewhere."""
    encoding = "utf-8" if sys.platform == "win32" else None  # None: as it is
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="replace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=encoding)


def _discard_stdout() -> None:
    """Lets what is still unwritten go nowhere: at exit, Python would try again and complain."""
    with contextlib.suppress(OSError):  # a stand-in for stdout has no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: object, code: int) -> int:
    print(f"omnilmm-lite: {one_line(str(error))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
