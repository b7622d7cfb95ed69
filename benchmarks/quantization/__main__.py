"""Evidence about the quantizer: `python -m benchmarks.quantization --work FOLDER` (see docs/quantization.md).

Each variant's result is kept in the work folder, so that the run may be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.quantization import bitsandbytes_formats
from benchmarks.quantization.cpu_time import CpuClock
from benchmarks.quantization.evaluation import Evaluation, Result, Weights
from benchmarks.quantization.peers.runs import GPTQMODEL_VARIANTS, LLAMACPP_VARIANTS, by_gptqmodel, by_llamacpp
from benchmarks.quantization.shuffle import shuffled
from benchmarks.quantization.smollm2 import SmolLM2, gguf_file
from benchmarks.quantization.variants import (
    GPTQ_VARIANTS,
    HEAD_VARIANTS,
    NEAR_NF4,
    PACKING_VARIANTS,
    calibration,
    file_name,
    quantized,
    rounded,
    rounded_head,
)
from benchmarks.quantization.wikipedia import token_windows
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json

SEQUENCES, TOKENS = 64, 256
EVALUATED = 48  # sequences

Make = Callable[[CpuClock], Weights]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and the results")
    parser.add_argument("--out", type=Path, help="where to write the table, in markdown")
    parser.add_argument("--sequences", type=int, default=SEQUENCES, help=f"of {TOKENS} tokens, to calibrate on")
    environment = "of an environment with {}, which is measured too; {} says how"
    parser.add_argument(
        "--gptqmodel", type=Path, metavar="PYTHON", help=environment.format("gptqmodel 7.7", "peer_gptqmodel.py")
    )
    parser.add_argument(
        "--llamacpp", type=Path, metavar="PYTHON", help=environment.format("llama-cpp-python", "peer_llamacpp.py")
    )
    packings = "instead: the formats of a card's decoder, on the same model with its channels shuffled"
    parser.add_argument("--packings", action="store_true", help=packings)
    formats = "instead: NF4 and LLM.int8, which the torch engine answers with, beside ours at the nearest bits"
    parser.add_argument("--bitsandbytes", action="store_true", help=formats)
    args = parser.parse_args()
    torch.set_num_threads(1)  # threads that wait for each other spin, and that would count as CPU seconds
    if args.packings:
        results = run_packings(args.work, args.sequences)
    elif args.bitsandbytes:
        results = run_bitsandbytes(args.work, args.sequences)
    else:
        results = run(args.work, args.sequences, args.gptqmodel, args.llamacpp)
    table = markdown(results)
    print(table)
    if args.out:
        args.out.write_text(table)


def run(work: Path, sequences: int, gptqmodel: Path | None, llamacpp: Path | None) -> list[Result]:
    model = SmolLM2.open(work / "smollm2")
    ids, evaluated = token_windows(model.tokenizer(), max(sequences, EVALUATED), TOKENS)
    ids_file = work / "calibration.npy"
    np.save(ids_file, ids[:sequences])
    evaluation = Evaluation(model, evaluated[:EVALUATED])
    data = calibration(model, ids[:sequences])
    print(f"fp32: perplexity {evaluation.perplexity():.2f}", flush=True)

    variants: dict[str, Make] = {
        "rounded to nearest": lambda _: rounded(model, sym=False),
        "rounded to nearest, symmetric": lambda _: rounded(model, sym=True),
    }
    for name, settings in GPTQ_VARIANTS.items():
        folder = work / f"{sequences}-{file_name(name)}"
        variants[name] = partial(quantized, model, data, settings, folder)
    if gptqmodel is not None:
        for name, options in GPTQMODEL_VARIANTS.items():
            folder = work / f"{sequences}-{file_name(name)}"
            variants[name] = partial(by_gptqmodel, gptqmodel, work / "smollm2", ids_file, options, folder)
    if llamacpp is not None:
        for name, type_name in LLAMACPP_VARIANTS.items():
            variants[name] = partial(by_llamacpp, llamacpp, gguf_file(), type_name, work / type_name)
    return [_result(name, make, evaluation, work / f"results-{sequences}") for name, make in variants.items()]


def run_packings(work: Path, sequences: int) -> list[Result]:
    """The formats of `PACKING_VARIANTS`, and the last layer alone in 8 bits."""
    model = shuffled(SmolLM2.open(work / "smollm2"))
    ids, evaluated = token_windows(model.tokenizer(), max(sequences, EVALUATED), TOKENS)
    evaluation = Evaluation(model, evaluated[:EVALUATED])
    data = calibration(model, ids[:sequences])
    print(f"fp32: perplexity {evaluation.perplexity():.2f}", flush=True)
    variants: dict[str, Make] = {name: partial(rounded_head, model, *grid) for name, grid in HEAD_VARIANTS.items()}
    for name, settings in PACKING_VARIANTS.items():
        folder = work / f"shuffled-{sequences}-{file_name(name)}"
        variants[name] = partial(quantized, model, data, settings, folder)
    return [_result(name, make, evaluation, work / f"packings-{sequences}") for name, make in variants.items()]


def run_bitsandbytes(work: Path, sequences: int) -> list[Result]:
    """bitsandbytes' formats, and `NEAR_NF4`."""
    model = SmolLM2.open(work / "smollm2")
    ids, evaluated = token_windows(model.tokenizer(), max(sequences, EVALUATED), TOKENS)
    evaluation = Evaluation(model, evaluated[:EVALUATED])
    data = calibration(model, ids[:sequences])
    print(f"fp32: perplexity {evaluation.perplexity():.2f}", flush=True)
    variants: dict[str, Make] = {
        "LLM.int8": lambda _: bitsandbytes_formats.int8(model),
        "LLM.int8, its weights alone": lambda _: bitsandbytes_formats.int8_weights(model),
        "NF4, double quantization": lambda _: bitsandbytes_formats.nf4(model),
        "rounded to nearest": lambda _: rounded(model, sym=False),
    }
    for name, settings in NEAR_NF4.items():
        folder = work / f"{sequences}-{file_name(name)}"
        variants[name] = partial(quantized, model, data, settings, folder)
    return [_result(name, make, evaluation, work / f"bitsandbytes-{sequences}") for name, make in variants.items()]


def _result(name: str, make: Make, evaluation: Evaluation, folder: Path) -> Result:
    """The one that an earlier run kept, or a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    key = file_name(name)
    file = folder / f"{key}.json"
    if not file.is_file():
        clock = CpuClock(folder / f"{key}.cpu.json")
        weights, bits_per_weight = make(clock)
        clock.keep()
        result = evaluation.measure(name, weights, bits_per_weight, clock.seconds())
        write_json(file, asdict(result))
        print(json.dumps(asdict(result)), flush=True)
    return Result(**read_json(file))


def markdown(results: list[Result]) -> str:
    lines = [
        "| variant | bits a weight | perplexity | mean KLD | 99 % KLD | top-1 agreement | CPU seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.variant} | {row.bits_per_weight:.2f} | {row.perplexity:.2f} | {row.kld:.4f} ± {row.kld_error:.4f} "
        f"| {row.kld_99:.2f} | {row.top1_agreement:.1%} | {row.cpu_seconds:.0f} |"
        for row in results
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
