"""What becomes of a session afterwards: its transcript, and what `live` makes of one."""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.live.listeners import Listener


def add_transcript_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("transcript")
    group.add_argument("--transcript", type=Path, metavar="FILE", help="write what happens, a line of JSON each")
    group.add_argument("--keep-frames", action="store_true", help="keep the described frames, too, in FILE.frames")
    group.add_argument("--replay", type=Path, metavar="FILE", help="play a transcript, and watch nothing")
    speed = "how fast it is played; 0 shows all at once (default: 1)"
    group.add_argument("--speed", type=float, metavar="X", default=1.0, help=speed)
    group.add_argument("--report", type=Path, metavar="FILE", help="make a page of a transcript, and watch nothing")
    group.add_argument("-o", "--output", type=Path, metavar="HTML", help="the page (default: FILE.html)")


def use_transcript(args: argparse.Namespace) -> bool:
    """Plays a transcript or makes its page, where that was asked for."""
    chosen = [name for name in ("transcript", "replay", "report") if getattr(args, name) is not None]
    if len(chosen) > 1:
        raise InputError(f"--{chosen[0]} and --{chosen[1]} are different things to do; give one of them")
    if args.keep_frames and args.transcript is None:
        raise InputError("--keep-frames: there is no transcript to keep them beside; give --transcript FILE")
    if args.output is not None and args.report is None:
        raise InputError("-o: it names the page of a --report, and none is asked for")
    if not 0 <= args.speed < math.inf:
        raise InputError(f"--speed: {args.speed} is out of range; give a number above 0, or 0 for all at once")
    if args.replay is not None:
        _replay(args.replay, args.speed or math.inf)
    elif args.report is not None:
        _report(args.report, args.output)
    return args.replay is not None or args.report is not None


def transcript_listeners(args: argparse.Namespace, stack: ExitStack) -> list[Listener]:
    """The writer of the transcript that is asked for. InputError where its file can't be made."""
    from omnilmm_lite.live.transcript.writing import TranscriptWriter

    if args.transcript is None:
        return []
    return [stack.enter_context(TranscriptWriter(args.transcript, keep_frames=args.keep_frames))]


def _replay(path: Path, speed: float) -> None:
    from omnilmm_lite.live.transcript.reading import read_transcript
    from omnilmm_lite.live.transcript.replay import replay

    replay(read_transcript(path), speed, lambda line: print(line, flush=True))


def _report(path: Path, page: Path | None) -> None:
    from omnilmm_lite.live.transcript.page import build_page
    from omnilmm_lite.live.transcript.reading import read_transcript
    from omnilmm_lite.quality.page_file import check_page, write_page

    page = path.with_name(f"{path.name}.html") if page is None else page
    transcript = read_transcript(path)
    check_page(page, "-o")
    write_page(page, build_page(transcript), "-o")
    print(page)
