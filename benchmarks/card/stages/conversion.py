"""Decoder layers of the real shape through the whole quantizer on the device: how long one takes.

The weights are random, so what comes out means nothing; what it takes is what `convert` takes, with as much calibration
data as it has by default.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from benchmarks.card.result import number
from benchmarks.card.run import Json, Run
from benchmarks.quantization.real_layer import RandomDecoder, embeddings
from export.torch_device import TorchDevice
from omnilmm_lite.config import OmniLMMConfig
from quantize.calibration.embedded_sequences import Calibration, EmbeddedSequence
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.report import ProjectionReport
from quantize.gptq.settings import GPTQSettings

LAYERS = 2
SEQUENCES, TOKENS = 128, 512
LAST = "down_proj"  # of a layer


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """Seconds from the start at which each layer was done. InputError where torch sees no card."""
    device = TorchDevice.find(run.device.value)
    device.prepare()
    config, sequences, tokens = OmniLMMConfig(), SEQUENCES, TOKENS
    decoder = replace(config.decoder, num_hidden_layers=LAYERS)
    if run.small:
        sequences, tokens = 8, 64
        decoder = replace(
            decoder, hidden_size=512, intermediate_size=1792, num_attention_heads=4, num_key_value_heads=1
        )
    config = replace(config, decoder=decoder)
    text = torch.zeros(tokens, dtype=torch.bool)
    samples = [
        EmbeddedSequence(text, partial(embeddings, seed, tokens, decoder.hidden_size)) for seed in range(sequences)
    ]
    data = Calibration(tuple(samples), f"random, {sequences} x {tokens}")
    job = QuantizationJob(RandomDecoder(config), data, GPTQSettings(), device=device)
    started, rows = time.monotonic(), list[Json]()
    facts: Json = {
        "sequences": sequences,
        "tokens": tokens,
        "all_layers": OmniLMMConfig().decoder.num_hidden_layers,
        "hidden_size": decoder.hidden_size,
    }

    def show(report: ProjectionReport) -> None:
        rows.append(
            {
                "projection": report.name.removeprefix("model."),
                "at_s": number(time.monotonic() - started),
                "error_to_rounding": number(report.error_to_rounding),
            }
        )
        save(facts | {"rows": rows})

    quantize_decoder(job, run.scratch("gptq"), show)
    save(facts | {"rows": rows, "seconds": number(time.monotonic() - started)})
