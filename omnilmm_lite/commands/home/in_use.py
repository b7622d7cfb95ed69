"""Settings and names of models, put into what the command line says before a command sees it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.home.settings import Found, Value

MODEL_WORDS = "model_words"  # set by a command: its arguments that take a model's name as well as a folder
FIXED_WORDS = "fixed_words"  # set by a command: its options that settings leave alone
DEMONSTRATION = "answered by tiny, the built-in demonstration model"


def fill_in(args: argparse.Namespace) -> None:
    """Options that were left open get what variables and the settings file say, and models' names become folders.

    InputError for settings that can't be, and for a name that no model has.
    """
    from omnilmm_lite.home.chosen_model import choose_model
    from omnilmm_lite.home.models import ModelStore
    from omnilmm_lite.home.settings import SETTINGS

    words = getattr(args, MODEL_WORDS, ())
    fixed = getattr(args, FIXED_WORDS, ())
    taken = [
        setting
        for setting in SETTINGS
        if setting.dest in args and setting.dest not in fixed and (setting.dest != "model" or "model" in words)
    ]
    if taken:
        given = {each.key: getattr(args, each.dest) for each in taken if getattr(args, each.dest) is not None}
        found = settings_in_force(given)
        for setting in taken:
            value = found[setting.key].value
            if setting.key not in given:
                setattr(
                    args,
                    setting.dest,
                    Path(os.path.expanduser(value)) if setting.is_path and isinstance(value, str) else value,  # noqa: PTH111
                )
    store = ModelStore.here()
    for word in words:
        named = getattr(args, word)
        if word == "model" or named is not None:
            setattr(args, word, choose_model(named, store))


def settings_in_force(flags: Mapping[str, Value]) -> dict[str, Found]:
    """This user's settings: see `read_settings`, whose errors this raises; also InputError for a device that can't be,
    with the place where it is set."""
    from omnilmm_lite.engine.placement import parse_placement
    from omnilmm_lite.home.folder import settings_file
    from omnilmm_lite.home.settings import BY_KEY, read_settings

    found = read_settings(settings_file(), os.environ, flags)
    device = found["device"]
    if "device" not in flags and device.value != BY_KEY["device"].default:
        try:
            parse_placement(str(device.value))
        except InputError as error:
            raise InputError(f"{device.where}: {error}") from None
    return found


def tell_demonstration(model: str | Path | None) -> None:
    """Says on stderr that the built-in model answers, where it does, and how to get the real one."""
    from omnilmm_lite.home.chosen_model import is_builtin
    from omnilmm_lite.terminal.wrapping import width_of, wrapped

    if is_builtin(model):
        more = "; `omnilmm-lite setup` gets the real one" if model is None else ""
        print(wrapped(f"{DEMONSTRATION}{more}", width_of(sys.stderr)), file=sys.stderr)
