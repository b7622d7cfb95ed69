"""A loaded model: the Python API's front door."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.batch import AnswerBatch, ObserveStep, unobserved
from omnilmm_lite.answer.generation import TextModel
from omnilmm_lite.answer.slots import OneSlot, Slots
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.chat import Chat
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.decoder_graphs import MOST_SLOTS, DecoderGraphs
from omnilmm_lite.engine.device import AUTO, DeviceChoice, DeviceError, choose_device, fallback
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.engine.graph_decoder import DecoderSlots, GraphDecoder
from omnilmm_lite.engine.graph_opener import GraphOpener
from omnilmm_lite.engine.vision import Encode, VisionEncoder
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.support import unsupported_reason
from omnilmm_lite.machine.threads import MOST_THREADS
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.picture.reading import ImageSource
from omnilmm_lite.plan.card_room import missing_room
from omnilmm_lite.plan.here import check_limit, check_resident
from omnilmm_lite.plan.slots import fitting_slots, has_slots
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.prompt import encode_chat
from omnilmm_lite.text.tokenizer import Tokenizer

DEFAULT_CONTEXT = 4096  # the reference's prompts end at 2048 tokens and its answers at 1024


@dataclass(frozen=True)
class LoadOptions:
    """What `load` was asked for, checked."""

    context: int
    threads: int | None
    drafts: bool
    cuda_graph: bool
    check_files: bool = False
    slots: int = 1
    resident: bool = False

    @classmethod
    def checked(
        cls,
        config: OmniLMMConfig,
        context: int | None,
        threads: int | None,
        *,
        drafts: bool,
        cuda_graph: bool,
        parallel: int = 1,
    ) -> LoadOptions:
        """InputError where the model takes no such context, or there are no such threads or slots."""
        limit = config.decoder.max_position_embeddings
        if context is not None and not 1 <= context <= limit:
            raise InputError(f"context: {context} is out of range; this model takes 1 to {limit} tokens")
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise InputError(f"threads: {threads} is out of range; give 1 to {MOST_THREADS}")
        if not 1 <= parallel <= MOST_SLOTS:
            raise InputError(f"parallel: {parallel} is out of range; give 1 to {MOST_SLOTS}")
        if cuda_graph and parallel > 1:
            raise InputError("cuda_graph: a recorded step is that of one answer; leave it out, or give parallel=1")
        return cls(context or min(DEFAULT_CONTEXT, limit), threads, drafts, cuda_graph, slots=parallel)


class BesideTower(Enum):
    """What the decoder may run while a picture is encoded."""

    ALL = auto()
    ANSWERS = auto()  # the prompts' graph makes room for the tower
    NOTHING = auto()  # the only graph does; or one thread must do all


@dataclass(frozen=True)
class ModelParts:
    """What a model is made of, whichever engine runs it."""

    name: str
    identity: str  # the name and a hash that changes with the weights
    form: str  # what the weights are in, for people: "preset cpu"
    device: DeviceChoice
    text: TextModel
    tokenizer_file: Path  # tokenizer.json
    open_tower: Callable[[], Encode]
    takes_turns: bool  # the tower is let go after each picture: there is no room for it beside the decoder
    beside_tower: BesideTower
    sampling: SamplingParams = SamplingParams()
    quantization: Mapping[str, Any] | None = None  # the conversion's own report
    slots: Slots | None = None  # for several answers at once; None where the engine has one decoder alone


class Model:
    """Tokenizer, vision encoder and decoder on one device. One conversation runs at a time."""

    def __init__(self, parts: ModelParts, load_s: float) -> None:
        """`load_s`: seconds that the parts took to load."""
        self.parts = parts
        self.name, self.device, self.text = parts.name, parts.device, parts.text
        self.sampling = parts.sampling
        self.vision = self.new_vision(release_after=parts.takes_turns)
        self.load_s = load_s

    @property
    def config(self) -> OmniLMMConfig:
        return self.text.config

    def new_vision(self, *, release_after: bool) -> VisionEncoder:
        """An encoder of its own beside `vision`, which nothing is open in yet; see `VisionEncoder`."""
        return VisionEncoder(self.config, self.parts.open_tower, release_after=release_after)

    def encode_image(self, source: ImageSource | PreparedImage) -> NDArray[np.float32]:
        """Path, bytes, PIL or prepared image -> the picture's features, float32 (num_queries, hidden)."""
        return self.vision.encode(source).values

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, image: bool) -> list[int]:
        """Token ids of a conversation; see `omnilmm_lite.text.prompt.encode_chat`."""
        return encode_chat(self.text.tokenizer, messages, self.config, image=image)

    def logits(
        self, ids: Sequence[int], features: NDArray[np.float32] | None = None, *, answer_start: int | None = None
    ) -> NDArray[np.float32]:
        """Teacher-forced logits of every position, float32 (tokens, vocab); what the cache held is forgotten.

        A bundle may have two decoder graphs, one for prompts and one for answers. With `answer_start` the ids from that
        index on go through the latter, as they do when an answer is generated; else all are taken as a prompt.
        """
        vocab_size = self.config.decoder.vocab_size
        if len(ids) == 0 or not all(0 <= token < vocab_size for token in ids):
            raise InputError(f"ids: give one or more token ids, each from 0 to {vocab_size - 1}")
        decoder, ids = self.text.decoder, list(ids)
        end = len(ids) if answer_start is None else min(max(answer_start, 0), len(ids))
        decoder.clear()
        try:
            embeddings = self.text.embed(ids, features)
            parts = [decoder.prefill_logits(ids[:end], embeddings[:end])] if end else []
            if end < len(ids):
                parts.append(decoder.decode_logits(ids[end:], embeddings[end:]))
            return np.concatenate(parts)
        finally:
            decoder.clear()  # the keys above don't say which picture the image tokens were

    @property
    def slots(self) -> int:
        """Answers that may run at once."""
        return 1 if self.parts.slots is None else len(self.parts.slots.decoders)

    def new_batch(self, stall_s: float, observe: ObserveStep = unobserved) -> AnswerBatch:
        """Runs as many answers at once as the model was loaded for (`parallel`), of which none waits longer than
        `stall_s` seconds for a piece of another one's prompt; `observe`: see `AnswerBatch`. While one is running,
        nothing else may use the model's decoder. Of any number of batches, those not in use cost nothing."""
        slots = OneSlot(self.text.decoder) if self.parts.slots is None else self.parts.slots
        return AnswerBatch(self.text, slots, stall_s, observe)

    def chat(self, image: ImageSource | PreparedImage | None = None, system: str | None = None) -> Chat:
        """A new conversation, about a picture or about none."""
        return Chat(self.text, self.vision, self.sampling, image, system)


