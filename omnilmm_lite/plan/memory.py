"""The plan: bytes by part, and the totals on the device, on the host and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.bundle.tensor_size import loaded_bytes, loading_bytes
from omnilmm_lite.engine.decoder_graphs import MOST_SLOTS
from omnilmm_lite.errors import InputError
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.plan.workspace import (
    BASE,
    CUDA_CONTEXT,
    CUDA_HOST,
    Need,
    decoder_workspace,
    tower_workspace,
)


@dataclass(frozen=True)
class MemoryPhase:
    """What is in the device's memory at the same time, in bytes. `more`: what a later, longer turn may add."""

    name: str
    vision: int = 0
    resampler: int = 0
    decoder: int = 0
    kv_cache: int = 0
    workspace: int = 0
    more: int = 0

    @property
    def total(self) -> int:
        return self.vision + self.resampler + self.decoder + self.kv_cache + self.workspace

    @property
    def most(self) -> int:
        return self.total + self.more


@dataclass(frozen=True)
class Plan:
    """On the CPU the device is the host: its memory is the same RAM, and the program's own comes on top."""

    model: PlannedModel
    context: int
    phases: tuple[MemoryPhase, ...]  # one, or two that never meet
    slots: int = 1  # answers at once

    @property
    def largest(self) -> MemoryPhase:
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def device_total(self) -> int:
        """Bytes on the device for one picture and one question; the KV cache counts in full."""
        return self.largest.total

    @property
    def device_most(self) -> int:
        """Bytes on the device for prompts that fill the context, and more pictures."""
        return max(phase.most for phase in self.phases)

    @property
    def host_base(self) -> int:
        """Bytes of RAM that the process takes without the model."""
        return BASE + (CUDA_HOST if self.model.preset.target is Device.CUDA else 0)

    @property
    def host_total(self) -> int:
        """The process's peak of resident memory, for one picture and one question. Of the embeddings, which are mapped,
        a question touches a few pages; they are the system's to take back, and not in here."""
        return self.host_base + (self.device_total if self.model.preset.target is Device.CPU else 0)

    @property
    def needed(self) -> int:
        """Bytes that a card must have, or on the CPU the machine's RAM."""
        return self.host_total if self.model.preset.target is Device.CPU else self.device_total

    @property
    def needed_most(self) -> int:
        return self.needed + self.device_most - self.device_total

    def part(self, name: str) -> int:
        """Bytes of one part (`vision`, `kv_cache`, ...) in the phase that has most of it."""
        size: int = max(getattr(phase, name) for phase in self.phases)
        return size


def make_plan(model: PlannedModel, context: int, slots: int = 1) -> Plan:
    """The plan for `context` tokens in each of `slots` answers at once. InputError where the model takes no such
    context, or there are no such slots."""
    if not 1 <= slots <= MOST_SLOTS:
        raise InputError(f"--parallel: {slots} is out of range; give 1 to {MOST_SLOTS}")
    limit = model.config.decoder.max_position_embeddings
    if not 1 <= context <= limit:
        raise InputError(f"--context: {context} is out of range; this model takes 1 to {limit} tokens")
    preset, graphs = model.preset, model.graphs
    tower = tower_workspace(model.config, preset, kept=not preset.time_shared)
    decoder = decoder_workspace(model.config, preset, context)
    loaded = {name: loaded_bytes(tensors, preset.target) for name, tensors in vars(graphs).items()}
    towers = {"vision": loaded["vision"], "resampler": loaded["resampler"]}
    decoders = {"decoder": loaded["decoder"] + loaded["prefill"], "kv_cache": slots * kv_cache_bytes(model, context)}
    driver = CUDA_CONTEXT if preset.target is Device.CUDA else 0
    # the prompts' own graph is mapped: nothing to pack
    copies = loading_bytes(graphs.decoder, preset.target, preset.packing)
    if not preset.time_shared and preset.target is Device.CUDA:
        # a card's decoder is loaded first, before there is a tower
        both = _both_phase(towers, decoders, tower, decoder, driver)
        load = MemoryPhase("load", **decoders, workspace=copies + driver)
        return Plan(model, context, (load, both) if copies else (both,), slots)
    decoder = Need(max(decoder.first, copies), max(decoder.most, copies))
    if not preset.time_shared:
        return Plan(model, context, (_both_phase(towers, decoders, tower, decoder, driver),), slots)
    # The cache is filled by the first question and outlives the decoder's graphs, so a second picture meets it. On a
    # card it is there from the beginning.
    cache = decoders["kv_cache"]
    at_once = cache if preset.target is Device.CUDA else 0
    # Where prompts have a graph of their own, the one that decodes is loaded beside the first picture, and stays. The
    # tower's weights are mapped in int8: nothing of them is packed.
    stays = preset.int8_prefill
    loading = copies if stays else 0 if preset.mapped else loading_bytes(graphs.vision, preset.target)
    picture = MemoryPhase(
        "picture",
        **towers,
        decoder=loaded["decoder"] if stays else 0,
        kv_cache=at_once,
        workspace=max(tower.first, loading) + driver,
        more=tower.most - tower.first + cache - at_once,
    )
    answer = MemoryPhase("answer", **decoders, workspace=decoder.first + driver, more=decoder.most - decoder.first)
    return Plan(model, context, (picture, answer), slots)


def _both_phase(
    towers: Mapping[str, int], decoders: Mapping[str, int], tower: Need, decoder: Need, driver: int
) -> MemoryPhase:
    workspace = tower.first + decoder.first + driver
    more = tower.most + decoder.most + driver - workspace
    return MemoryPhase("all", **towers, **decoders, workspace=workspace, more=more)


def kv_cache_bytes(model: PlannedModel, context: int) -> int:
    """Keys and values of every layer, of one answer. In full: numpy asks for pages of 2 MiB, so a few tokens touch all
    of it."""
    decoder = model.config.decoder
    values = 2 * decoder.num_hidden_layers * decoder.kv_dim * context
    return values * model.preset.decoder.compute.numpy.itemsize
