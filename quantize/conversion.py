"""From a checkpoint to a bundle: what is checked first, then the decoder, the tower and the bundle itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.checkpoint.checkpoint import Checkpoint
from export.convert import check_target, write_bundle
from export.graphs.decoder import CheckpointWeights, DecoderWeights
from omnilmm_lite.bundle.manifest import Manifest
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.console import ConsoleProgress
from omnilmm_lite.proof import check_operators
from quantize.decoder.gptq_checkpoint import quantize_checkpoint
from quantize.decoder.options import DecoderOptions
from quantize.disk import ConversionNeed, used_bytes
from quantize.folder.origin import take_folder
from quantize.head import RoundedHead
from quantize.memory import check_memory
from quantize.tower.quantizer import check_tower, quantized_tower


@dataclass(frozen=True)
class ConversionRequest:
    """What is to be converted, and how."""

    checkpoint: Path
    out: Path  # the bundle; absolute
    work_dir: Path  # where finished decoder layers and tower blocks are kept
    preset: Preset
    options: DecoderOptions | None  # how to quantize the decoder; None where it stays as it is or comes from `gptq`
    gptq: Path | None  # a GPTQ folder that the decoder is taken from instead
    calibration: Path | None  # data whose pictures the tower is calibrated on; None: the built-in ones

    def decoder_bytes(self, config: DecoderConfig) -> int | None:
        """About what the decoder's GPTQ checkpoint takes; None where it isn't quantized."""
        if self.options is not None:
            return self.options.checkpoint_bytes(config)
        return None if self.gptq is None else used_bytes(self.gptq)


def convert_checkpoint(request: ConversionRequest, progress: ConsoleProgress) -> Manifest:
    """Makes the bundle at `request.out`, and returns its manifest; `progress` is shown once everything is checked.

    InputError and OmniLMMError for all that would stop it later, before any work; ParityError where a graph is wrong.
    """
    # What can be known at once, in seconds: hours of work must not end at it.
    check_target(request.out)
    checkpoint = Checkpoint.open(request.checkpoint)
    decoder = request.decoder_bytes(checkpoint.config.decoder)
    need = ConversionNeed.of(checkpoint.config, request.preset, decoder, is_there=request.gptq is not None)
    need.check(request.out, request.work_dir)
    if request.options is not None:
        check_memory(checkpoint.config.decoder, request.work_dir)
    check_tower(checkpoint, request.preset, request.calibration, request.work_dir)
    check_operators()  # a card's bundle is quantized and compared on this processor, too

    with progress:
        progress.note(need.describe(request.out, request.work_dir))
        weights, report = _decoder_weights(request, checkpoint, progress)
        if request.preset.quantized and request.preset.lm_head_bits == 8:
            weights = RoundedHead(weights)
        tower, tower_report = quantized_tower(
            checkpoint, request.preset, request.calibration, request.work_dir, progress
        )
        if tower_report is not None:
            report = {**(report or {}), "tower": tower_report}
        return write_bundle(checkpoint, weights, request.preset, request.out, progress, report, tower)


def _decoder_weights(
    request: ConversionRequest, checkpoint: Checkpoint, progress: ConsoleProgress
) -> tuple[DecoderWeights, dict[str, Any] | None]:
    """The decoder as the request wants it, and the report on its quantization."""
    if request.gptq is not None:
        return take_folder(request.gptq, checkpoint, progress)
    if request.options is None:
        return CheckpointWeights(checkpoint), None
    folder, report = quantize_checkpoint(checkpoint, request.options, request.work_dir, progress)
    progress.note(f"GPTQ checkpoint: {folder.folder}")
    return folder, report
