"""Where a decoder comes from."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from export.reference.layerwise import ModuleSource
from omnilmm_lite.config import OmniLMMConfig


class DecoderSource(ModuleSource, Protocol):
    """A checkpoint, as far as calibration and quantization need one."""

    @property
    def config(self) -> OmniLMMConfig: ...

    def tensor(self, name: str) -> Tensor: ...

    def fingerprint(self) -> str: ...
