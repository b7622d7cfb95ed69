"""What the CPU's fast decoder paths cost in accuracy: `python -m benchmarks.fast_paths --work FOLDER`.

SmolLM2's decoder as the graphs that a bundle holds, through the runtime: each sequence's first half is the prompt, its
second half the answer, teacher-forced. Divergence from the fp32 model, at both. FOLDER may be the one of
benchmarks.quantization, whose best GPTQ folder is used; where there is none, it is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.quantization.evaluation import Evaluation
from benchmarks.quantization.smollm2 import SmolLM2
from benchmarks.quantization.variants import OURS, calibration
from benchmarks.quantization.wikipedia import token_windows
from export.graphs.decoder import DecoderWeights, build_decoder
from export.graphs.prefill import build_prefill
from export.weights.weight import Weight
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.formats import FP32
from omnilmm_lite.quality.statistics import Scores, Summary, score, summarize
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.folder.read import read_gptq_folder
from quantize.head import RoundedHead

Array = NDArray[np.float32]
SEQUENCES, TOKENS = 48, 256  # benchmarks.quantization's
CALIBRATED = 64


@dataclass(frozen=True)
class Route:
    """A way through the graphs."""

    name: str
    prefill: str
    decode: str


ROUTES = (
    Route("4-bit weights, fp32 activations", "exact.onnx", "exact.onnx"),
    Route("4-bit weights, int8 activations", "decoder.onnx", "decoder.onnx"),
    Route("the same with lm_head in 8 bits (`cpu-small`)", "head.onnx", "head.onnx"),
    Route("prompt in int8 made from the 4-bit weights, answer as above (`cpu`)", "prefill.onnx", "head.onnx"),
    Route("prompt in int8 made from the fp32 weights, answer as above", "finer.onnx", "head.onnx"),
)


@dataclass(frozen=True)
class Original:
    """SmolLM2's own weights."""

    model: SmolLM2

    def linear(self, name: str) -> Weight:
        return self.model.array(f"{name}.weight")

    def array(self, name: str) -> Array:
        return self.model.array(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--gptq", type=Path, help="GPTQ folder (default: the one that benchmarks.quantization made)")
    args = parser.parse_args()
    model = SmolLM2.open(args.work / "smollm2")
    calibrated, ids = token_windows(model.tokenizer(), max(CALIBRATED, SEQUENCES), TOKENS)
    work_dir = args.work / "64-oursbothanderrorcorrection"
    if args.gptq is None:  # goes on where it was, and is there at once where it is finished
        quantize_decoder(QuantizationJob(model, calibration(model, calibrated[:CALIBRATED]), OURS), work_dir, print)
    build(model, read_gptq_folder(args.gptq or work_dir / "gptq", model.config.decoder), args.work)
    ids = ids[:SEQUENCES]
    original = Evaluation(model, ids)
    print("| path | KLD, prompt | KLD, answer | top-1, prompt | top-1, answer |\n|---|---|---|---|---|")
    for route in ROUTES:
        prompts, answers = zip(*measure(model, original, route, args.work, ids), strict=True)
        prompt, answer = summary(prompts), summary(answers)
        print(
            f"| {route.name} | {prompt.kld_mean.value:.4f} ± {prompt.kld_mean.error or 0:.4f} "
            f"| {answer.kld_mean.value:.4f} ± {answer.kld_mean.error or 0:.4f} "
            f"| {prompt.top1_agreement.value:.2%} | {answer.top1_agreement.value:.2%} |",
            flush=True,
        )


def summary(scores: Sequence[Scores]) -> Summary:
    """Of one `Scores` a sequence, all of the same length."""
    return summarize(Scores.concatenate(scores), np.repeat(np.arange(len(scores)), len(scores[0].kld)))


def build(model: SmolLM2, weights: DecoderWeights, folder: Path) -> None:
    config, head = model.config.decoder, RoundedHead(weights)
    graphs: dict[str, Iterator[str]] = {
        "exact.onnx": build_decoder(config, weights, folder / "exact.onnx", FP32, accuracy_level=0),
        "decoder.onnx": build_decoder(config, weights, folder / "decoder.onnx", FP32, accuracy_level=4),
        "head.onnx": build_decoder(config, head, folder / "head.onnx", FP32, accuracy_level=4),
        "prefill.onnx": build_prefill(config, head, folder / "prefill.onnx", FP32),
        "finer.onnx": build_prefill(config, Original(model), folder / "finer.onnx", FP32),
    }
    for steps in graphs.values():
        for _ in steps:
            pass


def measure(
    model: SmolLM2, original: Evaluation, route: Route, folder: Path, ids: NDArray[np.int64]
) -> Iterator[tuple[Scores, Scores]]:
    """Each sequence's prompt and answer."""
    prefill, decode = (partial(open_session, folder / name, Device.CPU) for name in (route.prefill, route.decode))
    decoder = GraphDecoder(DecoderGraphs(model.config.decoder, decode, Device.CPU, TOKENS, open_prefill=prefill))
    table = model.array("model.embed_tokens.weight")
    half = TOKENS // 2
    for sequence, exact in zip(ids, original.logits(), strict=True):
        decoder.clear()
        tokens = [int(token) for token in sequence]
        prompt = decoder.prefill_logits(tokens[:half], table[sequence[:half]])
        answer = decoder.decode_logits(tokens[half:], table[sequence[half:]])
        # the prompt's last row predicts the answer's first token
        yield (
            score(exact[: half - 1], prompt[:-1], sequence[1:half]),
            score(exact[half:-1], answer[:-1], sequence[half + 1 :]),
        )


if __name__ == "__main__":
    main()
