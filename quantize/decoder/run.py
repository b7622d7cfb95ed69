"""From a checkpoint to the GPTQ folder that a bundle is made of: calibration data, answers, bits, GPTQ."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.tokenizer import convert_tokenizer
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.durable import write_json
from omnilmm_lite.errors import InputError
from omnilmm_lite.json_file import read_json
from omnilmm_lite.picture.reading import load_image, pixel_hash
from omnilmm_lite.progress import Progress
from omnilmm_lite.text.tokenizer import Tokenizer
from quantize.calibration.answers import answer_batches, write_answers
from quantize.calibration.data import CalibrationLimits, Prompt, read_prompts
from quantize.calibration.samples import Calibration, embed_prompts
from quantize.decoder.budget import Unit, build_choices, damages_json, parse_damages, plain_bytes, spend
from quantize.decoder.layers import TOKENIZER_FILE, WORK_FORMAT, Job, check_group_sizes, check_job, quantize_decoder
from quantize.decoder.report import ProjectionReport
from quantize.decoder.sensitivity import TOKENS, measure_damages, measure_steps
from quantize.decoder.stages import STAGES
from quantize.disk import GB, checkpoint_bytes
from quantize.folder.gptq_folder import REPORT_FILE, GPTQFolder, read
from quantize.folder.packing import Layout
from quantize.gptq.settings import GPTQSettings
from quantize.work_folder import WorkFolder


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
    """The decoder's GPTQ checkpoint, made or completed in `work_dir`, and the report on it.

    InputError, before any work, for options that `work_dir` holds a run with others of.
    """
    config = checkpoint.config
    check_group_sizes(config.decoder, [options.settings.group_size])
    work_dir.mkdir(parents=True, exist_ok=True)
    tokenizer_file, work = work_dir / TOKENIZER_FILE, WorkFolder(work_dir)
    tokenizer_file.write_text(convert_tokenizer(checkpoint.folder, config.tokens).to_str(), encoding="utf-8")
    prompts = read_prompts(options.source, Tokenizer(tokenizer_file), config, options.limits)
    chosen = _chosen(checkpoint, prompts, options)
    work.check_options(chosen)

    progress.stage("calibration data", 1)
    calibration = embed_prompts(checkpoint, prompts, work_dir / "pictures")
    progress.step(f"{len(prompts)} sequences")
    if options.answer_tokens and any(prompt.is_open for prompt in prompts):
        prompts = _answered(checkpoint, prompts, calibration, options, work_dir, progress)
        calibration = embed_prompts(checkpoint, prompts, work_dir / "pictures")
    layouts = {}
    if options.target_size is not None:
        layouts = _spend(checkpoint, calibration, options, options.target_size, work, progress)
    job = Job(checkpoint, calibration, options.settings, layouts, options.device)
    check_job(job)
    work.check_arguments(job.arguments())
    work.remember_options(chosen)
    room = f"{job.needed_bytes() / GB:.1f} GB in {work_dir}"
    progress.stage(f"GPTQ, which needs {room}", config.decoder.num_hidden_layers * sum(map(len, STAGES)))
    folder = quantize_decoder(job, work_dir, lambda report: progress.step(_line(report)))
    return read(folder, config.decoder), read_json(folder / REPORT_FILE)


def _chosen(checkpoint: Checkpoint, prompts: Sequence[Prompt], options: Options) -> dict[str, Any]:
    """What the result depends on, as far as it is known before any work: what more there is follows from it."""
    images = dict.fromkeys(prompt.image for prompt in prompts if prompt.image is not None)
    pixels = {image: pixel_hash(load_image(image)) for image in images}
    data = [(prompt.ids, prompt.image and pixels[prompt.image]) for prompt in prompts]
    return {
        "work_format": WORK_FORMAT,
        "checkpoint": checkpoint.fingerprint(),
        "device": options.device.type,
        "calibration_data": hashlib.sha256(repr(data).encode()).hexdigest(),
        "samples": len(prompts),  # not the limit: a higher one than the data reaches changes nothing
        "answer_tokens": options.answer_tokens if any(prompt.is_open for prompt in prompts) else 0,
        "target_size": options.target_size,
        **options.settings.to_dict(),
    }


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
    work: WorkFolder,
    progress: Progress,
) -> dict[str, Layout]:
    """Layouts for the whole decoder within `size` bytes.

    Once the quantization has begun they stay, whatever the preset: what its graph takes for the same ones is another
    size, but quantizing anew would cost hours.
    """
    config = checkpoint.config.decoder
    file = work.path / f"layouts-{_key(checkpoint, calibration, options.settings, options.device, size)}.json"
    if not (work.has_begun and file.is_file()):
        damages = _damages(checkpoint, calibration, options, work, progress)
        choices = build_choices(config, damages, options.preset)
        layouts = spend(choices, size - plain_bytes(config, options.preset))
        chosen = {name: asdict(layout) for name, layout in layouts.items()}
        write_json(file, {"target_size": size, "preset": options.preset.name, "layouts": chosen})
    return {name: Layout(**layout) for name, layout in read_json(file)["layouts"].items()}


def _damages(
    checkpoint: Checkpoint, calibration: Calibration, options: Options, work: WorkFolder, progress: Progress
) -> dict[Unit, dict[Layout, float]]:
    """Measured, or as an earlier run has left them in the work folder."""
    settings, device = options.settings, options.device
    older = work.path / f"sensitivity-{_key(checkpoint, calibration, settings, options.preset, device)}.json"
    if work.has_begun and older.is_file():  # by a version that measured on other tokens: go on with its layouts
        return parse_damages(read_json(older))
    base = Layout(settings.bits, settings.group_size)
    file = work.path / f"sensitivity-{_key(checkpoint, calibration, base, settings.sym, device, TOKENS)}.json"
    states = file.with_suffix(".partial")
    for folder in work.path.glob("sensitivity-*.partial"):
        if file.is_file() or folder != states:  # done, or of a run with other options: gigabytes
            shutil.rmtree(folder)
    if not file.is_file():
        progress.stage("sensitivity of the layers", measure_steps(checkpoint.config.decoder))
        measured = measure_damages(Job(checkpoint, calibration, settings, device=device), states, progress.step)
        write_json(file, damages_json(measured))
        shutil.rmtree(states)
    return parse_damages(read_json(file))


def _key(checkpoint: Checkpoint, calibration: Calibration, *arguments: object) -> str:
    """What a kept result depends on, as a part of its file's name."""
    text = f"{checkpoint.fingerprint()} {calibration.fingerprint} {arguments}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _line(report: ProjectionReport) -> str:
    return (
        f"{report.name}: {report.bits} bits / {report.group_size}, error {report.error_to_output:.2%} of its output, "
        f"{report.error_to_rounding:.2f} of rounding's"
    )
