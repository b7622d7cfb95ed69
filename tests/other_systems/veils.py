"""The standard library as this project's modules would see it on another system.

Only their own imports are looked at: Python itself and other packages go on with what this system has.
"""

from __future__ import annotations

import builtins
import errno
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.other_systems.stubs import defined, lacking

OWN = ("omnilmm_lite", "export", "quantize", "cli")
NO_STUB = {"win32": ("curses", "_curses")}  # whose stubs don't say so


def veil(module: ModuleType, lacking: frozenset[str], replaced: Mapping[str, Any]) -> Any:
    """A stand-in for a module, without the names in `lacking`, and with others in place of its own.

    What a test puts there stays.
    """
    whole = {name: getattr(module, name, None) for name in replaced}

    class Veil:
        __slots__ = ()  # its `__dict__` is the module's: who patches a name finds what was there

        def __getattr__(self, name: str) -> Any:
            if name in lacking:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}", name=name)
            if name in replaced and getattr(module, name, None) is whole[name]:
                return replaced[name]
            return getattr(module, name)

        def __setattr__(self, name: str, value: object) -> None:
            setattr(module, name, value)

    return Veil()


def draw_veils(platform: str, own: Sequence[str] = OWN) -> None:
    """For the rest of this process, and whatever in the packages `own` is imported from now on."""
    assert not {*OWN} & {*sys.modules}, "the project is imported already"
    veils: dict[str, Any] = {}
    whole = builtins.__import__

    def import_there(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        importer = str((globals or {}).get("__name__", "")).partition(".")[0]
        if importer in own and _is_absent(name, platform):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = whole(name, globals, locals, fromlist, level)
        if importer not in own:
            return module
        found = getattr(module, "__name__", "")  # "": what a test puts in a module's place may have none
        replaced = {"platform": platform} if module is sys else REPLACED.get(platform, {}).get(found, {})
        if not replaced and not lacking(found, platform):
            return module
        return veils.setdefault(found, veil(module, lacking(found, platform), replaced))

    builtins.__import__ = import_there


def _is_absent(module: str, platform: str) -> bool:
    there = [name for name in defined(module, platform) if not name.startswith("_")]
    return module in NO_STUB.get(platform, ()) or (not there and bool(lacking(module, platform)))


# ---- what other systems have under the same name, but otherwise ----


def _open(path: str | bytes | os.PathLike[Any], flags: int, mode: int = 0o777) -> int:
    if Path(os.fsdecode(path)).is_dir():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return os.open(path, flags, mode)


def _fsync(file: int) -> None:
    os.write(file, b"")  # fails where the file was opened to be read alone: FlushFileBuffers wants more
    os.fsync(file)


def _refused(*_: object) -> None:
    raise AssertionError("on Windows this would begin a new process and end this one")


def _getrusage(who: int) -> SimpleNamespace:
    found = 0
    if sys.platform != "win32":
        import resource

        found = 1024 * resource.getrusage(who).ru_maxrss  # macOS counts bytes
    return SimpleNamespace(ru_maxrss=found)


REPLACED: Mapping[str, Mapping[str, Mapping[str, Callable[..., Any] | int]]] = {
    "darwin": {"resource": {"getrusage": _getrusage}},
    "win32": {
        "os": {"open": _open, "fsync": _fsync, "execve": _refused, "execv": _refused},
        "socket": {"SO_EXCLUSIVEADDRUSE": socket.SO_REUSEADDR},
        "subprocess": {"CREATE_NEW_PROCESS_GROUP": 0},  # any other is refused here
    },
}