class BundleModel(Model):
    """A loaded bundle, run by onnxruntime."""

    def __init__(self, bundle: Bundle, choice: DeviceChoice, options: LoadOptions) -> None:
        started = time.perf_counter()
        manifest, graphs = bundle.manifest, bundle.manifest.graphs
        opener = GraphOpener(bundle, choice.placement, options.threads, resident=options.resident)
        graphs_of_decoder = DecoderGraphs(
            manifest.config.decoder,
            partial(opener.session, graphs.decode, cuda_graph=options.cuda_graph),
            choice.placement.decoder,
            options.context,
            open_prefill=None if graphs.prefill == graphs.decode else partial(opener.session, graphs.prefill),
            cuda_graph=options.cuda_graph,
            slots=options.slots,
        )
        slots = DecoderSlots(graphs_of_decoder)
        decoder = slots.decoders[0]
        text = TextModel(
            config=manifest.config,
            tokenizer=Tokenizer(bundle.path(graphs.tokenizer)),
            embeddings=EmbeddingTable(bundle.path(graphs.embeddings), manifest.config.decoder),
            decoder=decoder,
            drafts=options.drafts,
        )
        bundle.check_vocabulary(text.tokenizer.vocab_size)
        # A card has to prove itself now, while the CPU can still be taken; on the CPU the tower may come first.
        if choice.device is Device.CUDA or not opener.takes_turns:
            decoder.open()
        if options.resident:
            slots.choose_graphs()
        self.bundle = bundle
        parts = ModelParts(
            name=manifest.name,
            identity=bundle.identity,
            form=f"preset {manifest.preset}",
            device=choice,
            text=text,
            slots=slots,
            tokenizer_file=bundle.path(graphs.tokenizer),
            open_tower=lambda: opener.tower(graphs_of_decoder),
            takes_turns=opener.takes_turns,
            beside_tower=_beside_tower(opener, graphs_of_decoder),
            sampling=manifest.sampling,
            quantization=manifest.quantization,
        )
        super().__init__(parts, time.perf_counter() - started)
        if options.check_files:
            bundle.check_in_background(partial(_has_answered, weakref.ref(decoder)))


