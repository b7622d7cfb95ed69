"""What `omnilmm-lite plan` asks of a checkpoint. Imports nothing heavy: the parser is built for every command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.config import OmniLMMConfig


def checkpoint_config(folder: Path) -> OmniLMMConfig:
    """The model's config from config.json, and from the weights where they are there: they know the tower's shape.

    Weights that can't be read are passed over with a word on stderr. InputError where config.json is no OmniLMM's.
    """
    from export.checkpoint.hf_config import model_config, read_config

    fields = read_config(folder)
    if not any((*folder.glob("*.safetensors"), *folder.glob("*.bin"))):
        return model_config(folder, fields, {})
    try:
        from export.checkpoint.checkpoint import Checkpoint

        return Checkpoint.open(folder).config
    except InputError as error:  # a download that isn't finished
        reason = str(error)
    except ImportError as error:
        reason = f"that needs the package {error.name}"
    print(f"the weights were not looked at, sizes follow from config.json alone: {reason}", file=sys.stderr)
    return model_config(folder, fields, {})
