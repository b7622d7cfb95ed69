"""What people set for every command: a flag, else a variable, else the settings file, else the default.

The settings file is TOML, a line a setting, by the options' own names: `threads = 4`, `top-p = 0.8`.
"""

from __future__ import annotations

import dataclasses
import datetime
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import shown
from omnilmm_lite.files.printable import printable
from omnilmm_lite.files.regular_file import read_regular
from omnilmm_lite.home.folder import HOME_VARIABLE
from omnilmm_lite.machine.threads import MOST_THREADS
from omnilmm_lite.sampling_params import SEEDS, SamplingParams

PREFIX = "OMNILMM_"
API_KEY_VARIABLE = "OMNILMM_API_KEY"  # the key itself, which no file of settings should hold
OTHER_VARIABLES = (HOME_VARIABLE, API_KEY_VARIABLE)
SWITCH_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

MAX_BYTES = 1 << 20  # of the file
Value = bool | int | float | str


class Kind(Enum):
    """What a value is, as an error says it."""

    TEXT = "a text"
    WHOLE = "a whole number"
    NUMBER = "a number"
    SWITCH = "true or false"


class Origin(Enum):
    """Where a value comes from; a larger one goes before a smaller one."""

    DEFAULT = 0
    FILE = 1
    VARIABLE = 2
    FLAG = 3


@dataclass(frozen=True)
class Found:
    """A value, and where it was found. `where`: the variable or the file, for people. None: left to the command."""

    value: Value | None
    origin: Origin
    where: str


@dataclass(frozen=True)
class Setting:
    """`key`: in the file; the option is the same with two dashes before it. `rival`: another setting, which this one
    gives way to where that was set nearer to the command. `in_file`: False where the file isn't the place for it.
    `is_path`: the text is a file's, from where the command is given; `~` is the user's own folder."""

    key: str
    kind: Kind
    default: Value | None = None
    rival: str | None = None
    in_file: bool = True
    is_path: bool = False
    check: Callable[[Any], object] = lambda value: None  # InputError for what is out of range

    @property
    def dest(self) -> str:
        """Its name in what argparse gives."""
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        return PREFIX + self.dest.upper()


def _sampling(name: str) -> Callable[[Any], object]:
    return lambda value: dataclasses.replace(SamplingParams(), **{name: value})


def _at_least(lowest: int, highest: int | None = None) -> Callable[[Any], object]:
    def check(value: int) -> None:
        if value < lowest or (highest is not None and value > highest):
            wanted = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
            raise InputError(f"{value} is out of range; give {wanted}")

    return check


SETTINGS = (
    Setting("model", Kind.TEXT, in_file=False),
    Setting("device", Kind.TEXT, "auto"),
    Setting("threads", Kind.WHOLE, check=_at_least(1, MOST_THREADS)),
    Setting("context", Kind.WHOLE, check=_at_least(1)),
    Setting("drafts", Kind.SWITCH, False),
    Setting("cuda-graph", Kind.SWITCH, False),
    Setting("resident", Kind.SWITCH, False),
    Setting("keep-chats", Kind.SWITCH, True),
    Setting("greedy", Kind.SWITCH, False, rival="temperature"),
    *(
        Setting(name.replace("_", "-"), kind, check=_sampling(name))
        for name, kind in (
            ("temperature", Kind.NUMBER),
            ("top_p", Kind.NUMBER),
            ("top_k", Kind.WHOLE),
            ("min_p", Kind.NUMBER),
            ("repetition_penalty", Kind.NUMBER),
            ("presence_penalty", Kind.NUMBER),
            ("frequency_penalty", Kind.NUMBER),
            ("seed", Kind.WHOLE),
            ("max_new_tokens", Kind.WHOLE),
        )
    ),
    Setting("host", Kind.TEXT, "127.0.0.1"),
    Setting("port", Kind.WHOLE, 8000, check=_at_least(0, 65535)),
    Setting("api-key-file", Kind.TEXT, rival="api-key", is_path=True),
)
BY_KEY = {setting.key: setting for setting in SETTINGS}


