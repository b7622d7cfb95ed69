"""Whether a GPTQ folder that somebody else made belongs to a checkpoint, and what the manifest says about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.checkpoint.checkpoint import Checkpoint
from export.weights.weight import QuantizedWeight
from omnilmm_lite.bundle.folder import sha256
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.errors import InputError
from omnilmm_lite.keys import decoder_keys
from omnilmm_lite.progress import Progress
from quantize.folder.packing import ZeroFormat
from quantize.folder.read import GPTQFolder, read_gptq_folder

# Plain tensors were rounded to bf16 at the worst, or to fp16, whose smallest step this is.
PLAIN_RTOL, PLAIN_ATOL = 2.0**-8, 2.0**-24
# Squared error of a quantized weight relative to its square: 0.03 is much for 4 bits, and another model's is about 2.
LARGEST_ERROR = 0.5
# Read as the other format, all weights are off by one step of their grid; rounding's errors cancel.
OTHER_FORMAT = {ZeroFormat.V1: ZeroFormat.V2, ZeroFormat.V2: ZeroFormat.V1}
SHIFT_OF_OTHER = {ZeroFormat.V1: -1.0, ZeroFormat.V2: 1.0}
SHIFT_TOLERANCE = 0.3

Step = Callable[[str], None]


def take_folder(
    path: Path, checkpoint: Checkpoint, packing: Packing, progress: Progress
) -> tuple[GPTQFolder, dict[str, Any]]:
    """Opens a GPTQ folder of the checkpoint's decoder; also returns what the manifest says about it.

    InputError where it can't be used, wasn't made for the packing, or was made from another model.
    """
    folder = read_gptq_folder(path, checkpoint.config.decoder)
    check_packing(folder, packing)
    progress.stage("GPTQ folder: is it this model's?", num_steps(checkpoint))
    check_origin(folder, checkpoint, progress.step)
    progress.stage("GPTQ folder: hashes", 1 + len(folder.files))
    return folder, describe(folder, progress.step)


def check_packing(folder: GPTQFolder, packing: Packing) -> None:
    """InputError where a layer of the folder isn't quantized as the packing's kernels take it: it is never repacked.

    Reads headers, and where groups have the right size the zero points.
    """
    if packing is Packing.BLOCKWISE:
        return
    for name, layout in folder.layouts.items():
        found = "" if layout.group_size == packing.group_size else f"groups of {layout.group_size}"
        if not found and folder.has_zero_points(name):
            found = "zero points"
        if found:
            raise InputError(
                f"{folder.folder}: {name} has {found}, and --packing {packing.value} needs groups of "
                f"{packing.group_size} without zero points (sym): quantize with that option, or leave it out"
            )


def check_origin(folder: GPTQFolder, checkpoint: Checkpoint, on_step: Step) -> None:
    """InputError unless every tensor of the folder is, to within rounding, the one of the checkpoint.

    Reads each tensor of both decoders once, and so finds everything in the folder that can't be used, before anything
    is built of it. `on_step` is called with each tensor's name: `num_steps` times.
    """
    for name in decoder_keys(checkpoint.config.decoder):
        layer = name.removesuffix(".weight")
        if layer in folder.layouts:
            _check_linear(folder, checkpoint, layer)
        elif not np.allclose(folder.array(name), checkpoint.array(name), rtol=PLAIN_RTOL, atol=PLAIN_ATOL):
            raise _another_model(folder, checkpoint, name)
        on_step(name)


def num_steps(checkpoint: Checkpoint) -> int:
    """How often `check_origin` calls `on_step`."""
    return len(decoder_keys(checkpoint.config.decoder))


def describe(folder: GPTQFolder, on_step: Step) -> dict[str, Any]:
    """For the manifest: the folder's name, how it says it was quantized, and the hashes of its files.

    `on_step` is called with each file's name.
    """
    stated = folder.quantization
    files = []
    for path in (folder.folder / "config.json", *folder.files):
        files.append({"path": path.name, "size": path.stat().st_size, "sha256": sha256(path)})
        on_step(path.name)
    return {
        "settings": {"gptq": folder.folder.resolve().name}
        | {name: stated[name] for name in ("bits", "group_size", "sym", "desc_act") if name in stated},
        "source": {
            "folder": folder.folder.resolve().name,
            "quantization_config": dict(stated),
            "files": files,
        },
    }


def _check_linear(folder: GPTQFolder, checkpoint: Checkpoint, name: str) -> None:
    weight, wanted = folder.stored(name), checkpoint.array(f"{name}.weight")
    if not isinstance(weight, QuantizedWeight):
        raise TypeError(f"{name} is not quantized")
    order = folder.input_orders.get(name)
    if order is not None:
        wanted = wanted[:, order]
    difference = weight.dequantize() - wanted
    stated, other = folder.zero_format, OTHER_FORMAT[folder.zero_format]
    if abs(_shift(weight, difference) - SHIFT_OF_OTHER[stated]) < SHIFT_TOLERANCE:
        raise InputError(
            f"{folder.folder}: {name}: its zero points are off by one, so they are stored as {other.value} does and "
            f"not as {stated.value}; correct checkpoint_format in its config.json"
        )
    if not np.square(difference).sum() <= LARGEST_ERROR * np.square(wanted).sum():
        raise _another_model(folder, checkpoint, name)


def _another_model(folder: GPTQFolder, checkpoint: Checkpoint, name: str) -> InputError:
    return InputError(
        f"{folder.folder} was made from another model than {checkpoint.folder}: {name} is not the same in both; "
        "quantize this checkpoint's decoder, or give the checkpoint that was quantized"
    )


def _shift(weight: QuantizedWeight, difference: NDArray[np.float32]) -> float:
    """The mean of a weight's differences, each in steps of its grid."""
    groups = difference.reshape(*weight.scales.shape, weight.group_size).mean(2)  # (out, groups)
    used = weight.scales != 0
    return float((groups[used] / weight.scales[used]).mean()) if used.any() else 0.0
