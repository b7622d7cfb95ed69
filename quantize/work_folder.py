"""Where a long quantization keeps what it has finished, so that it can be killed at any moment and go on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.checked_file import is_usable, remove_checked, write_checksum
from omnilmm_lite.files.durable_file import write_durably, write_json
from omnilmm_lite.files.json_file import read_json

T = TypeVar("T")

DATA = ("checkpoint", "calibration", "calibration_data")  # stand for data: their hashes tell nobody anything
FORMAT = "work_format"  # the argument that a change of the code changes
ARGUMENTS = "arguments.json"  # all that the result depends on
DROPPED = ("device",)  # known to earlier versions: what it changes is the order of sums
OPTIONS = "options.json"  # what was chosen, which tells a change hours before the arguments are known


@dataclass(frozen=True)
class WorkFolder:
    """Every file appears whole or not at all, but for the log, which is for people."""

    path: Path

    @property
    def has_begun(self) -> bool:
        """The arguments are settled: from here on a run can only go on with the same ones."""
        return (self.path / ARGUMENTS).is_file()

    @property
    def gptq(self) -> Path:
        """The finished GPTQ checkpoint."""
        return self.path / "gptq"

    @property
    def plain(self) -> Path:
        """The tensors that stay as they are."""
        return self.path / "plain.safetensors"

    def tensors(self, layer: int) -> Path:
        """A finished layer; written last, so if it is there the layer is finished."""
        return self.path / f"layer-{layer:03}.safetensors"

    def report(self, layer: int) -> Path:
        return self.path / f"layer-{layer:03}.json"

    def log(self, record: Mapping[str, Any]) -> None:
        """Adds a line to log.jsonl."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def check_arguments(self, arguments: Mapping[str, Any], outdated: Container[int] = ()) -> bool:
        """Remembers the arguments at the first run; InputError, naming them, if a later run brings others.

        True where they differ in nothing but the `work_format`, and that is one of `outdated`: what is there has to be
        made again, see `begin_again`.
        """
        file = self.path / ARGUMENTS
        if not file.is_file():
            write_json(file, arguments)
            return False
        before = read_json(file, self._advice)
        is_outdated = before.get(FORMAT) in outdated
        names = before.keys() | arguments.keys()
        self._compare(before, arguments, names - {FORMAT} if is_outdated else names)
        return is_outdated

    def begin_again(self, arguments: Mapping[str, Any]) -> None:
        """Removes everything, the arguments last, so that a run that is killed here begins again as well."""
        for file in sorted(self.path.iterdir(), key=lambda file: file.name == ARGUMENTS):
            file.unlink()
        write_json(self.path / ARGUMENTS, arguments)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """InputError, naming them, for options that can't come to the arguments that the folder was begun with.

        Remembers nothing: until a run has begun, options may change. One that an older version has begun knows few of
        them; `check_arguments` finds the rest.
        """
        before: dict[str, Any] = {}
        for name in (ARGUMENTS, OPTIONS):
            if (self.path / name).is_file():
                before |= read_json(self.path / name, self._advice if name == ARGUMENTS else "remove the file")
        self._compare(before, options, before.keys() & options.keys())

    def remember_options(self, options: Mapping[str, Any]) -> None:
        """Keeps the options for `check_options`, once `check_arguments` has agreed to what they come to."""
        write_json(self.path / OPTIONS, options)

    @property
    def _advice(self) -> str:
        """What to do where it can't be known any more what the folder was begun with."""
        return f"remove {shlex.quote(str(self.path))}, or name another work folder"

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any], names: set[str]) -> None:
        changed = _changed(before, now, names - {*DROPPED})
        if changed:
            listed = "; ".join(_difference(name, before, now) for name in changed)
            raise InputError(
                f"{self.path} holds a run with other arguments ({listed}); use those, or another work folder"
            )


def write_kept(path: Path, data: Mapping[str, Any]) -> None:
    """A JSON file for a run that goes on with it, with a checksum beside it."""

    def write(partial: Path) -> None:
        partial.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        write_checksum(path, partial)

    write_durably(path, write)


def read_kept(path: Path, parse: Callable[[dict[str, Any]], T], on_repair: Callable[[str], None]) -> T | None:
    """What `parse` makes of a file of `write_kept`; None where it isn't there.

    None as well where it is damaged, or `parse` raises InputError: it is removed then, and `on_repair` gets a line.
    """
    if not path.is_file():
        return None
    try:
        if is_usable(path):  # versions before wrote no checksums
            return parse(read_json(path))
    except InputError:
        pass
    remove_checked(path)
    on_repair(f"{path}: the file is damaged; making it again")
    return None


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], names: set[str]) -> list[str]:
    return sorted(name for name in names if before.get(name) != now.get(name))


def _difference(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if name in DATA:
        return f"{name}: other data"
    there, here = before.get(name), now.get(name)
    if isinstance(there, Mapping) and isinstance(here, Mapping):  # may have hundreds of entries
        changed = _changed(there, here, there.keys() | here.keys())
        return f"{name}: {len(changed)} entries differ, such as {_difference(changed[0], there, here)}"
    return f"{name}: {_shown(there)} there, {_shown(here)} here"


def _shown(value: object) -> object:
    return "not given" if value is None else value
