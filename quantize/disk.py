"""What a conversion needs on disk, known before it starts."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.formats import LinearFormat
from omnilmm_lite.keys import decoder_keys
from omnilmm_lite.plan.disk import tower_work
from omnilmm_lite.plan.planned_model import PlannedModel
from quantize.folder.packing import Layout
from quantize.folder.tensors import LINEARS

TOWER = "tower"  # the int8 tower's folder, within the work folder


def packed_bytes(shape: tuple[int, int], layout: Layout) -> int:
    """A quantized weight (out, in): codes, and for each group of a row an fp16 scale and a zero point."""
    rows, columns = shape
    groups = 1 if layout.group_size == -1 else columns // layout.group_size
    return rows * columns * layout.bits // 8 + rows * groups * (16 + layout.bits) // 8


def checkpoint_bytes(config: DecoderConfig, layouts: Mapping[str, Layout], default: Layout) -> int:
    """Bytes of the GPTQ checkpoint: quantized linear layers with their g_idx, all else in fp16."""
    total = 0
    for name, shape in decoder_keys(config).items():
        stem = name.removesuffix(".weight")
        if stem.endswith(LINEARS):
            rows, columns = shape
            total += packed_bytes((rows, columns), layouts.get(stem, default)) + 4 * columns
        else:
            total += 2 * math.prod(shape)
    return total


def spool_bytes(config: DecoderConfig, tokens: int) -> int:
    """Of one decoder's states while `tokens` tokens pass a layer: its input, its output, the attention's results."""
    return 4 * tokens * (2 * config.hidden_size + config.q_dim)


@dataclass(frozen=True)
class ConversionNeed:
    """Bytes of the bundle, and of what stays in the work folder. How much the calibration's states add there for a time
    is known when its data is: `quantize_decoder` asks for that."""

    bundle: int
    decoder: int  # its GPTQ checkpoint, where that is to be made
    tower: int  # in int8, likewise

    @classmethod
    def of(cls, config: OmniLMMConfig, preset: Preset, decoder: int | None, *, is_there: bool) -> Self:
        """`decoder`: bytes of its GPTQ checkpoint, None where it isn't quantized. `is_there`: made already, by
        whomever."""
        bundle = PlannedModel.planned(preset.name, config, preset).disk.bundle
        if decoder is not None:  # the graph holds the same codes, scales and zero points
            planned = Layout(4, preset.packing.group_size)  # what `plan` takes every layer to have
            bundle += decoder - checkpoint_bytes(config.decoder, {}, planned)
        tower = tower_work(config.vision) if preset.tower is LinearFormat.INT8 else 0
        return cls(bundle, 0 if decoder is None or is_there else decoder, tower)

    @property
    def work(self) -> int:
        return self.decoder + self.tower

    def describe(self, out: Path, work_dir: Path) -> str:
        """One line: what the bundle will take, and the work folder."""
        bundle = f"{out} will take about {shown_size(self.bundle)}"
        return f"{bundle}, and {work_dir} {shown_size(self.work)}" if self.work else bundle

    def check(self, out: Path, work_dir: Path) -> None:
        """OmniLMMError where there is less room; what an earlier run has left in `work_dir` needs none."""
        made = used_bytes(work_dir / TOWER)
        work = max(0, self.tower - made) + max(0, self.decoder - (used_bytes(work_dir) - made))
        outside, inside = out.parent, _existing(work_dir)
        if outside.stat().st_dev == inside.stat().st_dev:
            _check_free(outside, self.bundle + work, "the conversion", "put OUT and --work-dir on different disks")
        else:
            _check_free(outside, self.bundle, "the bundle", "name another OUT")
            _check_free(inside, work, "the conversion", "name another --work-dir")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def used_bytes(folder: Path) -> int:
    """Bytes of all files below; one with two names counts once."""
    found = (file.stat() for file in folder.rglob("*") if file.is_file())
    return sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())


def _check_free(folder: Path, needed: int, purpose: str, advice: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OmniLMMError(
            f"{folder}: {purpose} needs {shown_size(needed)} there, and {shown_size(free)} are free: make room, "
            f"or {advice}"
        )


def check_room(folder: Path, needed: int) -> None:
    """OmniLMMError where the disk has less than `needed` bytes free."""
    _check_free(folder, needed, "the quantization", "name another --work-dir")


@contextmanager
def full_disk_said(folder: Path) -> Iterator[None]:
    """Turns a full disk inside the block into an OmniLMMError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OmniLMMError(
            f"{folder}: the disk is full; finished layers are kept: make room and give the same command again"
        ) from error
