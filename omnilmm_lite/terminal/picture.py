"""The picture that the chat is about, and the places it may come from."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageGrab

from omnilmm_lite.config import VisionConfig
from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile, picture_file
from omnilmm_lite.picture.prepared_image import PreparedImage, prepare
from omnilmm_lite.terminal.chats.markdown import as_seen
from omnilmm_lite.terminal.paths.readings import named_file
from omnilmm_lite.terminal.waiting_line import value_of

CLIPBOARD = "clipboard"
SCREEN = "screen"
CLIPBOARD_TIMEOUT_S = 10
# Run here rather than by Pillow, which would open what they give in any format, those that run programs too.
CLIPBOARD_COMMANDS = (
    ("wl-paste", "--no-newline", "--type", "image/png"),
    ("xclip", "-selection", "clipboard", "-target", "image/png", "-out"),
)


@dataclass(frozen=True, eq=False)
class ChatPicture:
    """A picture as it was when it was named: what the file does afterwards changes nothing."""

    image: PreparedImage
    name: str
    path: Path | None  # None where it came from no file

    @property
    def size(self) -> str:
        width, height = self.image.size
        return f"{width} × {height}"  # noqa: RUF001  # the sign for it


class PictureOpener:
    """Pictures for one tower. A file is decoded by a process of its own, which Ctrl-C ends; until then a line says so.

    What is said of `open`, and what it raises, holds of all: InputError where there is no picture.
    """

    def __init__(self, decoding: DecodingProcess, config: VisionConfig) -> None:
        self._decoding, self._config = decoding, config

    def makes_the_same_as(self, other: PictureOpener) -> bool:
        return self._config.image_size == other._config.image_size

    def open(self, source: str) -> ChatPicture:
        """The picture that the argument of /image names: a file, `clipboard` or `screen`."""
        if source == CLIPBOARD:
            return ChatPicture(self._prepared(_from_clipboard()), CLIPBOARD, None)
        if source == SCREEN:
            return ChatPicture(self._prepared(_from_screen()), SCREEN, None)
        return self.open_file(source)

    def open_file(self, source: str | Path) -> ChatPicture:
        """The picture in a file."""
        path = source if isinstance(source, Path) else named_file(source)
        file = picture_file(path or source)  # which says what is wrong with a name that names nothing
        path = path or Path(source)
        return ChatPicture(self._prepared(file), path.name, path.absolute())

    def open_bytes(self, file: PictureFile) -> ChatPicture:
        """The picture in what was read from somewhere."""
        return ChatPicture(self._prepared(file), file.label, None)

    def file_of(self, picture: ChatPicture) -> tuple[str, bytes]:
        """The ending and the bytes of a file that holds the picture: its own where that hasn't changed since, else one
        of what the model sees."""
        if picture.path is not None:
            with contextlib.suppress(InputError):
                file = picture_file(picture.path)
                if self._prepared(file).pixel_hash == picture.image.pixel_hash:
                    return picture.path.suffix, file.data
        return ".png", as_seen(picture.image)

    def _prepared(self, picture: PictureFile | Image.Image) -> PreparedImage:
        if isinstance(picture, Image.Image):  # pixels from the system, which nothing is left to decode of
            return prepare(picture, self._config)

        def decode() -> PreparedImage:
            with ended_by(self._decoding.kill):
                return self._decoding.prepare(picture, self._config)

        return value_of(decode, "reading the picture")


def _from_clipboard() -> PictureFile | Image.Image:
    read: Callable[[], PictureFile | Image.Image] = _from_program
    if sys.platform == "win32" or sys.platform == "darwin":
        read = _from_pillow  # which asks the system there
    return read()


def _from_program() -> PictureFile:
    commands = [command for command in CLIPBOARD_COMMANDS if shutil.which(command[0])]
    if not commands:
        raise InputError("clipboard: reading it needs the program wl-paste (Wayland) or xclip (X11); install one")
    for command in commands:
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # no display of its kind, or no answer
            done = subprocess.run(command, capture_output=True, timeout=CLIPBOARD_TIMEOUT_S, check=True)
            if done.stdout:
                return picture_file(done.stdout)
    raise _no_picture_in_clipboard()


def _from_pillow() -> PictureFile | Image.Image:
    try:
        content = ImageGrab.grabclipboard()
    except Exception:  # Pillow asks the system, which has many ways to refuse
        content = None
    if isinstance(content, list) and content:  # names of copied files
        return picture_file(content[0])
    if not isinstance(content, Image.Image):
        raise _no_picture_in_clipboard()
    return content


def _no_picture_in_clipboard() -> InputError:
    return InputError("clipboard: there is no picture in it; copy one, or name a file")


def _from_screen() -> Image.Image:
    try:
        return ImageGrab.grab()
    except MemoryError:
        raise
    except Exception:  # as above: no display, no permission, no helper program
        raise InputError("screen: this system doesn't let it be seen; save a screenshot and name the file") from None
