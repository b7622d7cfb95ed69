"""One input given to a parser: what comes out must be a result, or one line of ours."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from omnilmm_lite.errors import LONGEST, OmniLMMError
from tests.fuzz.fuzz_target import FuzzTarget
from tests.paths import ROOT

SECONDS = 10  # of processor time for an input
OWN = ("omnilmm_lite", "export", "quantize", "cli.py")


class TooLongError(Exception):
    """An input took more than SECONDS."""


class LineError(Exception):
    """An error's text is not the one line that it should be."""


@dataclass(frozen=True)
class Finding:
    """What a parser did that it mustn't. `kind` is the same for the same mistake."""

    kind: str
    trace: str


def attempt(target: FuzzTarget, data: bytes) -> Finding | None:
    """None where all is well. Time is only limited where there are alarms."""
    try:
        with _limited():
            target.try_bytes(data)
    except OmniLMMError as error:
        try:
            check_line(str(error))
        except LineError as wrong:
            return _finding(wrong, error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        return _finding(error, error)
    return None


def check_line(text: str) -> None:
    """LineError unless the text of an error is one line that a terminal can show."""
    if not text or not text.isprintable():
        raise LineError(f"not one line that can be shown: {text[:200]!r}")
    if len(text) > LONGEST:
        raise LineError(f"{len(text)} characters: {text[:200]!r}")


def _finding(wrong: BaseException, raised: BaseException) -> Finding:
    frames = traceback.extract_tb(raised.__traceback__)
    ours = [frame for frame in frames if _is_own(frame.filename)] or list(frames)
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "nowhere"
    trace = "".join(traceback.format_exception(raised))
    return Finding(f"{type(wrong).__name__} at {where}", f"{wrong!r:.400}\n{trace}")


def _is_own(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in OWN


@contextmanager
def _limited() -> Iterator[None]:
    if sys.platform != "win32":
        before = signal.signal(signal.SIGPROF, _stop)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooLongError(f"more than {SECONDS} s")
