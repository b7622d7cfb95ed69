"""Where a decoder comes from."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from export.reference.streaming import ModuleSource
from omnilmm_lite.config import OmniLMMConfig


class DecoderSource(ModuleSource, Protocol):
    """What is asked of a checkpoint."""

    @property
    def config(self) -> OmniLMMConfig: ...

    def tensor(self, name: str) -> Tensor: ...

    def fingerprint(self) -> str: ...
