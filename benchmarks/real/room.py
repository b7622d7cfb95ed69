"""What it takes on disk, said before it starts."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.full_width import sized
from benchmarks.peers.make_gguf import tensors
from benchmarks.real.settings import Run
from benchmarks.real.stages import AGAINST_PEERS, PRESETS, Stage
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.plan.disk import tower_work
from omnilmm_lite.plan.planned_model import PlannedModel
from quantize.disk import checkpoint_bytes
from quantize.folder.packing import Layout

GB = 1e9
PEER_BYTES_PER_WEIGHT = 0.6  # 4.5 bits, and the last layer in 6 or 8: more than either takes
SPARE = 1.02


@dataclass(frozen=True)
class Need:
    """A part that is still to be made. `is_bundle`: it may be removed when it has been measured."""

    name: str
    size: int
    is_bundle: bool = False


def needs(run: Run, stages: Sequence[Stage]) -> list[Need]:
    """Of the stages without a result. Computed, and a little more than it comes to."""
    config = sized(run.settings.layers, run.settings.blocks)
    missing = {stage.name for stage in stages if not stage.is_done(run)}
    disks = {name: PlannedModel.planned(name, config, find_preset(name)).disk for name in PRESETS}
    weights = sum(math.prod(shape) for _, shape in tensors(config.decoder))
    peer = round(PEER_BYTES_PER_WEIGHT * weights)
    found = [
        Need("checkpoint", disks[AGAINST_PEERS].checkpoint),
        Need("gptq", checkpoint_bytes(config.decoder, {}, Layout(bits=4, group_size=128))),
        Need("gguf", peer),
        Need("openvino", peer),
        *(Need(f"convert-{name}", disks[name].bundle, is_bundle=True) for name in PRESETS),
    ]
    found = [need for need in found if need.name in missing]
    if any(need.is_bundle for need in found):
        found.append(Need("the work folder of conversions", tower_work(config.vision)))
    return found


def peak(found: Sequence[Need], *, removed: bool) -> int:
    """The most that is there at once: all bundles, or where they are removed in turn, the largest."""
    bundles = [need.size for need in found if need.is_bundle]
    others = sum(need.size for need in found if not need.is_bundle)
    return round(SPARE * (others + (max(bundles, default=0) if removed else sum(bundles))))


def check_room(run: Run, needed: int) -> None:
    """OmniLMMError where the disk has less than that free."""
    free = shutil.disk_usage(run.work).free
    if free < needed:
        advice = "" if run.remove_bundles else "; --remove-bundles needs less"
        raise OmniLMMError(
            f"{run.work}: {needed / GB:.1f} GB are needed there, and {free / GB:.1f} GB are free: make room{advice}"
        )
