"""The page's file, which is there whole or not at all, and of which is known beforehand that it can be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files import durable_file

HTML = "--html"


def check_page(path: Path, option: str = HTML) -> None:
    """InputError, which begins with `option`, where `path` names no file that could be written, as far as can be known
    before there is a page."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{option}: {path} is no regular file; name one that may be overwritten")
        with tempfile.TemporaryFile(dir=_target(path).parent):  # rights alone don't say it: the disk may be read-only
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise InputError(f"{option}: {path} can't be written ({_reason(error)}); name a file elsewhere") from None


def write_page(path: Path, text: str, option: str = HTML) -> None:
    """OmniLMMError where it can't be written; the page that may be there is as it was then."""
    try:
        durable_file.write_text(_target(path), text)
    except OSError as error:
        raise OmniLMMError(f"{option}: {path} can't be written: {_reason(error)}") from None


def _target(path: Path) -> Path:
    """Where a link leads: the file is replaced, not the link to it."""
    return path.resolve()


def _reason(error: OSError | RuntimeError) -> str:
    return getattr(error, "strerror", None) or str(error)
