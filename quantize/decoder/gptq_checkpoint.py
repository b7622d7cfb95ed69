"""From a checkpoint to the GPTQ folder that a bundle is made of: calibration data, answers, bits, GPTQ."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.tokenizer import convert_tokenizer
from export.torch_device import TorchDevice
from omnilmm_lite.bundle.schema import build
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.picture.reading import load_image, pixel_hash
from omnilmm_lite.progress import Progress
from omnilmm_lite.text.tokenizer import Tokenizer
from quantize.calibration.answer_writer import answer_batches, write_answers
from quantize.calibration.embedded_sequences import Calibration, embed_sequences
from quantize.calibration.token_sequences import TokenSequence, read_sequences
from quantize.decoder.budget import Unit, build_choices, damages_json, parse_damages, plain_bytes, spend
from quantize.decoder.job import WORK_FORMAT, QuantizationJob, check_group_sizes, check_job
from quantize.decoder.options import DecoderOptions
from quantize.decoder.quantizer import TOKENIZER_FILE, quantize_decoder
from quantize.decoder.report import ProjectionReport
from quantize.decoder.sensitivity import TOKENS, measure_damages, measure_steps
from quantize.decoder.stages import STAGES
from quantize.folder.packing import Layout
from quantize.folder.read import GPTQFolder, read_gptq_folder
from quantize.folder.write import REPORT_FILE
from quantize.work_folder import WorkFolder, read_kept, write_kept

# Stands in the names of kept files for the device that made them, which doesn't matter: earlier versions named theirs.
NAMED_DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class _Answers:
    """Of a batch of conversations, as a file keeps them: token ids."""

    answers: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Layouts:
    """The layout of every linear layer, as a file keeps them, and what they were chosen for."""

    target_size: int
    preset: str
    layouts: dict[str, Layout]


def quantize_checkpoint(
    checkpoint: Checkpoint,
    options: DecoderOptions,
    work_dir: Path,
    progress: Progress,
    device: TorchDevice = TorchDevice(),  # noqa: B008  # immutable
) -> tuple[GPTQFolder, dict[str, Any]]:
    """The decoder's GPTQ checkpoint, made or completed in `work_dir`, and the report on it.

    InputError, before any work, for options that `work_dir` holds a run with others of. `device` is where it is
    computed; a run may go on on another one.
    """
    config = checkpoint.config
    check_group_sizes(config.decoder, [options.settings.group_size])
    work_dir.mkdir(parents=True, exist_ok=True)
    tokenizer_file, work = work_dir / TOKENIZER_FILE, WorkFolder(work_dir)
    tokenizer_file.write_text(convert_tokenizer(checkpoint.folder, config.tokens).to_str(), encoding="utf-8")
    sequences = read_sequences(options.source, Tokenizer(tokenizer_file), config, options.limits)
    chosen = _chosen(checkpoint, sequences, options)
    work.check_options(chosen)

    progress.stage("calibration data", 1)
    calibration = embed_sequences(checkpoint, sequences, work_dir / "pictures", device)
    progress.step(f"{len(sequences)} sequences")
    if options.answer_tokens and any(sequence.is_open for sequence in sequences):
        sequences = _answered(checkpoint, sequences, calibration, options, work_dir, progress, device)
        calibration = embed_sequences(checkpoint, sequences, work_dir / "pictures", device)
    layouts = {}
    if options.target_size is not None:
        layouts = _spend(checkpoint, calibration, options, options.target_size, work, progress, device)
    job = QuantizationJob(checkpoint, calibration, options.settings, layouts, device)
    check_job(job)
    work.check_arguments(job.arguments())
    work.remember_options(chosen)
    room = f"{shown_size(job.needed_bytes())} in {work_dir}"
    progress.stage(f"GPTQ, which needs {room}", config.decoder.num_hidden_layers * sum(map(len, STAGES)))
    folder = quantize_decoder(job, work_dir, lambda report: progress.step(_line(report)), _say)
    return read_gptq_folder(folder, config.decoder), read_json(folder / REPORT_FILE)


def _chosen(checkpoint: Checkpoint, sequences: Sequence[TokenSequence], options: DecoderOptions) -> dict[str, Any]:
    """What the result depends on, as far as it is known before any work: what more there is follows from it."""
    images = dict.fromkeys(sequence.image for sequence in sequences if sequence.image is not None)
    pixels = {image: pixel_hash(load_image(image)) for image in images}
    data = [(sequence.ids, sequence.image and pixels[sequence.image]) for sequence in sequences]
    return {
        "work_format": WORK_FORMAT,
        "checkpoint": checkpoint.fingerprint(),
        "calibration_data": hashlib.sha256(repr(data).encode()).hexdigest(),
        "samples": len(sequences),  # not the limit: a higher one than the data reaches changes nothing
        "answer_tokens": options.answer_tokens if any(sequence.is_open for sequence in sequences) else 0,
        "target_size": options.target_size,
        **options.settings.to_dict(),
    }


def _answered(
    checkpoint: Checkpoint,
    sequences: Sequence[TokenSequence],
    calibration: Calibration,
    options: DecoderOptions,
    work_dir: Path,
    progress: Progress,
    device: TorchDevice,
) -> list[TokenSequence]:
    """The sequences, the open ones with the model's own answers; each batch of answers is kept in the work folder."""
    openings = [
        embedded for embedded, sequence in zip(calibration.sequences, sequences, strict=True) if sequence.is_open
    ]
    batches = answer_batches(checkpoint.config.decoder, openings, options.answer_tokens)
    key = _key(checkpoint, calibration, options.answer_tokens, NAMED_DEVICE)
    progress.stage("answers for calibration", len(batches) * options.answer_tokens)
    answers: list[Sequence[int]] = []
    for number, batch in enumerate(batches):
        file = work_dir / f"answers-{key}-{number:02}.json"
        if (kept := read_kept(file, lambda data: build(_Answers, data), _say)) is None or len(kept.answers) != len(
            batch
        ):
            with device.full_memory_said("answers for calibration"):
                written = write_answers(checkpoint, batch, options.answer_tokens, device, progress.step)
            kept = _Answers(tuple(map(tuple, written)))
            write_kept(file, asdict(kept))
        answers += kept.answers
    following = iter(answers)
    return [
        replace(sequence, ids=(sequence.ids + tuple(next(following)))[: options.limits.tokens])
        if sequence.is_open
        else sequence
        for sequence in sequences
    ]


