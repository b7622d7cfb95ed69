"""The decoder's graphs, and the KV cache of all their slots, which lives where the sessions run and is never copied.

A slot is what one conversation needs: a slice of each buffer. The buffers are bound as both past and present, so a step
writes its rows in place; a step of several slots is bound to all slices from the first of them to the last. Prefill and
decode may be two graphs (a bundle says so); they share the buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.binding import FixedStep, unrecorded
from omnilmm_lite.engine.decoder import Array
from omnilmm_lite.engine.device import import_onnxruntime, run_graph
from omnilmm_lite.engine.placement import DeviceId
from omnilmm_lite.engine.spans import SlotRange
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.memory import return_freed_memory

if TYPE_CHECKING:
    import onnxruntime

PAST, PRESENT = "past.", "present."
MOST_SLOTS = 64


class DecoderGraphs:
    """Opened at the first step, or by `open`."""

    def __init__(
        self,
        config: DecoderConfig,
        open_decode: Callable[[], onnxruntime.InferenceSession],
        device: Device | DeviceId,
        context: int,
        open_prefill: Callable[[], onnxruntime.InferenceSession] | None = None,
        *,
        cuda_graph: bool = False,
        slots: int = 1,
    ) -> None:
        """`open_decode` gives the session that decodes, `open_prefill` the one for prompts where they have a graph of
        their own. `context`: tokens that each slot has room for. `cuda_graph`: the session that decodes was opened to
        record steps; `recorded_step` then runs the one step that it records, all else goes unrecorded."""
        self.config, self.context, self.slots = config, context, slots
        self.cuda_graph = cuda_graph
        self._open_decode = open_decode
        self._open_prefill = open_prefill
        self._decode_graph: onnxruntime.InferenceSession | None = None
        self._prefill_graph: onnxruntime.InferenceSession | None = None
        self._step: FixedStep | None = None  # where there is a CUDA graph
        self._single: dict[SlotRange, onnxruntime.IOBinding] = {}  # of one token a slot, whose cache is bound once
        self._device = DeviceId.of(device)
        self._cache: dict[str, Any] = {}

    @property
    def has_prefill_graph(self) -> bool:
        """Whether prompts have a graph of their own."""
        return self._open_prefill is not None

    def open(self) -> None:
        """Loads the weights."""
        self._prefill_session()

    def open_kept(self) -> None:
        """Loads what `release` doesn't let go of, where prompts have a graph of their own."""
        if self.has_prefill_graph:
            self._decode_session()

    def release(self) -> None:
        """Makes room until the next step: lets go of the prompts' graph, the larger one, where they have one of their
        own, else of the only graph there is. The cache, and what it holds, stays."""
        if self._open_prefill is None:
            self._decode_graph = self._step = None
            self._single.clear()
        self._prefill_graph = None
        return_freed_memory()

    def run(
        self, slots: SlotRange, embeddings: Array, rows: NDArray[Any], lengths: NDArray[np.int32], *, as_prompt: bool
    ) -> Array:
        """One pass over as many tokens of each slot, embeddings (slots, tokens, hidden).

        `lengths` (slots,): tokens that each slot's cache holds before. Logits (slots, rows, vocab) of `rows`, which
        count from the first of these tokens, or from behind where negative. `as_prompt`: by the prompts' graph.
        """
        session = self._prefill_session() if as_prompt else self._decode_session()
        tokens = embeddings.shape[1]
        rows = rows.astype(np.int64) % tokens
        last = (lengths + (tokens - 1)).astype(np.int32)
        # A prompt's binding is let go with its embeddings, which may be megabytes.
        kept = tokens == 1 and session is self._decode_graph
        binding = self._kept_binding(slots) if kept else self._bind_cache(session, slots)
        binding.bind_cpu_input("inputs_embeds", np.ascontiguousarray(embeddings))
        binding.bind_cpu_input("logits_rows", rows)
        binding.bind_cpu_input("seqlens_k", last)
        binding.bind_cpu_input("total_sequence_length", np.asarray(last.max() + 1, dtype=np.int32))
        logits: Array = np.empty((slots.count, len(rows), self.config.vocab_size), dtype=np.float32)
        # bound to host memory: on a card this is the step's one copy back
        binding.bind_output("logits", "cpu", 0, np.float32, list(logits.shape), logits.ctypes.data)
        run_graph(session, binding, "decoder", unrecorded() if self.cuda_graph else None)
        return logits

    def recorded_step(self, embedding: Array, held: int) -> Array:
        """One token's embedding (1, hidden), behind `held` tokens of the only slot -> its logits (vocab,)."""
        session = self._decode_session()
        if self._step is None:
            self._step = FixedStep(session, self._cache, self.config, self.context, self._device)
        return self._step.run(embedding, held)

    def _prefill_session(self) -> onnxruntime.InferenceSession:
        decode = self._decode_session()
        if self._prefill_graph is None:
            self._prefill_graph = decode if self._open_prefill is None else self._open_prefill()
        return self._prefill_graph

    def _decode_session(self) -> onnxruntime.InferenceSession:
        """And the cache, in the form that its graph asks for."""
        if self._decode_graph is None:
            self._decode_graph = self._open_decode()
        if not self._cache:
            self._cache = self._allocate_cache(self._decode_graph)
        return self._decode_graph

    def _kept_binding(self, slots: SlotRange) -> onnxruntime.IOBinding:
        """One for every token: two names for each layer's keys and values take Python longer to bind than to draw."""
        if slots not in self._single:
            assert self._decode_graph is not None
            self._single[slots] = self._bind_cache(self._decode_graph, slots)
        return self._single[slots]

    def _bind_cache(self, session: onnxruntime.InferenceSession, slots: SlotRange) -> onnxruntime.IOBinding:
        binding = session.io_binding()
        where, index = self._device.device.value, self._device.index
        for name, buffer in self._cache.items():
            if slots.count == self.slots:
                binding.bind_ortvalue_input(PAST + name, buffer)
                binding.bind_ortvalue_output(PRESENT + name, buffer)
                continue
            item = np.float16 if "float16" in buffer.data_type() else np.float32
            shape = [slots.count, *buffer.shape()[1:]]  # (slots, num_key_value_heads, context, head_dim)
            start = buffer.data_ptr() + slots.first * np.dtype(item).itemsize * int(np.prod(shape[1:]))
            binding.bind_input(PAST + name, where, index, item, shape, start)
            binding.bind_output(PRESENT + name, where, index, item, shape, start)
        return binding

    def _allocate_cache(self, session: onnxruntime.InferenceSession) -> dict[str, Any]:
        """Zeroed buffers {"{layer}.{key,value}": (slots, num_key_value_heads, context, head_dim)} in the graph's own
        format. InputError where the graph is another one, or knows one slot alone and more are asked for."""
        ort = import_onnxruntime()
        shape = (self.slots, self.config.num_key_value_heads, self.context, self.config.head_dim)
        cache = {}
        for item in session.get_inputs():
            if not item.name.startswith(PAST):
                continue
            if [item.shape[1], item.shape[3]] != [shape[1], shape[3]]:
                raise InputError(
                    f"decoder graph: {item.name} has the shape {item.shape} where the manifest's config says "
                    f"{list(shape)}; convert the checkpoint again"
                )
            if self.slots > 1 and item.shape[0] == 1:
                raise InputError(
                    "decoder graph: it was made for one answer at a time; convert the checkpoint again to run "
                    f"{self.slots} at once"
                )
            zeros = np.zeros(shape, np.float16 if item.type == "tensor(float16)" else np.float32)
            cache[item.name.removeprefix(PAST)] = ort.OrtValue.ortvalue_from_numpy(
                zeros, self._device.device.value, self._device.index
            )
        return cache
