"""The quantizer's variants on the project's own small vision-language model, pictures included:

`python -m benchmarks.quantization.tiny --data FOLDER --work FOLDER`, with FOLDER made by examples.tiny.calibration.
The first lines of its calibration.jsonl calibrate, the last ones are compared. Accuracy is on easy-VQA's test split.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.quantization.variants import PLAIN, file_name
from examples.tiny.dataset import easy_vqa_data
from examples.tiny.evaluate import ask
from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.tokenizer import convert_tokenizer
from export.convert import write_bundle
from export.graphs.decoder import CheckpointWeights, DecoderWeights
from export.weights.weight import Weight
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.model import Model, load
from omnilmm_lite.quality.compare import compare
from omnilmm_lite.quality.compared_model import ComparedBundle
from omnilmm_lite.quality.data import Kind, build_samples
from omnilmm_lite.quality.statistics import summarize
from omnilmm_lite.text.conversations import read_source
from omnilmm_lite.text.tokenizer import Tokenizer
from quantize.calibration.embedded_sequences import Calibration, embed_sequences
from quantize.calibration.token_sequences import CalibrationLimits, read_sequences
from quantize.decoder.budget import build_choices, spend, unit_bytes
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.sensitivity import measure_damages
from quantize.folder.packing import Layout
from quantize.folder.read import read_gptq_folder
from quantize.folder.tensors import LINEARS
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.settings import GPTQSettings

CPU = torch.device("cpu")
CHECKPOINT = Path("examples/tiny/checkpoint")
CALIBRATED, COMPARED = 256, 192  # lines of the data
OURS = GPTQSettings()
VARIANTS = {
    "GPTQ": replace(PLAIN, group_size=OURS.group_size),
    "GPTQ, act-order and weighted grids": replace(OURS, error_correction=False),
    "**ours**": OURS,
    "ours, image weight 0": replace(OURS, image_weight=0.0),
    "ours, image weight 0.1": replace(OURS, image_weight=0.1),
    "ours, image weight 0.3": replace(OURS, image_weight=0.3),
    "ours, image weight 3": replace(OURS, image_weight=3.0),
    "ours, groups of 32, symmetric": replace(OURS, group_size=32, sym=True),  # `Packing.FPA_INTB`
}
# Two ways to spend the same bytes.
FINER = replace(OURS, group_size=32)


@dataclass(frozen=True)
class Result:
    """One row. `answer` figures are those of the assistant's turns, the others of all text."""

    variant: str
    perplexity_answers: float
    kld_answers: float
    kld_answers_error: float
    kld: float
    kld_error: float
    kld_99: float
    top1_agreement: float
    accuracy: float
    flips: int  # answers that are right in one of the two models only


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, steps: int) -> None: ...

    def step(self, line: str) -> None: ...


class Rounded(CheckpointWeights):
    """The checkpoint's linear layers, rounded to nearest."""

    def linear(self, name: str) -> Weight:
        weight = self.array(f"{name}.weight")
        return round_to_nearest(weight, group_size=OURS.group_size, sym=False) if name.endswith(LINEARS) else weight


