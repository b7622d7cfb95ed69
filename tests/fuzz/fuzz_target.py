"""A parser to be fuzzed: a module with `try_bytes`, `seeds` and `FORM`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzz import bundles, checkpoints, inputs
from tests.fuzz.form import Form

ROOMS = (bundles, checkpoints, inputs)


@dataclass(frozen=True)
class FuzzTarget:
    """`try_bytes` gives the parser a file's bytes and may raise OmniLMMError alone; `seeds` are files that it takes."""

    name: str
    try_bytes: Callable[[bytes], None]
    seeds: Sequence[bytes]
    form: Form


def target_modules() -> dict[str, str]:
    """Name of each target -> its module's."""
    found = (module for room in ROOMS for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."))
    return {module.name.rpartition(".")[2]: module.name for module in found}


def load_target(name: str) -> FuzzTarget:
    """KeyError for an unknown name. Imports what the parser needs, torch among it."""
    module = importlib.import_module(target_modules()[name])
    return FuzzTarget(name, module.try_bytes, tuple(module.seeds()), module.FORM)
