"""`omnilmm-lite caption`: a folder of pictures described, one line of JSON a picture."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.options.machine import add_machine_options, machine_options, model_source
from omnilmm_lite.commands.options.sampling import add_sampling_options, sampling_options
from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.caption.folder_run import FolderRun
    from omnilmm_lite.model_source import OpenCheckpoint

DEFAULT_PROMPT = "Describe this picture."


def add_caption(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = (
        "Describes every picture of a folder, one line of JSON each: path, sha256, text, finish_reason, timings, "
        "model; error instead of text where a file can't be read. May be stopped at any time: the same command goes "
        "on, and describes again what has changed. Hidden files and links to folders are passed over."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder with pictures")
    parser.add_argument("-p", "--prompt", default=DEFAULT_PROMPT, help=f"the question (default: {DEFAULT_PROMPT})")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="file to fill, or to go on in")
    recursive = argparse.BooleanOptionalAction
    parser.add_argument("-r", "--recursive", action=recursive, default=True, help="folders in it, too (default: yes)")
    include = "take these files only, such as '*.jpg' or 'cats/*', whatever their endings; may be repeated"
    parser.add_argument("--include", action="append", default=[], metavar="GLOB", help=include)
    exclude = "leave these files and folders out; may be repeated"
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help=exclude)
    parser.add_argument("--retry-errors", action="store_true", help="try files again that could not be read before")
    add_sampling_options(parser)
    add_machine_options(parser, open_checkpoint)
    parser.set_defaults(command=caption)


def caption(args: argparse.Namespace) -> None:
    """Fills the output file. KeyboardInterrupt, after a word about how to go on, where Ctrl-C ended it."""
    if not args.prompt.strip():
        raise InputError("the prompt is empty: give a question after -p")
    from omnilmm_lite.files.owner_lock import sole_owner

    # before the file is read, since what another run adds to it behind that would be missed
    with sole_owner(args.output, lambda line: print(line, file=sys.stderr)):
        _fill_output(args)


def _fill_output(args: argparse.Namespace) -> None:
    from omnilmm_lite.caption.tally import Tally
    from omnilmm_lite.console import ConsoleProgress

    job = _job(args)
    tally = Tally(len(job.listing.paths))
    try:
        with ConsoleProgress() as progress:
            for folder in job.listing.unreadable:
                progress.note(f"{folder!r}: this folder can't be read; its pictures are left out")
            progress.stage("pictures", tally.total)
            for outcome in job.run():
                tally.count(outcome)
                progress.step(f"{tally.time_left()}{outcome.path!r}")  # a name may hold anything, also a line's end
    except KeyboardInterrupt:
        print(f"stopped: {tally}; {args.output} keeps them, and the same command goes on", file=sys.stderr)
        raise
    print(f"{args.output}: {tally}", file=sys.stderr)
    tell_demonstration(args.model)


def _job(args: argparse.Namespace) -> FolderRun:
    """Everything that can be checked before the model is loaded."""
    from omnilmm_lite.caption.captioner import Captioner
    from omnilmm_lite.caption.folder_run import FolderRun
    from omnilmm_lite.caption.output import Output, settings_path
    from omnilmm_lite.picture.listing import Filter, list_pictures
    from omnilmm_lite.sampling_params import sampling_params

    chosen = Filter(args.include, args.exclude, args.recursive)
    listing = list_pictures(args.folder, chosen, leave_out=[args.output, settings_path(args.output)])
    source = model_source(args)
    params = sampling_params(source.sampling, sampling_options(args))
    settings = {"model": source.identity, "prompt": args.prompt, **dataclasses.asdict(params)}

    def open_captioner() -> Captioner:
        model = source.load(machine_options(args))
        if model.device.is_fallback:
            print(f"device: {model.device.placement} ({model.device.reason})", file=sys.stderr)
        return Captioner(model, args.prompt, params)

    return FolderRun(
        args.folder,
        listing,
        Output(args.output, settings),
        source.config.vision,
        open_captioner,
        retry_errors=args.retry_errors,
    )
