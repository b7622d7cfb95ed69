"""Measures two bundles in turns: each round loads one, measures it, lets it go, and does the same with the other.

So the two need not have room beside each other, and a drift of the machine is in both. Which one begins changes from
round to round. Within a turn each kind of run is done once before it counts.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from omnilmm_lite.bench.comparison.comparison import Comparison, MeasuredSide, Row, Unit
from omnilmm_lite.bench.dialogue import measure_dialogue
from omnilmm_lite.bench.footprint import Footprint, reset_peak
from omnilmm_lite.bench.measure import Loading, decode, prefill, read_files
from omnilmm_lite.bench.series import seconds
from omnilmm_lite.bench.settings import Settings
from omnilmm_lite.bench.workload import picture, token_ids
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import DeviceChoice
from omnilmm_lite.engine.versions import versions
from omnilmm_lite.machine.card import read_cards
from omnilmm_lite.machine.description import Machine
from omnilmm_lite.machine.memory import return_freed_memory
from omnilmm_lite.model import DEFAULT_CONTEXT, Model
from omnilmm_lite.progress import Progress

Name = tuple[str, Unit, int]  # a row's name, unit and tokens


class _Unseen:
    """A part's own stages aren't shown: a turn is one step."""

    def stage(self, name: str, steps: int) -> None: ...

    def step(self, line: str) -> None: ...


@dataclass(frozen=True)
class Turn:
    """What one bundle needed in one round, by row."""

    values: dict[Name, float]
    choice: DeviceChoice


def compare(
    bundle: Bundle,
    other: Bundle,
    device: str,
    threads: int | None,
    settings: Settings,
    progress: Progress,
    *,
    cuda_graph: bool = False,
) -> Comparison:
    """Everything that both have room for. InputError or DeviceError as `load` raises them."""
    sides = (bundle, other)
    limit = min(each.manifest.config.decoder.max_position_embeddings for each in sides)
    context = min(limit, max(DEFAULT_CONTEXT, settings.longest))
    settings, notes = settings.within(context)
    for each in sides:
        read_files(each, progress)
    loadings = [Loading(each, device, threads, context, cuda_graph) for each in sides]
    progress.stage("turns", 2 * (settings.repeat + 1))
    turns: tuple[list[Turn], list[Turn]] = ([], [])
    for number in range(settings.repeat + 1):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            turns[side].append(_turn(loadings[side], settings))
            progress.step(f"{sides[side].manifest.name}, round {number} of {settings.repeat}")
    first, second = turns
    rows = tuple(_rows(first[1:], second[1:]))
    if not any(row.name.startswith("first token") for row in rows):
        notes.append("questions about a picture are left out: the context has no room for one")
    machine = Machine.read(versions())
    return Comparison(
        model=_subject(bundle, first[0].choice),
        against=_subject(other, second[0].choice),
        machine=machine,
        threads=machine.threads if threads is None else threads,
        context=context,
        rounds=settings.repeat,
        rows=rows,
        notes=tuple(notes),
    )


def _subject(bundle: Bundle, choice: DeviceChoice) -> MeasuredSide:
    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files)
    where = str(choice.placement)
    return MeasuredSide(manifest.name, manifest.preset, manifest.packing.value, size, where, choice.reason)


def _turn(loading: Loading, settings: Settings) -> Turn:
    """Loads a bundle, measures it and lets it go."""
    gc.collect()  # the other one
    return_freed_memory()
    reset_peak()
    before = _card_bytes()
    loaded: list[Model] = []
    load_s = seconds(lambda: loaded.append(loading.model()))
    model = loaded.pop()
    values: dict[Name, float] = {("load", Unit.SECONDS, 0): load_s}
    values |= _times(model, settings)
    if footprint := Footprint.read("turn"):
        values["host memory, peak", Unit.BYTES, 0] = footprint.peak
    if model.device.device is Device.CUDA and (after := _card_bytes()):
        values["card's memory, in the end", Unit.BYTES, 0] = after - before
    return Turn(values, model.device)


def _times(model: Model, settings: Settings) -> Iterator[tuple[Name, float]]:
    ids = token_ids(model.config, max(settings.longest, 2))
    opening_s = seconds(partial(model.encode_image, picture(0)))
    yield ("first picture, the tower's loading included", Unit.SECONDS, 0), opening_s
    yield ("picture: tower and resampler", Unit.SECONDS, 0), seconds(partial(model.encode_image, picture(1)))
    for tokens in settings.prefill:
        prefill(model, ids[:tokens])
        yield (f"prefill, {tokens:,} tokens", Unit.SECONDS, tokens), prefill(model, ids[:tokens])
    steps = settings.new_tokens
    for context in settings.decode_at:
        decode(model, ids, context, 1)
        yield (f"decode, {steps} tokens at {context:,}", Unit.SECONDS, steps), decode(model, ids, context, steps)
    if questions := measure_dialogue(model, 1, _Unseen()):
        for name, question in zip(("picture and question", "second question"), questions, strict=True):
            yield (f"first token, {name}", Unit.SECONDS, 0), question.total.median


def _card_bytes() -> int:
    """What is in use of all cards together, by whomever; 0 where the driver doesn't tell."""
    return sum(card.total - card.free for card in read_cards().found)


def _rows(model: list[Turn], against: list[Turn]) -> Iterator[Row]:
    """A row for whatever every turn has a value of."""
    for name in model[0].values:
        if all(name in turn.values for turn in (*model, *against)):
            ours, theirs = (tuple(turn.values[name] for turn in turns) for turns in (model, against))
            yield Row(name[0], name[1], ours, theirs, tokens=name[2])
