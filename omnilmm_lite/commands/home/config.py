"""`omnilmm-lite config`: every setting, what it is and where that comes from."""

from __future__ import annotations

import argparse
import json
import os
import sys

from omnilmm_lite.commands.home.in_use import settings_in_force
from omnilmm_lite.files.printable import printable


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows each setting with where it comes from: a variable, else a line of the settings file, else the default. "
        "An option of a command goes before all of them. The file is TOML: threads = 4"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(command=config)


def config(args: argparse.Namespace) -> None:
    """Prints all settings. InputError where one can't be."""
    from omnilmm_lite.home.folder import settings_file
    from omnilmm_lite.home.models import DEFAULT, ModelStore
    from omnilmm_lite.home.settings import SETTINGS, Found, Origin, unknown_variables

    file, store = settings_file(), ModelStore.here()
    found = settings_in_force({})
    if found["model"].value is None and (name := store.default()) is not None:
        found["model"] = Found(name, Origin.FILE, str(store.home / DEFAULT))
    for line in unknown_variables(os.environ):
        print(line, file=sys.stderr)
    if args.json:
        rows = {key: {"value": each.value, "origin": each.origin.name.lower(), "where": each.where}
                for key, each in found.items()}  # fmt: skip
        print(json.dumps({"file": str(file), "settings": rows}, ensure_ascii=False))
        return
    there = "" if file.is_file() else ", not there yet"
    print(f"settings file: {file}{there}")
    for setting in SETTINGS:
        each = found[setting.key]
        value = OPEN.get(setting.key, "the model's own") if each.value is None else _shown(each.value)
        print(f"{setting.key:<20} {value:<20} {each.where:<12} {setting.variable}")


OPEN = {  # what holds where a setting is left to the command
    "model": "tiny",
    "threads": "one a core",
    "context": "4096 at most",
    "seed": "drawn anew",
    "api-key-file": "none",
}


def _shown(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else printable(str(value), None)
