"""Names of models: what a person types, and what a file system can hold."""

from __future__ import annotations

import re

from omnilmm_lite.builtin import BUILTIN_NAME
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable

LONGEST = 100  # characters; endings are put behind it
PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RECORD_ENDING = ".json"
# Windows opens a device for these, whatever ending they have. Source: Microsoft, "Naming Files, Paths, and Namespaces".
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def is_model_name(name: str) -> bool:
    """Whether a model may have this name: letters, digits, `.`, `_` and `-`, on every system."""
    lower = name.lower()
    return (
        len(name) <= LONGEST
        and PATTERN.fullmatch(name) is not None
        and not lower.endswith((".", RECORD_ENDING))
        and lower.partition(".")[0] not in DEVICES
        and lower != BUILTIN_NAME
    )


def check_model_name(name: str) -> None:
    """InputError for a name that no model may have."""
    if name.lower() == BUILTIN_NAME:
        raise InputError(f"{BUILTIN_NAME}: that is the built-in model's name; take another")
    if not is_model_name(name):
        raise InputError(
            f"{printable(name)!r} can't be a model's name: take letters, digits, '.', '_' and '-', at most {LONGEST}, "
            "such as OmniLMM-12B"
        )
