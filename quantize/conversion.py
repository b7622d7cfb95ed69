"""From a checkpoint to a bundle: what is checked first, then the decoder, the tower and the bundle itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.checkpoint.checkpoint import Checkpoint
from export.convert import check_target, write_bundle
from export.graphs.decoder import CheckpointWeights, DecoderWeights
from export.weights.decoder_weights import FoldedDecoder
from export.weights.folded_tower import FoldedTower
from export.weights.headroom import Headroom
from omnilmm_lite.bundle.manifest import Manifest
from omnilmm_lite.console import ConsoleProgress
from omnilmm_lite.files.durable_file import remove_unfinished
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.formats import Float
from omnilmm_lite.proof import check_operators
from quantize.decoder.card_memory import check_card
from quantize.decoder.gptq_checkpoint import quantize_checkpoint
from quantize.disk import ConversionNeed
from quantize.finished_bundle import chosen_options, finished_bundle, may_be_finished
from quantize.folder.origin import take_folder
from quantize.head import RoundedHead
from quantize.memory import check_memory
from quantize.packing import check_decoder
from quantize.ranges import RangeData, measure_ranges
from quantize.request import ConversionRequest
from quantize.tower.quantizer import check_tower, quantized_tower


def convert_checkpoint(request: ConversionRequest, progress: ConsoleProgress) -> Manifest:
    """Makes the bundle at `request.out`, and returns its manifest; `progress` is shown once everything is checked.

    Where an earlier run with the same request has made it already, only says so. InputError and OmniLMMError for all
    that would stop it later, before any work, another run that writes to the same places included; ParityError where a
    graph is wrong.
    """
    if not may_be_finished(request.out):
        check_target(request.out)
    request.work_dir.parent.mkdir(parents=True, exist_ok=True)  # where its lock lies
    unlocked: list[str] = []
    with sole_owner(request.out, unlocked.append), sole_owner(request.work_dir, unlocked.append):
        return _convert(request, progress, unlocked)


def _convert(request: ConversionRequest, progress: ConsoleProgress, notes: Sequence[str]) -> Manifest:
    remove_unfinished(request.work_dir)
    checkpoint = Checkpoint.open(request.checkpoint)
    if (finished := finished_bundle(request, checkpoint, progress)) is not None:
        progress.note(f"{request.out}: finished already, from this checkpoint with these options; every hash is right")
        return finished
    # What can be known at once, in seconds: hours of work must not end at it.
    check_target(request.out)  # again: another run may just have ended
    check_decoder(checkpoint.config.decoder, request.preset.packing)
    decoder = request.decoder_bytes(checkpoint.config.decoder)
    need = ConversionNeed.of(checkpoint.config, request.preset, decoder, is_there=request.gptq is not None)
    need.check(request.out, request.work_dir)
    if request.options is not None:
        check_memory(checkpoint.config.decoder, request.work_dir)
    check_tower(checkpoint, request.preset, request.calibration, request.work_dir)
    check_card(checkpoint.config, request.device, quantizes=request.options is not None)
    check_operators()  # a card's bundle is quantized and compared on this processor, too

    with progress:
        for line in notes:
            progress.note(line)
        progress.note(need.describe(request.out, request.work_dir))
        options = chosen_options(request, checkpoint)
        headroom = _headroom(request, checkpoint, progress)  # first: it may refuse, and the decoder takes hours
        weights, report = _decoder_weights(request, checkpoint, progress)
        if request.preset.quantized and request.preset.lm_head_bits == 8:
            weights = RoundedHead(weights, request.preset.packing)
        tower, tower_report = quantized_tower(
            checkpoint, request.preset, request.calibration, request.work_dir, progress, request.device
        )
        if tower_report is not None:
            report = {**(report or {}), "tower": tower_report}
        if headroom is not None:
            weights, tower = FoldedDecoder(weights, headroom.decoder), FoldedTower(tower, headroom.tower)
            report = {**(report or {}), "fp16": headroom.to_dict()}
        return write_bundle(
            checkpoint, weights, request.preset, request.out, progress, report, tower, request.device, options
        )


def _headroom(request: ConversionRequest, checkpoint: Checkpoint, progress: ConsoleProgress) -> Headroom | None:
    """What keeps graphs in fp16 within that format's range; None where no graph is in fp16.

    InputError where nothing can.
    """
    preset = request.preset
    if Float.FP16 not in (preset.vision.compute, preset.resampler.compute, preset.decoder.compute):
        return None
    data = RangeData.read(checkpoint, request.calibration, request.limits)
    headroom = Headroom.choose(measure_ranges(checkpoint, data, request.work_dir, progress, request.device))
    headroom.check_embeddings(checkpoint.tensor("model.embed_tokens.weight"))
    tower, _ = quantized_tower(checkpoint, preset, request.calibration, request.work_dir, progress, request.device)
    FoldedTower(tower, headroom.tower).check(checkpoint.config.vision.num_hidden_layers)
    return headroom


def _decoder_weights(
    request: ConversionRequest, checkpoint: Checkpoint, progress: ConsoleProgress
) -> tuple[DecoderWeights, dict[str, Any] | None]:
    """The decoder as the request wants it, and the report on its quantization."""
    if request.gptq is not None:
        return take_folder(request.gptq, checkpoint, request.preset.packing, progress)
    if request.options is None:
        return CheckpointWeights(checkpoint), None
    folder, report = quantize_checkpoint(checkpoint, request.options, request.work_dir, progress, request.device)
    progress.note(f"GPTQ checkpoint: {folder.folder}")
    return folder, report
