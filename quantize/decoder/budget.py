"""Spending a given size: more bits or smaller groups for the layers that lose most by 4 bits."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omnilmm_lite.bundle.packing import head_row_multiple, padded
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.bundle.schema import build
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.keys import Shape, decoder_keys
from quantize.decoder.stages import STAGES
from quantize.folder.packing import Layout
from quantize.head import head_layout

Unit = tuple[str, ...]  # linear layers that share their input
Damages = Mapping[Unit, Mapping[Layout, float]]  # in nats, see `Choice`

MB = 1e6  # finer than options are given in: the two that are compared may be near


@dataclass(frozen=True)
class Choice:
    """One way to quantize a unit: what it takes and what it costs."""

    layout: Layout
    size: int  # bytes
    damage: float  # nats of KL divergence of the whole model's answers, if nothing but this unit were quantized


@dataclass(frozen=True)
class _Damage:
    """A layout's damage, as a file keeps it."""

    layout: Layout
    damage: float


def unit_names(config: DecoderConfig) -> list[Unit]:
    """In the order of computing. The graph computes a unit as one product, so its layers must be alike."""
    layers = range(config.num_hidden_layers)
    return [tuple(f"model.layers.{layer}.{part}" for part in stage) for layer in layers for stage in STAGES]


def unit_bytes(config: DecoderConfig, unit: Sequence[str], layout: Layout, preset: Preset) -> int:
    """Bytes that a unit in this layout takes in the decoder's data file."""
    shapes = decoder_keys(config)
    return sum(_packed_bytes(shapes[f"{name}.weight"], layout, preset) for name in unit)


def _packed_bytes(shape: Shape, layout: Layout, preset: Preset) -> int:
    """Bytes of a weight (out, in) as MatMulNBits stores it: codes, scales in the activations' format, zero points."""
    rows, columns = shape
    groups = columns // layout.group_size
    zeros = -(-groups * layout.bits // 8)
    return rows * (columns * layout.bits // 8 + groups * preset.decoder.compute.numpy.itemsize + zeros)


def plain_bytes(config: DecoderConfig, preset: Preset) -> int:
    """Bytes of what the decoder's file holds besides the units: norms, rotary tables, lm_head."""
    shapes = decoder_keys(config)
    rows, columns = shapes["lm_head.weight"]
    head = padded(rows, head_row_multiple(preset.lm_head_bits, preset.target, preset.packing)), columns
    norms = sum(math.prod(shape) for name, shape in shapes.items() if name.endswith("norm.weight"))
    stored, computed = (part.numpy.itemsize for part in (preset.decoder.storage, preset.decoder.compute))
    tables = config.max_position_embeddings * config.head_dim * computed
    if preset.lm_head_bits == 16:
        return tables + norms * stored + math.prod(head) * stored
    return tables + norms * stored + _packed_bytes(head, head_layout(config.hidden_size), preset)


def damages_json(damages: Damages) -> dict[str, Any]:
    """As a file keeps it; `parse_damages` is the inverse."""
    return {
        " ".join(unit): [{"layout": asdict(layout), "damage": damage} for layout, damage in each.items()]
        for unit, each in damages.items()
    }


def parse_damages(data: Mapping[str, Any]) -> dict[Unit, dict[Layout, float]]:
    """InputError for anything but what `damages_json` gave."""
    damages: dict[Unit, dict[Layout, float]] = {}
    for unit, options in data.items():
        if not isinstance(options, list):
            raise InputError(f"{printable(unit)}: these are no layouts with their damages")
        found = [build(_Damage, option, printable(unit)) for option in options]
        damages[tuple(unit.split(" "))] = {each.layout: each.damage for each in found}
    return damages


def build_choices(config: DecoderConfig, damages: Damages, preset: Preset) -> dict[Unit, list[Choice]]:
    """With what each takes in the preset's graph: damages are the same for all presets, sizes aren't."""
    return {
        unit: [Choice(layout, unit_bytes(config, unit, layout, preset), damage) for layout, damage in each.items()]
        for unit, each in damages.items()
    }


def spend(choices: Mapping[Unit, Sequence[Choice]], size: int) -> dict[str, Layout]:
    """The layout of every linear layer, for the least damage that all units together do within `size` bytes.

    Takes the upgrade that saves most damage a byte, again and again; exact but for the last few bytes, since only
    choices on the lower convex hull of (size, damage) are considered. Damages of units add up well, as long as they are
    small. InputError where even the smallest choices take more.
    """
    hulls = {unit: _lower_hull(options) for unit, options in choices.items()}
    total = sum(hull[0].size for hull in hulls.values())
    if total > size:
        raise InputError(
            f"--target-size: it leaves {max(size, 0) / MB:,.1f} MB for the decoder's linear layers, which take "
            f"{total / MB:,.1f} MB at least; give more, or larger groups"
        )
    taken = dict.fromkeys(hulls, 0)
    queue = [(-_gain(hull, 0), unit) for unit, hull in hulls.items() if len(hull) > 1]
    heapq.heapify(queue)
    while queue:
        _, unit = heapq.heappop(queue)
        hull, place = hulls[unit], taken[unit]
        more = hull[place + 1].size - hull[place].size
        if total + more > size:
            continue  # another unit's upgrade may still fit
        total += more
        taken[unit] = place + 1
        if place + 2 < len(hull):
            heapq.heappush(queue, (-_gain(hull, place + 1), unit))
    return {name: hulls[unit][place].layout for unit, place in taken.items() for name in unit}


def _gain(hull: Sequence[Choice], place: int) -> float:
    """Nats of damage that the next choice saves for each byte that it takes more."""
    here, there = hull[place], hull[place + 1]
    return (here.damage - there.damage) / (there.size - here.size)


def _lower_hull(options: Sequence[Choice]) -> list[Choice]:
    """The choices worth taking, smallest first: each saves less damage a byte than the one before it."""
    hull: list[Choice] = []
    for option in sorted(options, key=lambda choice: (choice.size, choice.damage)):
        if hull and option.damage >= hull[-1].damage:
            continue
        while len(hull) > 1 and _gain(hull, len(hull) - 2) <= _gain([hull[-1], option], 0):
            hull.pop()
        hull.append(option)
    return hull
