"""Evidence about the quantizer: `python -m benchmarks.quantization --work FOLDER` (see docs/quantization.md).

Each variant's result is kept in the work folder, so that the run may be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.quantization.cpu_time import CpuClock
from benchmarks.quantization.evaluation import Evaluation, Result, dequantize_folder
from benchmarks.quantization.smollm2 import SmolLM2
from benchmarks.quantization.variants import GPTQ_VARIANTS, calibration, quantized, rounded
from benchmarks.quantization.wikipedia import token_windows
from export.durable import write_json
from export.json_file import read_json

SEQUENCES, TOKENS = 64, 256
EVALUATED = 48  # sequences

STATIC = ["--desc-act", "--static-groups", "--mse", "2.0"]
# gptqmodel with nothing but GPTQ itself, its own defaults, and the best of it that groups in column order allow.
PEERS: dict[str, list[str]] = {
    "gptqmodel 7.7 GPTQ alone": ["--no-act-group-aware"],
    "gptqmodel 7.7 default": [],
    "gptqmodel 7.7 act-order in static groups mse grids": STATIC,
    "gptqmodel 7.7 the same with FOEM": [*STATIC, "--foem", "0.25", "0.2"],
    "gptqmodel 7.7 the same with GPTAQ": [*STATIC, "--gptaq", "0.25"],
}

Weights = tuple[dict[str, Tensor], float]
Make = Callable[[CpuClock], Weights]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and the results")
    parser.add_argument("--out", type=Path, help="where to write the table, in markdown")
    parser.add_argument("--sequences", type=int, default=SEQUENCES, help=f"of {TOKENS} tokens, to calibrate on")
    parser.add_argument(
        "--gptqmodel", type=Path, metavar="PYTHON",
        help="of an environment with gptqmodel 7.7, whose variants are measured too; peer_gptqmodel.py says how",
    )  # fmt: skip
    args = parser.parse_args()
    torch.set_num_threads(1)  # threads that wait for each other spin, and that would count as CPU seconds
    results = run(args.work, args.sequences, args.gptqmodel)
    table = markdown(results)
    print(table)
    if args.out:
        args.out.write_text(table)


def run(work: Path, sequences: int, gptqmodel: Path | None) -> list[Result]:
    model = SmolLM2.open(work / "smollm2")
    ids, evaluated = token_windows(model.tokenizer(), max(sequences, EVALUATED), TOKENS)
    np.save(work / "calibration.npy", ids[:sequences])
    evaluation = Evaluation(model, evaluated[:EVALUATED])
    data = calibration(model, ids[:sequences])
    print(f"fp32: perplexity {evaluation.perplexity():.2f}", flush=True)

    variants: dict[str, Make] = {
        "rounded to nearest": lambda _: rounded(model, sym=False),
        "rounded to nearest, symmetric": lambda _: rounded(model, sym=True),
    }
    for name, settings in GPTQ_VARIANTS.items():
        folder = work / f"{sequences}-{''.join(filter(str.isalnum, name))}"
        variants[name] = partial(quantized, model, data, settings, folder)
    if gptqmodel is not None:
        for name, options in PEERS.items():
            folder = work / f"{sequences}-{name.replace(' ', '-')}"
            variants[name] = partial(_peer, gptqmodel, work, folder, options)
    return [_result(name, make, evaluation, work / f"results-{sequences}") for name, make in variants.items()]


def _peer(python: Path, work: Path, folder: Path, options: Sequence[str], clock: CpuClock) -> Weights:
    """gptqmodel, in its own environment, on the same model and calibration."""
    script = Path(__file__).with_name("peer_gptqmodel.py")
    arguments: list[str | Path] = [
        "--model",
        work / "smollm2",
        "--calibration",
        work / "calibration.npy",
        "--out",
        folder,
        *options,
    ]
    if not (folder / "config.json").is_file():
        subprocess.run([python, script, *arguments], check=True, stdout=subprocess.DEVNULL)
        clock.keep()
    return dequantize_folder(folder)


def _result(name: str, make: Make, evaluation: Evaluation, folder: Path) -> Result:
    """The one that an earlier run kept, or a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    key = "".join(filter(str.isalnum, name))
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
