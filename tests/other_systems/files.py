"""What other systems refuse of files, refused here by an audit hook (PEP 578), which hears what Python does to them.

Nowhere but on Linux are there /proc and /sys. Windows moves and removes no file that is open or mapped, writes none
anew that is mapped, and has names that no file can have.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

Arguments: TypeAlias = tuple[Any, ...]
Check: TypeAlias = Callable[[str, Arguments], None]

# learn.microsoft.com, "Naming Files, Paths, and Namespaces"
RESERVED = re.compile(r'.*([<>:"|?*\\\x00-\x1f].*|[. ])|(con|prn|aux|nul|(com|lpt)[1-9])(\..*)?', re.I | re.DOTALL)


def refuse_files(platform: str) -> None:
    """For the rest of this process."""
    checks: tuple[Check, ...] = (_check_system,)
    if platform == "win32":
        checks += (_check_use, _check_name)
    looking = threading.local()  # a check looks at files itself

    def hook(event: str, arguments: Arguments) -> None:
        if (event != "open" and not event.startswith("os.")) or getattr(looking, "now", False):
            return
        looking.now = True
        try:
            for check in checks:
                check(event, arguments)
        finally:
            looking.now = False

    sys.addaudithook(hook)


def _paths(arguments: Arguments) -> list[Path]:
    """Of the first two; where a path is relative to an open folder, none."""
    found = [os.fsdecode(each) for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
    return [Path(each) for each in found]


def _check_system(event: str, arguments: Arguments) -> None:
    if event in ("open", "os.listdir", "os.scandir"):
        for path in _paths(arguments[:1]):
            if path.parts[:2] in (("/", "proc"), ("/", "sys")):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _check_use(event: str, arguments: Arguments) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & os.O_TRUNC:  # not a folder's: a nameless file is begun in it
            _refuse_used([each for each in _paths((path,)) if not each.is_dir()], _mapped())
    elif event == "os.rename" or (event in ("os.remove", "os.rmdir") and arguments[1] == -1):  # no open folder's
        _refuse_used(_paths(arguments), {*_opened(), *_mapped()})


def _refuse_used(paths: list[Path], used: set[Path]) -> None:
    for path in paths:
        named = path.parent.resolve() / path.name  # a link itself is what is moved
        if found := [each for each in used if each.is_relative_to(named)]:
            raise PermissionError(errno.EACCES, f"this process still uses {found[0]}", str(path))


def _opened() -> Iterator[Path]:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            yield descriptor.readlink()
        except OSError:  # the listing's own
            continue


def _mapped() -> set[Path]:
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return {Path(line[line.index("/") :]) for line in lines if "/" in line}


def _check_name(event: str, arguments: Arguments) -> None:
    made = event in ("os.mkdir", "os.rename", "os.link", "os.symlink")
    if event == "open":
        made = isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT)
    if made:
        for path in _paths(arguments)[-1:]:
            if RESERVED.fullmatch(path.name):
                raise OSError(errno.EINVAL, "no file can be called that", str(path))
