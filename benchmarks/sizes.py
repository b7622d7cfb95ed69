"""How large OmniLMM-12B's bundles are, computed from the published shapes: `python -m benchmarks.sizes`.

Counts weights and KV cache, byte by byte; what an engine needs beside them (activations, arenas) is not in it.
"""

from __future__ import annotations

import math

from export.keys import decoder_keys, resampler_keys, vision_keys
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.model import DEFAULT_CONTEXT
from omnilmm_lite.precision import Precision
from omnilmm_lite.presets import PRESETS, Preset

GROUP_SIZE = 128
GIB = 2**30


def decoder_bytes(config: OmniLMMConfig, preset: Preset, *, loaded: bool) -> int:
    """Linear layers in 4 bits with a scale and a zero point a group, where the preset quantizes; the rest as floats."""
    total = 0
    for name, shape in decoder_keys(config.decoder).items():
        if "embed_tokens" in name:
            continue
        values = math.prod(shape)
        if preset.quantized and "_proj" in name:
            groups = values // GROUP_SIZE
            total += values // 2 + groups * preset.decoder.compute.numpy.itemsize + groups // 2
        else:
            total += values * item_size(preset.decoder, loaded=loaded)
    return total


def item_size(precision: Precision, *, loaded: bool) -> int:
    return (precision.compute if loaded else precision.storage).numpy.itemsize


def main() -> None:
    config = OmniLMMConfig()
    vision = sum(map(math.prod, vision_keys(config.vision).values()))
    resampler = sum(map(math.prod, resampler_keys(config.resampler).values()))
    table = config.decoder.vocab_size * config.decoder.hidden_size
    columns = ["preset", "tower", "resampler", "decoder", "KV cache", "loaded", "embeddings (mapped)", "on disk"]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for preset in PRESETS.values():
        cache = 2 * config.decoder.num_hidden_layers * config.decoder.kv_dim * DEFAULT_CONTEXT
        loaded = [
            vision * item_size(preset.vision, loaded=True),
            resampler * item_size(preset.resampler, loaded=True),
            decoder_bytes(config, preset, loaded=True),
            cache * item_size(preset.decoder, loaded=True),
        ]
        embeddings = table * item_size(preset.decoder, loaded=False)
        disk = vision * item_size(preset.vision, loaded=False) + resampler * item_size(preset.resampler, loaded=False)
        disk += decoder_bytes(config, preset, loaded=False) + embeddings
        row = [f"{size / GIB:.2f}" for size in (*loaded, sum(loaded), embeddings, disk)]
        print(f"| `{preset.name}` | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
