"""`omnilmm-lite caption`: a folder of pictures described, into a file of lines, beside the pictures or into them."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.options.caption_output import TableFormat, add_output_options, table_format
from omnilmm_lite.commands.options.cluster import refuse_without_ray
from omnilmm_lite.commands.options.machine import (
    add_machine_options,
    add_parallel,
    machine_options,
    model_source,
)
from omnilmm_lite.commands.options.picture import add_picture_options
from omnilmm_lite.commands.options.sampling import add_sampling_options, sampling_options
from omnilmm_lite.commands.scale.ray_caption import add_ray_caption, ray_caption
from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.caption.describer import Describer
    from omnilmm_lite.caption.folder_run import FolderRun
    from omnilmm_lite.caption.outcome import Outcome
    from omnilmm_lite.caption.output import Lines
    from omnilmm_lite.caption.progress import CaptionProgress
    from omnilmm_lite.caption.scale.shard import Shard
    from omnilmm_lite.caption.wording import Wording
    from omnilmm_lite.caption.writers.writer import Writer
    from omnilmm_lite.model_source import ModelSource, OpenCheckpoint
    from omnilmm_lite.picture.listing import Listing
    from omnilmm_lite.pipeline.width import Width
    from omnilmm_lite.sampling_params import SamplingParams

DEFAULT_PROMPT = "Describe this picture."
STDOUT = Path("-")


def add_caption(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = (
        "Describes every picture of a folder. With -o one line of JSON each: path, sha256, text, finish_reason, "
        "timings, model; error instead of text where a file can't be read. May be stopped at any time: the same "
        "command goes on, and describes again what has changed. Hidden files and links to folders are passed over."
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder with pictures")
    prompt = (
        f"the question (default: {DEFAULT_PROMPT}); {{name}}, {{folder}}, {{tags}} and {{exif.Model}} are filled in"
    )
    parser.add_argument("-p", "--prompt", help=prompt)
    parser.add_argument("--tags", action="store_true", help="ask for a list of tags, and clean it")
    add_output_options(parser)
    recursive = argparse.BooleanOptionalAction
    parser.add_argument("-r", "--recursive", action=recursive, default=True, help="folders in it, too (default: yes)")
    include = "take these files only, such as '*.jpg' or 'cats/*', whatever their endings; may be repeated"
    parser.add_argument("--include", action="append", default=[], metavar="GLOB", help=include)
    exclude = "leave these files and folders out; may be repeated"
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help=exclude)
    parser.add_argument("--retry-errors", action="store_true", help="try files again that could not be read before")
    shard = "describe this part alone, by what files hold: 1/4 to 4/4 on four machines, each with an OUT of its own"
    parser.add_argument("--shard", metavar="I/N", help=shard)
    parser.add_argument("--watch", action="store_true", help="go on with pictures as they come, until Ctrl-C")
    add_parallel(parser, "auto")
    add_picture_options(parser)
    add_sampling_options(parser)
    add_machine_options(parser, open_checkpoint)
    add_ray_caption(parser)
    parser.set_defaults(command=caption)


def caption(args: argparse.Namespace) -> None:
    """Writes the captions. KeyboardInterrupt, after a word about how to go on, where Ctrl-C ended it."""
    if args.prompt is not None and not args.prompt.strip():
        raise InputError("the prompt is empty: give a question after -p")
    if args.ray is not None:
        ray_caption(args, args.folder, _prompt(args))
        return
    refuse_without_ray(args)
    args.folder, args.output = Path(args.folder), None if args.output is None else Path(args.output)
    if args.output is None and not (args.txt or args.xmp or args.embed):
        raise InputError("nowhere to write: name a file after -o, or give --txt, --xmp or --embed")
    table = table_format(args)
    with contextlib.ExitStack() as locks:
        for place in _owned(args):
            from omnilmm_lite.files.owner_lock import sole_owner

            # before the file is read, since what another run adds to it behind that would be missed
            locks.enter_context(sole_owner(place, lambda line: print(line, file=sys.stderr)))
        _caption(args, table)


def _owned(args: argparse.Namespace) -> Iterator[Path]:
    """What no other run may write to meanwhile."""
    if args.output not in (None, STDOUT):
        yield args.output
    if (args.txt or args.xmp or args.embed) and args.folder.is_dir():
        yield args.folder / "captions"  # the lock lies in the folder, which may be written to


def _caption(args: argparse.Namespace, table: TableFormat) -> None:
    from omnilmm_lite.caption.progress import CaptionProgress
    from omnilmm_lite.caption.scale.census import Census
    from omnilmm_lite.caption.tally import Tally

    run, listing, width = _job(args, table)
    census = None if run.shard is None else Census(run.shard)
    if args.txt or args.xmp or args.embed:
        from omnilmm_lite.files.durable_file import remove_unfinished

        remove_unfinished(args.folder)  # of a run that was killed; this one has the folder alone
    if census is not None:
        census.forget(args.output)  # of an earlier run
    tally = Tally(0 if args.watch else len(listing.paths))
    if args.output == STDOUT:
        print("standard output can't be gone on in: every picture is described", file=sys.stderr)
    try:
        with CaptionProgress(tally, is_endless=args.watch) as progress:
            _tell_listing(listing, progress, args)
            for outcome in run.run():
                tally.count(outcome)
                if census is not None:
                    census.count(outcome.path, outcome.sha256 if outcome.line is None else outcome.line["sha256"])
                _tell(outcome, progress, has_lines=args.output is not None)
                progress.step(outcome.path)
    except KeyboardInterrupt:
        print(f"stopped: {tally}; {_place(args)} keeps them, and the same command goes on", file=sys.stderr)
        raise
    finally:
        table.write(args.output)
    if census is not None:
        census.write(args.output)
    if width.told:
        print(width.told, file=sys.stderr)
    passed_over = sum(listing.passed_over.values())
    print(f"{_place(args)}: {tally}{f', {passed_over} passed over' * bool(passed_over)}", file=sys.stderr)
    tell_demonstration(args.model)


def _place(args: argparse.Namespace) -> Path | str:
    return args.folder if args.output is None else "standard output" if args.output == STDOUT else args.output


def _tell_listing(listing: Listing, progress: CaptionProgress, args: argparse.Namespace) -> None:
    for folder in listing.unreadable:
        progress.note(f"{folder!r}: this folder can't be read; its pictures are left out")
    if told := listing.told_passed_over():
        progress.note(f"passing over {told}")
    progress.note(f"watching {args.folder}; Ctrl-C ends it" if args.watch else f"pictures: {len(listing.paths)}")


def _tell(outcome: Outcome, progress: CaptionProgress, *, has_lines: bool) -> None:
    """What isn't in the output, or has to be known now. A name may hold anything, also a line's end."""
    for text in (outcome.remark, outcome.problem, None if has_lines else outcome.error):
        if text:
            progress.note(f"{outcome.path!r}: {text.removeprefix('picture: ')}")


def _job(args: argparse.Namespace, table: TableFormat) -> tuple[FolderRun, Listing, Width]:
    """Everything that can be checked before the model is loaded."""
    from functools import partial

    from omnilmm_lite.caption.describer import Describer
    from omnilmm_lite.caption.folder_run import FolderRun
    from omnilmm_lite.caption.loading import no_fields
    from omnilmm_lite.caption.templates.fields import picture_fields
    from omnilmm_lite.caption.watching import arrivals
    from omnilmm_lite.caption.writers.places import check_distinct
    from omnilmm_lite.picture.listing import Filter, list_pictures
    from omnilmm_lite.pipeline.parallel import Parallel
    from omnilmm_lite.sampling_params import sampling_params

    wording = _wording(args)
    chosen = Filter(args.include, args.exclude, args.recursive)
    own = table.files(args.output)
    listing = list_pictures(args.folder, chosen, own, allow_none=args.watch)
    if args.txt or args.xmp:
        check_distinct(listing.paths)
    source = model_source(args)
    params = sampling_params(source.sampling, sampling_options(args))

    parallel = Parallel.read(args.parallel)
    options = machine_options(args)
    slots = options["parallel"] = parallel.slots(source, options)
    width = parallel.width(slots)

    def open_describer() -> Describer:
        model = source.load(options)
        if model.device.is_fallback:
            print(f"device: {model.device.placement} ({model.device.reason})", file=sys.stderr)
        return Describer(model, wording, params, width)

    run = FolderRun(
        args.folder,
        arrivals(args.folder, chosen, leave_out=own) if args.watch else [listing.paths],
        _lines(args, table, source, params),
        source.config.vision,
        open_describer,
        writers=_writers(args),
        fields=partial(picture_fields, args.folder) if wording.names else no_fields,
        retry_errors=args.retry_errors,
        ignore_colour_profile=args.ignore_colour_profile,
        shard=_shard(args),
    )
    return run, listing, width


def _shard(args: argparse.Namespace) -> Shard | None:
    from omnilmm_lite.caption.scale.shard import Shard

    if args.shard is None:
        return None
    if args.watch or args.output in (None, STDOUT):
        raise InputError("--shard: it needs a file after -o, for `omnilmm-lite merge`, and goes without --watch")
    if args.embed:
        raise InputError("--shard: a picture that is written into is in another shard then; take --xmp, not --embed")
    return Shard.read(args.shard)


def _prompt(args: argparse.Namespace) -> str:
    from omnilmm_lite.caption.tags import TAGS_PROMPT

    return args.prompt or (TAGS_PROMPT if args.tags else DEFAULT_PROMPT)


def _wording(args: argparse.Namespace) -> Wording:
    from omnilmm_lite.caption.wording import Wording

    wording = Wording.read(_prompt(args), args.prefix, args.suffix, of_tags=args.tags)
    if args.txt and args.overwrite and "tags" in wording.names:
        raise InputError(
            "{tags} may come from the texts that --txt --overwrite replaces; write elsewhere, or copy them"
        )
    return wording


def _lines(args: argparse.Namespace, table: TableFormat, source: ModelSource, params: SamplingParams) -> Lines:
    import dataclasses

    from omnilmm_lite.caption.output import NoLines, Output, StandardOutput

    if args.output is None:
        return NoLines()
    if args.output == STDOUT:
        return StandardOutput()
    settings = {"model": source.identity, "prompt": _prompt(args), **dataclasses.asdict(params)}
    more = {name: getattr(args, name) for name in ("prefix", "suffix", "tags", "ignore_colour_profile")}
    if (shard := _shard(args)) is not None:
        more["shard"] = str(shard)
    settings |= {name: value for name, value in more.items() if value}  # files of before have none of them
    return Output(table.log(args.output), settings, keep_lines=args.txt or args.xmp or args.embed)


def _writers(args: argparse.Namespace) -> list[Writer]:
    from omnilmm_lite.caption.writers.embedded import EmbeddedXmp
    from omnilmm_lite.caption.writers.text_file import TextFiles
    from omnilmm_lite.caption.writers.xmp_file import XmpFiles

    writers: list[Writer] = []
    if args.txt:
        writers.append(TextFiles(args.folder, args.overwrite))
    if args.xmp:
        writers.append(XmpFiles(args.folder, args.tags, args.overwrite))
    if args.embed:
        writers.append(EmbeddedXmp(args.folder, args.tags, args.overwrite))
    return writers
