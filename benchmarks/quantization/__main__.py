"""Evidence about the quantizer: `python -m benchmarks.quantization --work FOLDER` (see docs/quantization.md).

Each variant's result is kept in the work folder, so that the run may be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.quantization.evaluation import Evaluation, Result, dequantize_folder
from benchmarks.quantization.smollm2 import SmolLM2
from benchmarks.quantization.variants import GPTQ_VARIANTS, calibration, quantized, rounded
from benchmarks.quantization.wikipedia import token_windows
from export.durable import write_json
from export.json_file import read_json

SEQUENCES, TOKENS = 64, 256
EVALUATED = 48  # sequences

Weights = tuple[dict[str, Tensor], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and the results")
    parser.add_argument("--out", type=Path, help="where to write the table, in markdown")
    parser.add_argument("--sequences", type=int, default=SEQUENCES, help=f"of {TOKENS} tokens, to calibrate on")
    parser.add_argument(
        "--peer", type=Path, action="append", default=[], metavar="FOLDER",
        help="a GPTQ folder made by peer_gptqmodel.py from the model and the calibration.npy in the work folder",
    )  # fmt: skip
    args = parser.parse_args()
    results = run(args.work, args.sequences, args.peer)
    table = markdown(results)
    print(table)
    if args.out:
        args.out.write_text(table)


def run(work: Path, sequences: int, peers: list[Path]) -> list[Result]:
    model = SmolLM2.open(work / "smollm2")
    ids, evaluated = token_windows(model.tokenizer(), max(sequences, EVALUATED), TOKENS)
    np.save(work / "calibration.npy", ids[:sequences])
    evaluation = Evaluation(model, evaluated[:EVALUATED])
    data = calibration(model, ids[:sequences])
    print(f"fp32: perplexity {evaluation.perplexity():.2f}", flush=True)

    variants: dict[str, Callable[[], Weights]] = {
        "rounded to nearest": partial(rounded, model, sym=False),
        "rounded to nearest, symmetric": partial(rounded, model, sym=True),
    }
    for name, settings in GPTQ_VARIANTS.items():
        folder = work / f"{sequences}-{''.join(filter(str.isalnum, name))}"
        variants[name] = partial(quantized, model, data, settings, folder)
    for peer in peers:
        variants[peer.name] = partial(dequantize_folder, peer)
    return [_result(name, make, evaluation, work / f"results-{sequences}") for name, make in variants.items()]


def _result(name: str, make: Callable[[], Weights], evaluation: Evaluation, folder: Path) -> Result:
    """The one that an earlier run kept, or a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{''.join(filter(str.isalnum, name))}.json"
    if not file.is_file():
        start = time.monotonic()
        weights, bits_per_weight = make()
        result = evaluation.measure(name, weights, bits_per_weight, time.monotonic() - start)
        write_json(file, asdict(result))
        print(json.dumps(asdict(result)), flush=True)
    return Result(**read_json(file))


def markdown(results: list[Result]) -> str:
    lines = [
        "| variant | bits a weight | perplexity | mean KLD | 99 % KLD | top-1 agreement | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.variant} | {row.bits_per_weight:.2f} | {row.perplexity:.2f} | {row.kld:.4f} ± {row.kld_error:.4f} "
        f"| {row.kld_99:.2f} | {row.top1_agreement:.1%} | {row.seconds:.0f} |"
        for row in results
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
