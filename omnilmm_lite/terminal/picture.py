"""The picture that the chat is about, and the places it may come from."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageGrab

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.reading import load_image
from omnilmm_lite.terminal.picture_path import named_file

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

    image: Image.Image  # RGB
    name: str
    path: Path | None  # None where it came from no file

    @property
    def size(self) -> str:
        return f"{self.image.width} × {self.image.height}"  # noqa: RUF001  # the sign for it


def open_picture(source: str) -> ChatPicture:
    """The picture that the argument of /image names; InputError where there is none."""
    if source == CLIPBOARD:
        return ChatPicture(_from_clipboard(), CLIPBOARD, None)
    if source == SCREEN:
        return ChatPicture(_from_screen(), SCREEN, None)
    return open_file(source)


def open_file(source: str | Path) -> ChatPicture:
    """The picture in a file; InputError where there is none."""
    path = source if isinstance(source, Path) else named_file(source)
    image = load_image(path or source)  # which says what is wrong with a name that names nothing
    path = path or Path(source)
    return ChatPicture(image, path.name, path.absolute())


def _from_clipboard() -> Image.Image:
    read = _from_program
    if sys.platform == "win32" or sys.platform == "darwin":
        read = _from_pillow  # which asks the system there
    return read()


def _from_program() -> Image.Image:
    commands = [command for command in CLIPBOARD_COMMANDS if shutil.which(command[0])]
    if not commands:
        raise InputError("clipboard: reading it needs the program wl-paste (Wayland) or xclip (X11); install one")
    for command in commands:
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # no display of its kind, or no answer
            done = subprocess.run(command, capture_output=True, timeout=CLIPBOARD_TIMEOUT_S, check=True)
            if done.stdout:
                return load_image(done.stdout)
    raise _no_picture_in_clipboard()


def _from_pillow() -> Image.Image:
    try:
        content = ImageGrab.grabclipboard()
    except Exception:  # Pillow asks the system, which has many ways to refuse
        content = None
    if isinstance(content, list) and content:  # names of copied files
        return load_image(content[0])
    if not isinstance(content, Image.Image):
        raise _no_picture_in_clipboard()
    return load_image(content)


def _no_picture_in_clipboard() -> InputError:
    return InputError("clipboard: there is no picture in it; copy one, or name a file")


def _from_screen() -> Image.Image:
    try:
        return load_image(ImageGrab.grab())
    except (OmniLMMError, MemoryError):
        raise
    except Exception:  # as above: no display, no permission, no helper program
        raise InputError("screen: this system doesn't let it be seen; save a screenshot and name the file") from None