def _beside_tower(opener: GraphOpener, decoder: DecoderGraphs) -> BesideTower:
    if not opener.takes_turns:
        return BesideTower.ALL
    return BesideTower.ANSWERS if decoder.has_prefill_graph else BesideTower.NOTHING


def _has_answered(decoder: weakref.ref[GraphDecoder]) -> bool | None:
    """None where the model is gone."""
    found = decoder()
    return None if found is None else found.length > 0


def load(
    bundle: str | Path | None = None,
    *,
    device: str = "auto",
    context: int | None = None,
    threads: int | None = None,
    drafts: bool = False,
    cuda_graph: bool = False,
    check_files: bool = True,
    parallel: int | None = 1,
    resident: bool = False,
) -> BundleModel:
    """Opens a bundle; without one (or as `tiny`), the built-in demonstration model.

    `device`: auto, cpu, cuda (the first card), cuda:1 (another one), or cuda:0,cuda:1 (tower and resampler on the
    first, decoder on the second); cards are taken if they have room for what the plan says is needed. `context`: tokens
    that prompt and answer may have together (at most the model's own limit). `threads`: for the CPU; by default one a
    core that is worth it, and fewer under a container's quota. `drafts`: answers guess ahead from what was said before,
    see `omnilmm_lite.answer.drafts`. `cuda_graph`: a card records the step of a token and replays it, see
    `omnilmm_lite.engine.binding`. `check_files`: once the model has begun to answer, a thread hashes what wasn't hashed
    lately, see `omnilmm_lite.bundle.integrity.large_files`. `parallel`: answers that may run at once, each in a slot of
    its own with `context` tokens, see `Model.new_batch`; None: as many as memory has room for, 8 at most. `resident`:
    on a CPU, tower and prompts' graph are packed for the kernels, and nothing takes turns: quicker, for several
    gigabytes and seconds more. InputError or DeviceError where that can't be; OmniLMMError where a container's memory
    limit is too small, or no bundle is made for the processor.
    """
    if reason := unsupported_reason():
        raise OmniLMMError(reason)
    opened = Bundle.find(bundle)
    options = LoadOptions.checked(
        opened.manifest.config,
        context,
        threads,
        drafts=drafts,
        cuda_graph=cuda_graph,
        parallel=1 if parallel is None else parallel,
    )
    if options.slots > 1 and not has_slots(opened):  # a tower that comes first would let that wait for a question
        raise InputError(
            f"parallel: {opened.manifest.name} was converted for one answer at a time; convert the checkpoint again"
        )
    by_itself = parallel is None and not cuda_graph  # a recorded step is that of one answer
    slots = options.slots
    if by_itself:
        slots = fitting_slots(opened, options.context, device=device, resident=resident)
    options = replace(options, check_files=check_files, slots=slots, resident=resident)
    choice = choose_device(
        device, opened.manifest.target, partial(missing_room, opened, options.context, slots=options.slots)
    )
    _check(opened, options, choice)
    try:
        return BundleModel(opened, choice, options)
    except DeviceError as error:
        if device != AUTO:
            raise
        choice = fallback(str(error))
    if by_itself:  # that was the card's room
        options = replace(options, slots=1)
    _check(opened, options, choice)
    return BundleModel(opened, choice, options)  # out of the handler, which would keep the first attempt's memory


def _check(bundle: Bundle, options: LoadOptions, choice: DeviceChoice) -> None:
    if choice.device is Device.CUDA:
        if options.resident:
            raise InputError("--resident: a card's graphs are as its kernels want them; give --no-resident")
        return
    if options.cuda_graph:
        raise InputError(f"--cuda-graph: only a CUDA card records steps, and this runs on the CPU ({choice.reason})")
    check_limit(bundle, options.context, options.slots)
    if options.resident:
        check_resident(bundle, options.context, options.slots)
