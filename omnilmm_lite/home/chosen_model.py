"""Which model a command runs: what `--model` says, else the user's default, else the built-in one."""

from __future__ import annotations

from pathlib import Path

from omnilmm_lite.builtin import BUILTIN_NAME
from omnilmm_lite.errors import InputError
from omnilmm_lite.home.model_name import is_model_name
from omnilmm_lite.home.models import ModelStore


def choose_model(given: str | None, store: ModelStore) -> str | None:
    """What to open: of a model of the store its folder; else `given` as it is, a path or `tiny`. None, for the built-in
    model, where nothing is given and the user has no default.

    A folder goes before a name. InputError where the default is gone, or `given` can only be a name that no model has.
    """
    if given is None:
        return _default(store)
    if not given:  # a variable of the shell that isn't set
        raise InputError("the model's name is empty; give a name or a folder, or leave the option out")
    if is_there(given) or given == BUILTIN_NAME:
        return given
    if (found := store.find(given)) is not None:
        return str(found.folder)
    if is_model_name(given) and store.names():
        raise InputError(f"{store.missing(given)}; `omnilmm-lite models` lists those there are, and no folder is there")
    return given


def is_builtin(given: str | Path | None) -> bool:
    """Whether that opens the built-in model."""
    return given is None or (str(given) == BUILTIN_NAME and not is_there(given))


def _default(store: ModelStore) -> str | None:
    name = store.default()
    if name is None:
        return None
    if (model := store.find(name)) is None:
        raise InputError(
            f"{name}: the default model is gone; choose with `omnilmm-lite models default NAME`, or give --model"
        )
    return str(model.folder)


def is_there(given: str | Path) -> bool:
    """Whether there is such a file or folder; False, too, for what can't be one's name."""
    try:
        return Path(given).exists()
    except (OSError, ValueError):  # too long a name, or one with a zero character
        return False