def read_settings(file: Path, environment: Mapping[str, str], flags: Mapping[str, Value]) -> dict[str, Found]:
    """Key -> what holds of it, all of SETTINGS. `flags`: by key, what the command line says.

    InputError, in one line with file or variable and key, for an unknown key or a value that the setting can't have.
    """
    written = _read_file(file)
    found: dict[str, Found] = {}
    for setting in SETTINGS:
        key, variable = setting.key, setting.variable
        if key in flags:
            found[key] = Found(flags[key], Origin.FLAG, f"--{key}")
        elif environment.get(variable, "") != "":  # an empty variable is as good as none
            value = _parse(setting, environment[variable])
            found[key] = Found(_checked(setting, value, variable), Origin.VARIABLE, variable)
        elif key in written:
            found[key] = Found(_checked(setting, written[key], f"{file}: {key}"), Origin.FILE, str(file))
        else:
            found[key] = Found(setting.default, Origin.DEFAULT, "default")
    key_origin = Origin.VARIABLE if environment.get(API_KEY_VARIABLE) is not None else Origin.DEFAULT
    origins = {key: each.origin for key, each in found.items()} | {"api-key": key_origin}
    for setting in SETTINGS:
        if setting.rival is not None and origins[setting.rival].value > origins[setting.key].value:
            where = (
                f"default: {setting.rival} is set nearer" if origins[setting.key] is not Origin.DEFAULT else "default"
            )
            found[setting.key] = Found(setting.default, Origin.DEFAULT, where)
    return found


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A line for each variable that begins like ours and means nothing, with the nearest that does."""
    known = [*(setting.variable for setting in SETTINGS), *OTHER_VARIABLES]
    names = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    return [f"{printable(name)}: there is no such variable{_nearest(name, known)}" for name in names]


def _read_file(file: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(read_regular(file, MAX_BYTES).decode("utf-8-sig"))  # some editors put a mark in front
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{file}: the settings can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # no TOML, bad UTF-8, endless digits, endless nesting
        raise InputError(
            f"{file}: this is no TOML ({printable(str(error))}); write settings like threads = 4"
        ) from None
    for key, value in data.items():
        if key not in BY_KEY:
            hint = "; settings stand in no table" if isinstance(value, dict) else _nearest(key, list(BY_KEY))
            raise InputError(f"{file}: {printable(key) or repr(key)}: there is no such setting{hint}")
        if not BY_KEY[key].in_file:
            raise InputError(f"{file}: {key}: the file is not the place for it; use `omnilmm-lite models default NAME`")
    return data


def _nearest(name: str, known: Sequence[str]) -> str:
    by_letters = {_letters(each): each for each in known}
    close = get_close_matches(_letters(name), by_letters, n=1)
    return f"; did you mean {by_letters[close[0]]}?" if close else "; `omnilmm-lite config` lists them"


def _letters(name: str) -> str:
    """What of a name may be mistyped: not what all variables begin with."""
    return name.removeprefix(PREFIX).lower().replace("_", "-")


def _parse(setting: Setting, text: str) -> Value:
    """A variable's text as the setting's kind; left a text where it can't be, for `_checked` to refuse."""
    try:
        if setting.kind is Kind.SWITCH:
            return SWITCH_WORDS.get(text.lower(), text)
        if setting.kind is Kind.WHOLE:
            return int(text)
        return float(text) if setting.kind is Kind.NUMBER else text
    except ValueError:
        return text


def _checked(setting: Setting, value: Any, where: str) -> Value:
    types: dict[Kind, tuple[type, ...]] = {
        Kind.TEXT: (str,), Kind.WHOLE: (int,), Kind.NUMBER: (int, float), Kind.SWITCH: (bool,)
    }  # fmt: skip
    if isinstance(value, int) and abs(value) > SEEDS:  # Python refuses to write thousands of digits
        raise InputError(f"{where}: a number of more than 20 digits is out of range; give a smaller one")
    is_kind = isinstance(value, types[setting.kind]) and isinstance(value, bool) == (setting.kind is Kind.SWITCH)
    if not is_kind:
        raise InputError(f"{where}: {_as_written(value)} is not {setting.kind.value}")
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise InputError(f"{where}: {_as_written(value)} can't be; leave it out, or give one that can")
    try:
        setting.check(value)
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix(f'{setting.dest}: ')}") from None
    result: Value = value
    return result


def _as_written(value: Any) -> str:
    """A value for an error: as TOML has it, not Python."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, datetime.date | datetime.time) else shown(value)
