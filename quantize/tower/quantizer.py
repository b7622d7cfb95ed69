"""The tower to int8, in two passes over its blocks, each of which goes on where it was killed.

First the calibration pictures run through all blocks in fp32, and each block's statistics are kept: the vector that
divides the residual stream is one for the whole tower, so no weight can be rounded before the last block was seen.
Then each block's weights are rounded from its statistics alone. Rounding is so fitted to the exact stream and not to
the one behind rounded blocks: that takes one run of the pictures instead of two, and what the blocks in front do to the
stream, 1e-4 of it each, is far smaller than the difference between two pictures.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from safetensors.torch import load_file
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_checked_tensors
from export.parity.cosines import Cosines
from export.reference.layerwise import ModuleSource, load_module
from export.reference.model import VisionBlock, VisionTower
from export.reference.pictures import stack_pixels
from export.torch_device import TorchDevice
from export.weights.tower_weights import PREFIX, CheckpointTower, TowerModules, TowerWeights
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.bundle.schema import build
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.checked_file import is_usable, remove_checked
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.formats import LinearFormat
from omnilmm_lite.picture.reading import load_image, pixel_hash
from omnilmm_lite.plan.disk import tower_work
from omnilmm_lite.progress import Progress
from quantize.disk import TOWER, check_room, full_disk_said
from quantize.tower.block import choose_inner, quantize_block
from quantize.tower.int8_tower import Int8Block, Int8Tower
from quantize.tower.pictures import calibration_pictures
from quantize.tower.residual_divisors import residual_divisors
from quantize.tower.rounded import RoundedTower
from quantize.tower.statistics import BlockStatistics
from quantize.work_folder import WorkFolder, read_kept, write_kept

WORK_FORMAT = 3  # raise it when the same arguments come to give other files
OUTDATED_FORMATS = (1, 2)  # their codes overflow on processors without VNNI: made again, which takes minutes


def quantized_tower(
    checkpoint: Checkpoint,
    preset: Preset,
    calibration: Path | None,
    work_dir: Path,
    progress: Progress,
    device: TorchDevice = TorchDevice(),  # noqa: B008  # immutable
) -> tuple[TowerWeights, dict[str, Any] | None]:
    """The tower as the preset wants it, and a report on it where it was calibrated.

    `calibration`: the decoder's data; its pictures are taken, or the built-in ones where it has none.
    """
    if preset.tower is LinearFormat.INT8:
        pictures = calibration_pictures(calibration)
        return quantize_tower(
            checkpoint, pictures, work_dir, progress, device, on_repair=lambda line: print(line, file=sys.stderr)
        )
    tower = RoundedTower(checkpoint) if preset.tower is LinearFormat.BITS8 else CheckpointTower(checkpoint)
    return tower, None


def check_tower(checkpoint: Checkpoint, preset: Preset, calibration: Path | None, work_dir: Path) -> None:
    """InputError where `quantized_tower` would refuse these pictures: said before the decoder's hours, not after."""
    if preset.tower is LinearFormat.INT8 and (work_dir / TOWER).is_dir():
        images = [load_image(picture) for picture in calibration_pictures(calibration)]
        WorkFolder(work_dir / TOWER).check_arguments(_arguments(checkpoint, images), outdated=OUTDATED_FORMATS)


def quantize_tower(
    checkpoint: Checkpoint,
    pictures: Sequence[Path],
    work_dir: Path,
    progress: Progress,
    device: TorchDevice = TorchDevice(),  # noqa: B008  # immutable
    *,
    on_repair: Callable[[str], None] = lambda line: None,
) -> tuple[Int8Tower, dict[str, Any]]:
    """The tower in int8, made or completed in `work_dir`, where its blocks stay, and the report on it.

    The pictures and GPTQ run on `device`, all else on the CPU; a run may go on on another device. `on_repair` gets a
    line for each file of an earlier run that is damaged, and therefore made again.

    InputError for a picture that can't be read, and where `work_dir` holds a tower of another checkpoint or other
    pictures; OmniLMMError where the disk has no room.
    """
    config, folder = checkpoint.config.vision, work_dir / TOWER
    folder.mkdir(parents=True, exist_ok=True)
    images = [load_image(picture) for picture in pictures]
    arguments = _arguments(checkpoint, images)
    why = ""
    if WorkFolder(folder).check_arguments(arguments, outdated=OUTDATED_FORMATS):
        WorkFolder(folder).begin_again(arguments)
        why = " (again: an earlier version's int8 was wrong on some processors)"
    needed = tower_work(config, len(images))
    check_room(folder, needed - sum(file.stat().st_size for file in folder.iterdir()))
    run = _TowerRun(checkpoint, folder, progress, device, on_repair)
    with full_disk_said(folder), device.full_memory_said("the vision tower"), torch.inference_mode():
        progress.stage(f"vision tower's calibration, which needs {shown_size(needed)} in {folder}{why}", run.count)
        divisors = run.observe(stack_pixels(images, config))
        progress.stage("vision tower in 8-bit integers", run.count)
        blocks = [run.round(index, divisors) for index in range(run.count)]
    report = {"pictures": len(images), "largest_divisor": float(divisors.max()), "blocks": blocks}
    return Int8Tower(checkpoint, divisors.numpy(), run.read), report


def _arguments(checkpoint: Checkpoint, images: Sequence[Image]) -> dict[str, Any]:
    """All that the result depends on."""
    hashes = " ".join(map(pixel_hash, images))
    return {
        "work_format": WORK_FORMAT,
        "checkpoint": checkpoint.fingerprint(),
        "calibration": hashlib.sha256(hashes.encode()).hexdigest(),
    }


