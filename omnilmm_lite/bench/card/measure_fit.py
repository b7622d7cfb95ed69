"""Loads a bundle into what a card of some size leaves, and watches the card's memory stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from omnilmm_lite.bench.card.ballast import room_of, usable_bytes
from omnilmm_lite.bench.card.cudart import CudaRuntime
from omnilmm_lite.bench.card.fit import Fit, Prediction, Turns
from omnilmm_lite.bench.card.memory_watch import MemoryWatch
from omnilmm_lite.bench.measure import decode, prefill
from omnilmm_lite.bench.workload import picture, token_ids
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import DeviceChoice, choose_device
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.card import Card, Cards, read_cards, used_bytes
from omnilmm_lite.model import DEFAULT_CONTEXT, BundleModel, LoadOptions
from omnilmm_lite.plan.memory import Plan, make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from omnilmm_lite.progress import Progress

PROMPT = 316  # tokens: a picture and a question, as in `bench`
ANSWER = 16


def measure_fit(
    bundle: Bundle,
    device: str,
    vram: int,
    turns: int,
    progress: Progress,
    *,
    cuda_graph: bool = False,
) -> Fit:
    """`vram`: GB, of a card's name. `turns`: how often tower and decoder are loaded and let go, where they take turns.

    InputError where this isn't one card, or one with less memory; what doesn't fit is in the result.
    """
    usable_bytes(vram)  # a wrong size is said first
    if turns < 0:
        raise InputError(f"--turns: {turns} is out of range; give 0 or more")
    # Not asked whether there is room: whether the plan is right about that is what this finds out.
    choice = choose_device(device, bundle.manifest.target)
    cards, card = _only_card(choice)
    context = min(DEFAULT_CONTEXT, bundle.manifest.config.decoder.max_position_embeddings)
    plan = make_plan(PlannedModel.bundle(bundle.manifest.name, bundle), context)
    used = partial(used_bytes, card.index)
    with (
        room_of(vram, card, CudaRuntime.load(card.index), used) as room,
        MemoryWatch(used, room.before + room.ballast) as watch,
    ):
        watch.note("CUDA's context")
        stages = Stages(BundleModel, bundle, choice, LoadOptions(context, None, False, cuda_graph), watch, progress)
        failure = stages.run(turns)
    return Fit(
        bundle=bundle.manifest.name,
        preset=bundle.manifest.preset,
        device=str(choice.placement),
        card=card.name,
        driver=cards.driver,
        context=context,
        vram=vram,
        room=room,
        stages=tuple(watch.footprints),
        peak=watch.peak,
        predictions=_predictions(plan, stages),
        turns=stages.turns,
        failure=failure,
    )


class Stages:
    """One after the other on one model, each with a note of what the card's memory was."""

    def __init__(
        self,
        open_model: Callable[[Bundle, DeviceChoice, LoadOptions], BundleModel],
        bundle: Bundle,
        choice: DeviceChoice,
        options: LoadOptions,
        watch: MemoryWatch,
        progress: Progress,
    ) -> None:
        self._open = partial(open_model, bundle, choice, options)
        self._context = options.context
        self._takes_turns = bundle.manifest.time_shared
        self._watch, self._progress = watch, progress
        self.first: int | None = None  # the peak of one picture and one question
        self.most: int | None = None  # with more pictures, and prompts that fill the context
        self.turns: Turns | None = None

    def run(self, turns: int) -> str | None:
        """What ended it before its end, in one line; None where all fitted."""
        stage = "loading"
        self._progress.stage("memory of the card", 6)
        try:
            model = self._open()
            self._done("loaded")
            ids = token_ids(model.config, self._context)
            for stage, action in (
                ("first picture", lambda: model.encode_image(picture(0))),
                ("first prompt", lambda: prefill(model, ids[:PROMPT])),
                ("first answer", lambda: decode(model, ids, min(PROMPT, self._context - ANSWER), ANSWER)),
            ):
                action()
                self._done(stage)
            self.first = self._watch.peak
            for stage, action in (
                ("second picture", lambda: model.encode_image(picture(1))),
                ("context filled", lambda: prefill(model, ids)),
            ):
                action()
                self._done(stage)
            self.most = self._watch.peak
            if self._takes_turns and turns:
                stage = "turns"
                self._take_turns(model, ids, turns)
        except OmniLMMError as error:
            self._watch.note(f"{stage}: failed")
            return f"{stage}: {error}"
        return None

    def _take_turns(self, model: BundleModel, ids: list[int], turns: int) -> None:
        """A new picture lets go of the decoder, a prompt of the tower: memory that isn't given back adds up."""
        self._progress.stage("tower and decoder in turns", turns)
        used = []
        for seed in range(2, turns + 2):
            model.encode_image(picture(seed))
            prefill(model, ids[:PROMPT])
            used.append(self._watch.now())
            self._progress.step("")
        self._watch.note(f"{turns} turns")
        self.turns = Turns(tuple(used))

    def _done(self, stage: str) -> None:
        self._watch.note(stage)
        self._progress.step(stage)


def _only_card(choice: DeviceChoice) -> tuple[Cards, Card]:
    if choice.device is Device.CPU:
        raise InputError(f"--vram: it measures a card's memory, and this runs on the CPU ({choice.reason})")
    if choice.placement.is_split:
        raise InputError("--vram: it measures one card; give --device cuda:0 or another one")
    cards = read_cards()
    card = cards.at(choice.placement.decoder.index)
    if card is None:
        raise InputError("--vram: nothing tells what memory the card has; install omnilmm-lite[gpu] for nvidia-ml-py")
    try:
        used_bytes(card.index)
    except OSError as error:  # the driver's own tool may have told of the card
        raise InputError(f"--vram: {error}") from None
    return cards, card


def _predictions(plan: Plan, stages: Stages) -> tuple[Prediction, ...]:
    found = []
    if stages.first is not None:
        found.append(Prediction("one picture and one question", plan.device_total, stages.first))
    if stages.most is not None:
        found.append(Prediction("more pictures, the context filled", plan.device_most, stages.most))
    return tuple(found)
