"""A model before it is loaded: a bundle, or a checkpoint from which the torch engine answers.

Heavy imports happen inside: commands import this when the parser is built.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, Protocol, TypedDict

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.weights import Weights

if TYPE_CHECKING:
    from omnilmm_lite.bundle.folder import Bundle
    from omnilmm_lite.config import OmniLMMConfig
    from omnilmm_lite.model import Model
    from omnilmm_lite.sampling_params import SamplingParams

DEFAULT_WEIGHTS = Weights.NF4


class MachineOptions(TypedDict):
    """The arguments of `omnilmm_lite.load` beside the model."""

    device: str
    context: int | None
    threads: int | None
    drafts: bool
    cuda_graph: bool
    parallel: NotRequired[int]  # 1 where it is left out
    resident: NotRequired[bool]  # False where it is left out


class ModelSource(Protocol):
    """What can be loaded, and what is known before: `identity` changes with every file of it."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def config(self) -> OmniLMMConfig: ...

    @property
    def sampling(self) -> SamplingParams: ...

    def load(self, options: MachineOptions) -> Model:
        """Raises what `omnilmm_lite.load` raises."""
        ...


# A checkpoint's folder and what its decoder is to be kept in -> the model. The runtime knows no checkpoints.
OpenCheckpoint = Callable[[Path, Weights], ModelSource]


@dataclass(frozen=True)
class BundleSource:
    """`given`: as `load` takes it."""

    given: str | Path | None
    bundle: Bundle

    @property
    def name(self) -> str:
        return self.bundle.manifest.name

    @property
    def identity(self) -> str:
        return self.bundle.identity

    @property
    def config(self) -> OmniLMMConfig:
        return self.bundle.manifest.config

    @property
    def sampling(self) -> SamplingParams:
        return self.bundle.manifest.sampling

    def load(self, options: MachineOptions) -> Model:
        from omnilmm_lite.model import load

        return load(self.given, **options)


def find_source(model: str | Path | None, weights: Weights | None, open_checkpoint: OpenCheckpoint) -> ModelSource:
    """The bundle or checkpoint in a folder, or the built-in model: see `Bundle.find`. `weights`: for a checkpoint;
    None leaves the choice to us. InputError where there is neither, or where a bundle is to have other weights."""
    from omnilmm_lite.bundle.folder import Bundle
    from omnilmm_lite.home.chosen_model import is_builtin, is_there

    if model is not None and not is_builtin(model):
        folder = Path(os.path.expanduser(model))  # noqa: PTH111  # raises nothing for unknown users
        if not is_there(folder):
            raise InputError(
                f"{printable(str(model), None)}: there is no such bundle folder, and no model of that name; "
                "`omnilmm-lite models` lists yours, `omnilmm-lite setup` gets one"
            )
        if _is_checkpoint(folder):
            return open_checkpoint(folder, weights or DEFAULT_WEIGHTS)
    bundle = Bundle.find(model)
    if weights is not None:
        raise InputError(
            f"--weights {weights.value}: it is for a checkpoint, and {bundle.manifest.name} is a bundle, which has its "
            "weights from conversion; leave it out, or name a checkpoint's folder"
        )
    return BundleSource(model, bundle)


def _is_checkpoint(folder: Path) -> bool:
    from omnilmm_lite.bundle.manifest import MANIFEST

    try:
        return (folder / "config.json").is_file() and not (folder / MANIFEST).is_file()
    except (OSError, ValueError):  # too long a name, or one with a zero character
        return False
