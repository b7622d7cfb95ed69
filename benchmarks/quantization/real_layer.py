"""One decoder layer of OmniLMM-12B's real shape through the whole quantizer: time and memory, on random weights.

`python -m benchmarks.quantization.real_layer --work FOLDER`. What it computes is meaningless; what it takes is not. All
layers are alike, so the whole decoder takes 32 times the time, and no more memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.quantization.cpu_time import cpu_seconds
from export.reference.layerwise import Module
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.keys import decoder_keys
from omnilmm_lite.machine.memory import peak_rss_bytes
from quantize.calibration.embedded_sequences import Calibration, EmbeddedSequence
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.report import ProjectionReport
from quantize.gptq.settings import GPTQSettings

LAYERS = 32
GB = 1e9


@dataclass(frozen=True)
class RandomDecoder:
    """Tensors by name, drawn when asked for: the same ones each time."""

    config: OmniLMMConfig

    def fingerprint(self) -> str:
        return "random"

    def tensor(self, name: str) -> Tensor:
        shape = decoder_keys(self.config.decoder)[name]
        generator = torch.Generator().manual_seed(sum(name.encode()))
        if name.endswith("norm.weight"):
            return 1 + 0.1 * torch.randn(shape, generator=generator)
        return torch.randn(shape, generator=generator).mul_(shape[-1] ** -0.5)

    def module(self, module: Module, prefix: str) -> Module:
        module.load_state_dict({name: self.tensor(f"{prefix}.{name}") for name in module.state_dict()}, assign=True)
        return module


def embeddings(seed: int, tokens: int, hidden_size: int) -> Tensor:
    """(1, tokens, hidden): a few directions and channels much stronger than the rest, as real ones have them."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(256, hidden_size, generator=torch.Generator().manual_seed(1))
    strengths = torch.logspace(0, -2, 256)
    x = (torch.randn(tokens, 256, generator=generator) * strengths) @ directions
    x += 0.05 * torch.randn(tokens, hidden_size, generator=generator)
    x[:, :4] *= 20
    return x[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="keeps the result; takes 7 GB")
    parser.add_argument("--sequences", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=512, help="of each sequence")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    file = args.work / f"result-{args.sequences}x{args.tokens}.json"
    if not file.is_file():
        write_json(file, measure(args.sequences, args.tokens, args.work / f"{args.sequences}x{args.tokens}"))
    print(json.dumps(read_json(file), indent=1))


def measure(sequences: int, tokens: int, work_dir: Path) -> dict[str, Any]:
    """A layer that was stopped half-way is begun again: what earlier runs took is not counted."""
    config = OmniLMMConfig()
    config = replace(config, decoder=replace(config.decoder, num_hidden_layers=1))
    hidden_size, text = config.decoder.hidden_size, torch.zeros(tokens, dtype=torch.bool)
    samples = [EmbeddedSequence(text, partial(embeddings, seed, tokens, hidden_size)) for seed in range(sequences)]
    data = Calibration(tuple(samples), f"random, {sequences} x {tokens}")
    shutil.rmtree(work_dir, ignore_errors=True)
    start, cpu_start = time.monotonic(), cpu_seconds()
    reached: dict[str, int] = {}

    def show(report: ProjectionReport) -> None:
        reached[report.name] = round(cpu_seconds() - cpu_start)
        print(
            f"{reached[report.name]:6} CPU seconds  {report.name}: {report.error_to_rounding:.2f} of rounding's error",
            flush=True,
        )

    quantize_decoder(QuantizationJob(RandomDecoder(config), data, GPTQSettings()), work_dir, show)
    total = cpu_seconds() - cpu_start
    shutil.rmtree(work_dir)
    return {
        "cpu_seconds_from_start": reached,
        "cpu_seconds": round(total),
        "cpu_hours_for_all_layers": round(LAYERS * total / 3600, 1),
        "seconds": round(time.monotonic() - start),
        "threads": torch.get_num_threads(),
        "peak_rss_gb": round((peak_rss_bytes() or 0) / GB, 2),
    }


if __name__ == "__main__":
    main()