class Bench:
    """The original, and what all variants are measured on."""

    def __init__(self, data: Path, work: Path, questions: int) -> None:
        self.work = work
        self.checkpoint = Checkpoint.open(CHECKPOINT)
        lines = (data / "calibration.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        self._split(data, "first", lines[:CALIBRATED])
        self.compared = self._split(data, "last", lines[-COMPARED:])
        self.questions = sorted(easy_vqa_data.questions("test"), key=lambda asked: asked.picture)[:questions]
        self.pictures = easy_vqa_data.pictures("test")
        self.original = load(self.bundle("reference", CheckpointWeights(self.checkpoint), "reference"))
        self.right = self.answers(self.original)

    def calibration(self) -> Calibration:
        tokenizer_file = self.work / "tokenizer.json"
        tokenizer_file.write_text(convert_tokenizer(CHECKPOINT).to_str(), encoding="utf-8")
        limits = CalibrationLimits(samples=CALIBRATED)
        prompts = read_sequences(self.work / "first.jsonl", Tokenizer(tokenizer_file), self.checkpoint.config, limits)
        return embed_sequences(self.checkpoint, prompts, self.work / "pictures")

    def gptq(self, calibration: Calibration, settings: GPTQSettings, name: str) -> DecoderWeights:
        folder = quantize_decoder(QuantizationJob(self.checkpoint, calibration, settings), self.work / f"{name}.work")
        return read_gptq_folder(folder, self.checkpoint.config.decoder)

    def mixed(self, calibration: Calibration, name: str) -> DecoderWeights:
        """The bytes that FINER takes, spent where they save most."""
        config, preset = self.checkpoint.config.decoder, find_preset("cpu")
        with TemporaryDirectory(dir=self.work) as states:
            damages = measure_damages(QuantizationJob(self.checkpoint, calibration, OURS), Path(states), lambda _: None)
        choices = build_choices(config, damages, preset)
        size = sum(unit_bytes(config, unit, Layout(FINER.bits, FINER.group_size), preset) for unit in choices)
        job = QuantizationJob(self.checkpoint, calibration, OURS, spend(choices, size))
        return read_gptq_folder(quantize_decoder(job, self.work / f"{name}.work"), config)

    def bundle(self, name: str, weights: DecoderWeights, preset: str) -> Path:
        out = self.work / name
        if not out.is_dir():
            write_bundle(self.checkpoint, weights, find_preset(preset), out, Silent())
        return out

    def answers(self, model: Model) -> list[bool]:
        return [ask(model, self.pictures[each.picture], each.text) == each.answer for each in self.questions]

    def measure(self, variant: str, bundle: Path) -> Result:
        model = load(bundle)
        base = ComparedBundle(self.original)
        conversations = read_source(self.compared)
        samples = build_samples(conversations, base.tokenizer, base.config, COMPARED)
        found = compare(ComparedBundle(model), base, samples, Silent())
        is_answer = found.kinds == Kind.ANSWER
        answers = summarize(found.scores[is_answer], found.sequences[is_answer])
        whole = summarize(found.scores, found.sequences)
        right = self.answers(model)
        return Result(
            variant=variant,
            perplexity_answers=answers.perplexity.value,
            kld_answers=answers.kld_mean.value,
            kld_answers_error=answers.kld_mean.error or 0.0,
            kld=whole.kld_mean.value,
            kld_error=whole.kld_mean.error or 0.0,
            kld_99=whole.kld_percentiles["99"].value,
            top1_agreement=whole.top1_agreement.value,
            accuracy=float(np.mean(right)),
            flips=sum(a != b for a, b in zip(right, self.right, strict=True)),
        )

    def _split(self, data: Path, name: str, lines: list[str]) -> Path:
        """Some lines as a file of their own; their pictures are named from its folder."""
        file = self.work / f"{name}.jsonl"
        records = [json.loads(line) for line in lines]
        for record in records:
            if "image" in record:
                record["image"] = str((data / record["image"]).resolve())
        file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=2000, help="of easy-VQA's test split")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.data, args.work, args.questions)
    calibration = bench.calibration()
    variants: dict[str, Callable[[], DecoderWeights]] = {"rounded to nearest": partial(Rounded, bench.checkpoint)}
    for name, settings in VARIANTS.items():
        variants[name] = partial(bench.gptq, calibration, settings, file_name(name))
    variants["ours, groups of 32"] = partial(bench.gptq, calibration, FINER, "groups32")
    variants["ours, mixed bits of the same size"] = partial(bench.mixed, calibration, "mixed")
    print(f"the original: {np.mean(bench.right):.2%} of {len(bench.right)} questions", flush=True)
    results = []
    for name, make in variants.items():
        file = args.work / f"{file_name(name)}.json"
        if not file.is_file():
            write_json(file, asdict(bench.measure(name, bench.bundle(file_name(name), make(), "cpu"))))
        results.append(Result(**read_json(file)))
        print(results[-1], flush=True)
    print(markdown(results))


def markdown(results: list[Result]) -> str:
    lines = [
        "| variant | KLD, answers | KLD, all text | 99 % | same top token | perplexity, answers | easy-VQA | flips |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.variant} | {row.kld_answers:.1e} ± {row.kld_answers_error:.0e} | {row.kld:.5f} ± {row.kld_error:.5f} "
        f"| {row.kld_99:.3f} | {row.top1_agreement:.2%} | {row.perplexity_answers:.4f} | {row.accuracy:.2%} "
        f"| {row.flips} |"
        for row in results
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
