"""Runs the decoder's graphs over one KV cache that lives where the sessions run and is never copied.

The cache's buffers are bound as both past and present, so a step writes its rows in place. Prefill and decode may be
two graphs (a bundle says so); they share the buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.binding import FixedStep, unrecorded
from omnilmm_lite.engine.decoder import Array, Decoder
from omnilmm_lite.engine.device import import_onnxruntime, run_graph
from omnilmm_lite.engine.placement import DeviceId
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.memory import return_freed_memory

if TYPE_CHECKING:
    import onnxruntime


class GraphDecoder(Decoder):
    """The decoder by onnxruntime."""

    def __init__(
        self,
        config: DecoderConfig,
        open_decode: Callable[[], onnxruntime.InferenceSession],
        device: Device | DeviceId,
        context: int,
        open_prefill: Callable[[], onnxruntime.InferenceSession] | None = None,
        *,
        cuda_graph: bool = False,
    ) -> None:
        """`open_decode` gives the session that decodes, `open_prefill` the one for prompts where they have a graph of
        their own. `context`: tokens that the cache has room for. `cuda_graph`: the session that decodes was opened to
        record steps; `decode` then runs the one step that it records, all else goes unrecorded."""
        super().__init__(config, context)
        self._open_decode = open_decode
        self._open_prefill = open_prefill
        self._decode_graph: onnxruntime.InferenceSession | None = None
        self._prefill_graph: onnxruntime.InferenceSession | None = None
        self._cuda_graph = cuda_graph
        self._step: FixedStep | None = None  # where there is a CUDA graph
        self._single: onnxruntime.IOBinding | None = None  # of one token, whose cache is bound once
        self._device = DeviceId.of(device)
        self._cache: dict[str, Any] = {}

    @property
    def has_prefill_graph(self) -> bool:
        """Whether prompts have a graph of their own."""
        return self._open_prefill is not None

    def open(self) -> None:
        self._sessions()

    def open_kept(self) -> None:
        """Loads what `release` doesn't let go of, where prompts have a graph of their own."""
        if self.has_prefill_graph:
            self._decode_session()

    def release(self) -> None:
        """Makes room until the next step: lets go of the prompts' graph, the larger one, where they have one of their
        own, else of the only graph there is. The cache, and what it holds, stays."""
        if self._open_prefill is None:
            self._decode_graph = self._step = self._single = None
        self._prefill_graph = None
        return_freed_memory()

    def decode(self, key: Hashable, embedding: Array) -> Array:
        if not self._cuda_graph:
            return super().decode(key, embedding)
        self._check_room(1)
        session = self._sessions()[1]
        if self._step is None:
            self._step = FixedStep(session, self._cache, self.config, self.context, self._device)
        logits = self._step.run(embedding, self.length)
        self._held.append(key)
        return logits

    def _sessions(self) -> tuple[onnxruntime.InferenceSession, onnxruntime.InferenceSession]:
        """For prefill and for decode."""
        decode = self._decode_session()
        if self._prefill_graph is None:
            self._prefill_graph = decode if self._open_prefill is None else self._open_prefill()
        if not self._cache:
            self._cache = _allocate_cache(decode, self.config, self._device, self.context)
        return self._prefill_graph, decode

    def _decode_session(self) -> onnxruntime.InferenceSession:
        if self._decode_graph is None:
            self._decode_graph = self._open_decode()
        return self._decode_graph

    def _run(self, embeddings: Array, rows: NDArray[Any], *, as_prompt: bool) -> Array:
        prefill, decode = self._sessions()
        session, tokens = prefill if as_prompt else decode, len(embeddings)
        total = self.length + tokens
        rows = rows.astype(np.int64) % tokens
        # A prompt's binding is let go with its embeddings, which may be megabytes.
        binding = self._single_binding() if tokens == 1 and session is self._decode_graph else self._bind_cache(session)
        binding.bind_cpu_input("inputs_embeds", np.ascontiguousarray(embeddings)[None])  # (1, tokens, hidden)
        binding.bind_cpu_input("logits_rows", rows)
        binding.bind_cpu_input("seqlens_k", np.asarray([total - 1], dtype=np.int32))
        binding.bind_cpu_input("total_sequence_length", np.asarray(total, dtype=np.int32))
        logits: Array = np.empty((1, len(rows), self.config.vocab_size), dtype=np.float32)
        # bound to host memory: on a card this is the step's one copy back
        binding.bind_output("logits", "cpu", 0, np.float32, list(logits.shape), logits.ctypes.data)
        run_graph(session, binding, "decoder", unrecorded() if self._cuda_graph else None)
        answer: Array = logits[0]
        return answer

    def _single_binding(self) -> onnxruntime.IOBinding:
        """One for every token: two names for each layer's keys and values take Python longer to bind than to draw."""
        if self._single is None:
            assert self._decode_graph is not None
            self._single = self._bind_cache(self._decode_graph)
        return self._single

    def _bind_cache(self, session: onnxruntime.InferenceSession) -> onnxruntime.IOBinding:
        binding = session.io_binding()
        for name, buffer in self._cache.items():
            binding.bind_ortvalue_input(f"past.{name}", buffer)
            binding.bind_ortvalue_output(f"present.{name}", buffer)
        return binding


def _allocate_cache(
    session: onnxruntime.InferenceSession, config: DecoderConfig, where: DeviceId, context: int
) -> dict[str, Any]:
    """Zeroed buffers {"{layer}.{key,value}": (1, num_key_value_heads, context, head_dim)} in the graph's own format."""
    ort = import_onnxruntime()
    shape = (1, config.num_key_value_heads, context, config.head_dim)
    cache = {}
    for item in session.get_inputs():
        if item.name.startswith("past."):
            if [item.shape[1], item.shape[3]] != [shape[1], shape[3]]:
                raise InputError(
                    f"decoder graph: {item.name} has the shape {item.shape} where the manifest's config says "
                    f"{list(shape)}; convert the checkpoint again"
                )
            zeros = np.zeros(shape, np.float16 if item.type == "tensor(float16)" else np.float32)
            cache[item.name.removeprefix("past.")] = ort.OrtValue.ortvalue_from_numpy(
                zeros, where.device.value, where.index
            )
    return cache
