"""From a checkpoint to the GPTQ folder that a bundle is made of: calibration data, answers, bits, GPTQ."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from export.checkpoint import Checkpoint
from export.durable import write_json
from export.json_file import read_json
from export.tokenizer import convert_tokenizer
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.presets import Preset
from omnilmm_lite.progress import Progress
from omnilmm_lite.tokenizer import Tokenizer
from quantize.answers import answer_batches, write_answers
from quantize.budget import choices_json, parse_choices, plain_bytes, spend
from quantize.calibration import CalibrationLimits, Prompt, read_prompts
from quantize.decoder import TOKENIZER_FILE, Job, quantize_decoder
from quantize.disk import GB, checkpoint_bytes
from quantize.gptq_folder import REPORT_FILE, GPTQFolder, read
from quantize.packing import Layout
from quantize.report import ProjectionReport
from quantize.samples import Calibration, embed_prompts
from quantize.sensitivity import measure_choices
from quantize.settings import GPTQSettings
from quantize.stages import STAGES


@dataclass(frozen=True)
class Options:
    """What a user can choose."""

    source: Path | None  # calibration data; None: the built-in conversations
    limits: CalibrationLimits
    settings: GPTQSettings
    preset: Preset  # says how much room everything takes
    device: torch.device
    answer_tokens: int = 48  # of the answers that the model writes where the data has none; 0: none are written
    target_size: int | None = None  # bytes of the decoder on disk; None: every layer as `settings` say

    def checkpoint_bytes(self, config: DecoderConfig) -> int:
        """About what the GPTQ checkpoint takes; with a target size, which is the graph's, perhaps a little more."""
        plain = checkpoint_bytes(config, {}, Layout(self.settings.bits, self.settings.group_size))
        return max(plain, self.target_size or 0)


def find_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda`; InputError for another, and for a card that torch doesn't see."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device: {name!r} is unknown; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no CUDA card; install its CUDA build, or use --device cpu")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")


def quantize_checkpoint(
    checkpoint: Checkpoint, options: Options, work_dir: Path, progress: Progress
) -> tuple[GPTQFolder, dict[str, Any]]:
    """The decoder's GPTQ checkpoint, made or completed in `work_dir`, and the report on it."""
    work_dir.mkdir(parents=True, exist_ok=True)
    config = checkpoint.config
    tokenizer_file = work_dir / TOKENIZER_FILE
    tokenizer_file.write_text(convert_tokenizer(checkpoint.folder, config.tokens).to_str(), encoding="utf-8")
    prompts = read_prompts(options.source, Tokenizer(tokenizer_file), config, options.limits)

    progress.stage("calibration data", 1)
    calibration = embed_prompts(checkpoint, prompts, work_dir / "pictures")
    progress.step(f"{len(prompts)} sequences")
    if options.answer_tokens and any(prompt.is_open for prompt in prompts):
        prompts = _answered(checkpoint, prompts, calibration, options, work_dir, progress)
        calibration = embed_prompts(checkpoint, prompts, work_dir / "pictures")
    layouts = {}
    if options.target_size is not None:
        layouts = _spend(checkpoint, calibration, options, options.target_size, work_dir, progress)
    job = Job(checkpoint, calibration, options.settings, layouts, options.device)
    room = f"{job.needed_bytes() / GB:.1f} GB in {work_dir}"
    progress.stage(f"GPTQ, which needs {room}", config.decoder.num_hidden_layers * sum(map(len, STAGES)))
    folder = quantize_decoder(job, work_dir, lambda report: progress.step(_line(report)))
    return read(folder, config.decoder), read_json(folder / REPORT_FILE)


def _answered(
    checkpoint: Checkpoint,
    prompts: Sequence[Prompt],
    calibration: Calibration,
    options: Options,
    work_dir: Path,
    progress: Progress,
) -> list[Prompt]:
    """The prompts, the open ones with the model's own answers; each batch of answers is kept in the work folder."""
    openings = [sample for sample, prompt in zip(calibration.samples, prompts, strict=True) if prompt.is_open]
    batches = answer_batches(checkpoint.config.decoder, openings, options.answer_tokens)
    key = _key(checkpoint, calibration, options.answer_tokens, options.device)
    progress.stage("answers for calibration", len(batches) * options.answer_tokens)
    answers: list[list[int]] = []
    for number, batch in enumerate(batches):
        file = work_dir / f"answers-{key}-{number:02}.json"
        if not file.is_file():
            written = write_answers(checkpoint, batch, options.answer_tokens, options.device, progress.step)
            write_json(file, {"answers": written})
        answers += read_json(file)["answers"]
    following = iter(answers)
    return [
        replace(prompt, ids=(prompt.ids + tuple(next(following)))[: options.limits.tokens])
        if prompt.is_open
        else prompt
        for prompt in prompts
    ]


def _spend(
    checkpoint: Checkpoint,
    calibration: Calibration,
    options: Options,
    size: int,
    work_dir: Path,
    progress: Progress,
) -> dict[str, Layout]:
    """Layouts for the whole decoder within `size` bytes; the measurement is kept in the work folder."""
    config, settings = checkpoint.config.decoder, options.settings
    file = work_dir / f"sensitivity-{_key(checkpoint, calibration, settings, options.preset, options.device)}.json"
    progress.stage("sensitivity of the layers", config.num_hidden_layers)
    if not file.is_file():
        choices = measure_choices(checkpoint, calibration, settings, options.preset, options.device, progress.step)
        write_json(file, choices_json(choices))
    return spend(parse_choices(read_json(file)), size - plain_bytes(config, options.preset))


def _key(checkpoint: Checkpoint, calibration: Calibration, *arguments: object) -> str:
    """What a kept result depends on, as a part of its file's name."""
    text = f"{checkpoint.fingerprint()} {calibration.fingerprint} {arguments}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _line(report: ProjectionReport) -> str:
    return (
        f"{report.name}: {report.bits} bits / {report.group_size}, error {report.error_to_output:.2%} of its output, "
        f"{report.error_to_rounding:.2f} of rounding's"
    )