@dataclass(frozen=True)
class BlockReport:
    """How near an int8 block is to the exact one, over one picture, and how wide the rotation before its last layer."""

    mean_cosine: float
    worst_cosine: float
    fc2_rotation: int


class _TowerRun:
    """One run of it, which begins where an earlier run in the same folder ended."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        progress: Progress,
        device: TorchDevice,
        on_repair: Callable[[str], None],
    ) -> None:
        self.checkpoint, self.folder, self.progress, self.device = checkpoint, folder, progress, device.device
        self.on_repair = on_repair
        self.config = checkpoint.config.vision
        self.count = self.config.num_hidden_layers

    def observe(self, pixels: Tensor) -> Tensor:
        """Leaves every block's statistics in the folder; returns the residual stream's divisors, float32 (hidden,)."""
        file, states_file = (self.folder / f"{name}.safetensors" for name in ("divisors", "states"))
        if self._is_usable(file) and all(map(self._has_statistics, range(self.count))):
            remove_checked(states_file)  # where an earlier run was killed before it did
            for index in range(self.count):
                self.progress.step(f"block {index + 1}/{self.count}")
            return load_file(file)["divisors"]
        first, states = self._enter(states_file, pixels)
        for index in range(self.count):
            if index >= first:
                block = self._load(self.checkpoint, index, self.device)
                statistics = BlockStatistics.gather(block, states)
                write_checked_tensors(self._statistics(index), statistics.to_tensors())
                write_checked_tensors(states_file, {"states": states.cpu().numpy(), "entering": np.asarray(index + 1)})
            self.progress.step(f"block {index + 1}/{self.count}")
        loudness = [load_file(self._statistics(index))["loudness"] for index in range(self.count)]
        divisors = residual_divisors(torch.cat(loudness))
        write_checked_tensors(file, {"divisors": divisors.numpy()})
        remove_checked(states_file)
        return divisors

    def _enter(self, file: Path, pixels: Tensor) -> tuple[int, Tensor]:
        """The first block without statistics, and the hidden states (pictures, tokens, hidden) that enter it."""
        if self._is_usable(file) and all(map(self._has_statistics, range(int(load_file(file)["entering"])))):
            tensors = load_file(file)
            # a copy of its own, not the file's map: it is written over
            return int(tensors["entering"]), tensors["states"].to(self.device, copy=True)
        shell = load_module(self.checkpoint, PREFIX, lambda: VisionTower(self.config, blocks=()), self.device)
        return 0, shell.embed(pixels.to(self.device))

    def round(self, index: int, divisors: Tensor) -> dict[str, Any]:
        """Leaves the int8 block in the folder, in place of its statistics; returns the report on it."""
        if (report := self._finished(index)) is None:
            chosen, damage = self._quantize(index, divisors)
            report = BlockReport(**asdict(damage), fc2_rotation=chosen.linears["mlp.fc2"].rotation)
            write_kept(self._report(index), asdict(report))
            write_checked_tensors(self._block(index), chosen.to_tensors())
        remove_checked(self._statistics(index))
        self.progress.step(f"block {index + 1}/{self.count}: worst token's cosine {report.worst_cosine:.4f}")
        return asdict(report)

    def _quantize(self, index: int, divisors: Tensor) -> tuple[Int8Block, Cosines]:
        """The block in int8 and how near it is to the exact one. The statistics' map is closed when this returns, since
        Windows removes no mapped file."""
        exact = self._load(self.checkpoint, index)
        statistics = BlockStatistics.from_tensors(load_file(self._statistics(index)))
        try:
            quantized = quantize_block(exact, statistics, divisors, self.device)
        except InputError as error:
            raise InputError(f"{PREFIX}.blocks.{index} can't be quantized: {error}") from error
        tower = Int8Tower(self.checkpoint, divisors.numpy(), lambda _: quantized)
        emulated = self._load(TowerModules(tower), index)
        return choose_inner(exact, emulated, quantized, statistics.probe, divisors)

    def _has_statistics(self, index: int) -> bool:
        """Or the block, which is rounded already and needs them no more."""
        return self._is_usable(self._statistics(index)) or self._finished(index) is not None

    def _finished(self, index: int) -> BlockReport | None:
        """The report on a block that is rounded already; None where it isn't. Without its report, it is made again."""
        if not self._is_usable(self._block(index)):
            return None
        report = read_kept(self._report(index), lambda data: build(BlockReport, data), self.on_repair)
        if report is None:
            remove_checked(self._block(index))
        return report

    def _is_usable(self, file: Path) -> bool:
        """Whether the file can be gone on with. A damaged one is said, once, since it is removed."""
        if is_usable(file):
            return True
        if file.is_file():
            self.on_repair(f"{file}: the file is damaged; making it again")
            remove_checked(file)
        return False

    def read(self, index: int) -> Int8Block:
        return Int8Block.read(self._block(index))

    def _load(self, source: ModuleSource, index: int, device: torch.device | None = None) -> VisionBlock:
        return load_module(source, f"{PREFIX}.blocks.{index}", partial(VisionBlock, self.config), device)

    def _statistics(self, index: int) -> Path:
        return self.folder / f"statistics-{index:03}.safetensors"

    def _block(self, index: int) -> Path:
        return self.folder / f"block-{index:03}.safetensors"

    def _report(self, index: int) -> Path:
        return self._block(index).with_suffix(".json")
