"""Whether OUT is what a conversion would make: then the same command has nothing left to do, and says so.

A run may have been killed between giving the bundle its name and its own end. So each bundle's manifest says what was
chosen, beside the hashes of what it was made from and of its own files; whatever differs in any of these is somebody
else's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.tokenizer import convert_tokenizer
from export.convert import hashed_files
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import Manifest
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.progress import Progress
from omnilmm_lite.text.tokenizer import Tokenizer
from omnilmm_lite.version import __version__
from quantize.calibration.token_sequences import CalibrationLimits, read_sequences
from quantize.folder.origin import describe
from quantize.folder.read import read_gptq_folder
from quantize.folder.write import REPORT_FILE
from quantize.ranges import RangeData
from quantize.request import ConversionRequest
from quantize.tower.pictures import calibration_pictures
from quantize.work_folder import WorkFolder

OPTIONS = "options"  # in the manifest's `source`


def chosen_options(request: ConversionRequest, checkpoint: Checkpoint) -> dict[str, Any]:
    """All that was chosen about a bundle, as its manifest keeps it: options, and a hash of the calibration data.

    Not the places, and not the device, which changes the order of sums alone. Reads that data; InputError where it
    can't be used.
    """
    preset, options = request.preset, request.options
    chosen: dict[str, Any] = {"preset": preset.name, "packing": preset.packing.value}
    if not preset.quantized:
        return chosen
    chosen |= {
        "lm_head_bits": preset.lm_head_bits,
        "calibration": _data_hash(checkpoint, request.calibration, request.limits),
        "gptq": request.gptq is not None,
    }
    if options is not None:
        chosen |= {"answer_tokens": options.answer_tokens, "target_size": options.target_size}
        chosen |= options.settings.to_dict()
    return chosen


def may_be_finished(out: Path) -> bool:
    """Whether `out` is a bundle that says what was chosen about it: only then `finished_bundle` can know it."""
    try:
        return OPTIONS in Bundle.open(out).manifest.source
    except InputError:
        return False


def finished_bundle(request: ConversionRequest, checkpoint: Checkpoint, progress: Progress) -> Manifest | None:
    """The manifest of what is at OUT, where that is, byte for byte, what this conversion would make; else None.

    Hashes the bundle and all that it was made from, once the options are seen to be the same.
    """
    if not may_be_finished(request.out):
        return None
    bundle = Bundle.open(request.out)
    manifest = bundle.manifest
    if (manifest.tool_version, manifest.name) != (__version__, request.out.name):
        return None
    if manifest.source[OPTIONS] != chosen_options(request, checkpoint):
        return None
    try:
        progress.stage("hashes of the bundle that is there", len(manifest.files) + len(checkpoint.files))
        bundle.verify(lambda entry: progress.step(entry.path))
        if manifest.source.get("files") != hashed_files(checkpoint.files, progress.step):
            return None
        return manifest if _is_its_decoder(manifest.quantization or {}, request, checkpoint) else None
    except InputError:  # a damaged bundle, another GPTQ folder
        return None


def _is_its_decoder(quantization: dict[str, Any], request: ConversionRequest, checkpoint: Checkpoint) -> bool:
    """Whether the decoder came from the folder that is named, or from the one in the work folder: what an earlier run
    has left there, layers' bits above all, is gone on with."""
    if request.gptq is not None:
        folder = read_gptq_folder(request.gptq, checkpoint.config.decoder)
        return all(quantization.get(key) == value for key, value in describe(folder, lambda _: None).items())
    if request.options is None:
        return True
    report = read_json(WorkFolder(request.work_dir).gptq / REPORT_FILE)
    return all(quantization.get(key) == value for key, value in report.items())


def _data_hash(checkpoint: Checkpoint, source: Path | None, limits: CalibrationLimits) -> str:
    """The same for the same calibration data and checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(convert_tokenizer(checkpoint.folder, checkpoint.config.tokens).to_str(), encoding="utf-8")
        sequences = read_sequences(source, Tokenizer(path), checkpoint.config, limits)
    pictures = [*calibration_pictures(source), *(each.image for each in sequences if each.image is not None)]
    return RangeData([*dict.fromkeys(pictures)], sequences).fingerprint(checkpoint)
