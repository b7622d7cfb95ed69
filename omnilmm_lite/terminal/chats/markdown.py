"""A conversation as Markdown, with its picture in a file beside it."""

from __future__ import annotations

import datetime
import io
import os
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from omnilmm_lite.errors import InputError
from omnilmm_lite.files import durable_file
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.picture.preprocess import square_of
from omnilmm_lite.terminal.chats.transcript import Transcript

SUFFIX = ".md"
SUFFIXES = (SUFFIX, ".markdown", ".txt")


def as_markdown(transcript: Transcript, picture: tuple[str, str] | None) -> str:
    """Questions as quotations, answers as they are. `picture`: what it is called, and its file's name beside this."""
    parts = [f"# A conversation with {transcript.model}"]
    if picture is not None:
        name, file = picture
        parts.append(f"![{_escaped(name)}]({quote(file)})")
    if transcript.system is not None:
        parts.append(f"*The model was told first:* {_escaped(transcript.system)}")
    for turn in transcript.turns:
        parts += [_quoted(turn.question), turn.answer.strip() or "*(nothing)*"]
    return "\n\n".join(parts) + "\n"


def free_name(now: datetime.datetime) -> Path:
    """A file's name in the current folder that nothing has yet."""
    stem = f"chat-{now:%Y-%m-%d-%H%M}"
    numbers = ["", *(f"-{number}" for number in range(2, 1000))]
    names = (Path(f"{stem}{number}{SUFFIX}") for number in numbers)
    return next((path for path in names if not os.path.lexists(path)), Path(f"{stem}{SUFFIX}"))


def write_markdown(transcript: Transcript, path: Path, picture: tuple[str, str, bytes] | None) -> Path | None:
    """Writes the conversation to `path` and the picture beside it, whose path comes back; neither replaces anything.

    `picture`: what it is called, its file's ending, and what the file holds. InputError where something is there
    already, or can't be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: this is no name for Markdown; name a file that ends in {SUFFIX}")
    beside = None if picture is None else path.with_name(f"{path.stem}{picture[1]}")
    if beside == path:  # a picture that is named like text
        beside = path.with_suffix(".picture")
    for each in filter(None, (path, beside)):
        if os.path.lexists(each):
            raise InputError(f"{each}: this is there already; name another file")
    try:
        if picture is None or beside is None:
            durable_file.write_text(path, as_markdown(transcript, None))
            return None
        name, _, data = picture
        durable_file.write_durably(beside, lambda partial: partial.write_bytes(data))
        durable_file.write_text(path, as_markdown(transcript, (name, beside.name)))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: the conversation can't be written there: {reason}; name another file") from None
    return beside


def as_seen(image: PreparedImage) -> bytes:
    """A PNG file of what the model sees, in the picture's own proportions again."""
    square = square_of(image.pixels)
    width, height = image.size
    scale = square.width / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    file = io.BytesIO()
    square.resize(size, Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


def _escaped(text: str) -> str:
    """What is a name, not Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#!|" else letter for letter in " ".join(text.split()))
