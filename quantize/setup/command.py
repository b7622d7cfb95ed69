"""`omnilmm-lite setup`: one command from a model's name to an answer.

Heavy imports happen inside: the parser is built for every command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.commands.home.models import confirmed
from omnilmm_lite.commands.pull import FROM, quoted
from omnilmm_lite.errors import InputError, OmniLMMError

if TYPE_CHECKING:
    from omnilmm_lite.home.models import StoredModel
    from quantize.setup.steps import SetupRequest

MODEL = "openbmb/OmniLMM-12B"


def add_setup(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Looks at this machine, says which preset it would take and why, and what that needs, asks, then fetches, "
        "converts and verifies the model, and makes it the default. May be stopped at any time: the same command goes "
        "on. NAME is what `pull` takes: a hub's model, a mirror's address or a folder, of a checkpoint or a bundle."
    )
    parser.add_argument("name", metavar="NAME", nargs="?", default=MODEL, help=f"what to get (default: {MODEL})")
    parser.add_argument("--from", dest="hub", choices=list(FROM), help="the hub (default: huggingface)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit (default: the newest)")
    parser.add_argument("--as", dest="alias", metavar="NAME", help="the model's name here (default: NAME's last part)")
    parser.add_argument("--preset", metavar="P", help="what to convert to (default: the best that fits this machine)")
    data = "pictures to quantize with, as `convert` takes them (default: some built-in chats)"
    parser.add_argument("--calibration", type=Path, metavar="PATH", help=data)
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.set_defaults(command=setup)


def setup(args: argparse.Namespace) -> None:
    """Ends with a model that answers. KeyboardInterrupt, after a word about how to go on, where Ctrl-C ended it."""
    from quantize.setup.progress import SetupProgress
    from quantize.setup.steps import Setup

    request = _request(args)

    def agree(lines: Sequence[str]) -> None:
        for line in lines:
            print(line, file=sys.stderr)
        if not args.yes and not confirmed("go on?", _same_command(args)):
            raise OmniLMMError("nothing was fetched or made: the answer was no")

    try:
        with SetupProgress() as progress:
            model = Setup(request, progress, agree).run()
    except KeyboardInterrupt:
        print("stopped: what is done is kept, and the same command goes on", file=sys.stderr)
        raise
    _tell(model)


def _request(args: argparse.Namespace) -> SetupRequest:
    """InputError for what can't be, before anything is looked at."""
    from omnilmm_lite.bundle.presets import find_preset
    from omnilmm_lite.home.model_name import check_model_name
    from omnilmm_lite.hub.source import Hub, Source
    from quantize.setup.steps import SetupRequest

    if args.preset is not None:
        find_preset(args.preset)
    if args.calibration is not None and not args.calibration.exists():
        raise InputError(f"--calibration: {args.calibration}: there is no such file or folder")
    source = Source.parse(args.name, None if args.hub is None else Hub[FROM[args.hub]], args.revision)
    name = args.alias or source.short_name
    check_model_name(name)
    calibration = None if args.calibration is None else args.calibration.absolute()
    return SetupRequest(source, name, args.preset, calibration)


def _same_command(args: argparse.Namespace) -> str:
    options = {"--from": args.hub, "--revision": args.revision, "--as": args.alias, "--preset": args.preset,
               "--calibration": args.calibration}  # fmt: skip
    given = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return quoted("omnilmm-lite", "setup", args.name, *given, "--yes")


def _tell(model: StoredModel) -> None:
    print(f"{model.name}: whole, verified, and the default now: {model.folder}")
    checkpoint = model.record.checkpoint
    if checkpoint is not None:
        print(f"made from {checkpoint}, which is kept: `omnilmm-lite models free {model.name}` frees what isn't needed")
    print('try it: omnilmm-lite run PICTURE -p "What is this?"')
