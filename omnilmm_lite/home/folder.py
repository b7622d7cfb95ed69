"""Where models, checkpoints and settings of this user lie: one folder, which the system names or `OMNILMM_HOME`.

Asking for a place makes nothing: who writes makes its folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from omnilmm_lite.errors import InputError

HOME_VARIABLE = "OMNILMM_HOME"


def home_folder() -> Path:
    """The absolute folder of everything below: `OMNILMM_HOME`, else the user's data folder of this system."""
    if given := os.environ.get(HOME_VARIABLE):
        return Path(os.path.abspath(os.path.expanduser(given)))  # noqa: PTH100, PTH111  # raise nothing for odd paths
    return platformdirs.user_data_path("omnilmm-lite", appauthor=False)


def make_folder(folder: Path) -> None:
    """Makes a folder of the home, where it isn't there yet. InputError where that can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: this folder can't be made ({error.strerror}); set {HOME_VARIABLE} to one that can be written"
        ) from None


def checkpoints_folder() -> Path:
    """Checkpoints as they were downloaded."""
    return home_folder() / "checkpoints"


def work_folder(name: str) -> Path:
    """What `setup` keeps of a model while it isn't finished. `name`: of the model, valid."""
    return home_folder() / "work" / name


def settings_file() -> Path:
    """What the user has set for all commands; may not be there."""
    return home_folder() / "settings.toml"