def _spend(
    checkpoint: Checkpoint,
    calibration: Calibration,
    options: DecoderOptions,
    size: int,
    work: WorkFolder,
    progress: Progress,
    device: TorchDevice,
) -> dict[str, Layout]:
    """Layouts for the whole decoder within `size` bytes.

    Once the quantization has begun they stay, whatever the preset: what its graph takes for the same ones is another
    size, but quantizing anew would cost hours.
    """
    config = checkpoint.config.decoder
    file = work.path / f"layouts-{_key(checkpoint, calibration, options.settings, NAMED_DEVICE, size)}.json"
    kept = read_kept(file, lambda data: build(_Layouts, data), _say) if work.has_begun else None
    if kept is None:
        damages = _damages(checkpoint, calibration, options, work, progress, device)
        choices = build_choices(config, damages, options.preset)
        layouts = spend(choices, size - plain_bytes(config, options.preset))
        kept = _Layouts(size, options.preset.name, layouts)
        write_kept(file, asdict(kept))
    return kept.layouts


def _damages(
    checkpoint: Checkpoint,
    calibration: Calibration,
    options: DecoderOptions,
    work: WorkFolder,
    progress: Progress,
    device: TorchDevice,
) -> dict[Unit, dict[Layout, float]]:
    """Each unit's damage in nats by layout: measured, or read from the work folder where an earlier run has left it."""
    settings = options.settings
    older = work.path / f"sensitivity-{_key(checkpoint, calibration, settings, options.preset, NAMED_DEVICE)}.json"
    if work.has_begun and (measured := read_kept(older, parse_damages, _say)) is not None:
        return measured  # by a version that measured on other tokens: go on with its layouts
    base = Layout(settings.bits, settings.group_size)
    file = work.path / f"sensitivity-{_key(checkpoint, calibration, base, settings.sym, NAMED_DEVICE, TOKENS)}.json"
    states, measured = file.with_suffix(".partial"), read_kept(file, parse_damages, _say)
    for folder in work.path.glob("sensitivity-*.partial"):
        if measured is not None or folder != states:  # done, or of a run with other options: gigabytes
            shutil.rmtree(folder)
    if measured is None:
        progress.stage("sensitivity of the layers", measure_steps(checkpoint.config.decoder))
        measured = measure_damages(
            QuantizationJob(checkpoint, calibration, settings, device=device), states, progress.step, _say
        )
        write_kept(file, damages_json(measured))
        shutil.rmtree(states)
    return measured


def _key(checkpoint: Checkpoint, calibration: Calibration, *arguments: object) -> str:
    """16 hex digits that stand for all that a kept result depends on: a part of its file's name."""
    text = f"{checkpoint.fingerprint()} {calibration.fingerprint} {arguments}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _line(report: ProjectionReport) -> str:
    return (
        f"{report.name}: {report.bits} bits / {report.group_size}, error {report.error_to_output:.2%} of its output, "
        f"{report.error_to_rounding:.2f} of rounding's"
    )
