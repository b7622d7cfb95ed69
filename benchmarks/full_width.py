"""OmniLMM-12B's shapes with fewer blocks and layers: every weight as large as the real one, in seconds, not minutes."""

from __future__ import annotations

from dataclasses import replace

from omnilmm_lite.config import OmniLMMConfig


def sized(layers: int, blocks: int) -> OmniLMMConfig:
    """`layers` of the decoder, `blocks` of the vision tower."""
    config = OmniLMMConfig()
    return replace(
        config,
        vision=replace(config.vision, num_hidden_layers=blocks),
        decoder=replace(config.decoder, num_hidden_layers=layers),
    )
