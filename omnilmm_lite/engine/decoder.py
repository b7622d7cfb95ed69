"""Runs the decoder's graphs over one KV cache that lives where the sessions run and is never copied.

The cache's buffers are bound as both past and present, so a step writes its rows in place. Prefill and decode may be
two graphs (a bundle says so); they share the buffers. What the cache holds is remembered token by token, so a new
prompt that begins like the last conversation only pays for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.binding import FixedStep, unrecorded
from omnilmm_lite.engine.device import import_onnxruntime, run_graph
from omnilmm_lite.engine.placement import DeviceId
from omnilmm_lite.errors import ContextFullError, InputError
from omnilmm_lite.machine.memory import return_freed_memory

if TYPE_CHECKING:
    import onnxruntime

# Prefill runs in pieces of this many tokens: it bounds the activations' memory whatever the prompt's length.
PREFILL_CHUNK = 512
# Where prompts have a graph of their own, fewer new tokens than this still go through the one that decodes: it reads
# half the bytes.
SHORTEST_PREFILL = 4

Array = NDArray[np.float32]


class Decoder:
    """A decoder and its cache: one conversation at a time."""

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
        self.config = config
        self.context = context
        self._open_decode = open_decode
        self._open_prefill = open_prefill
        self._decode_graph: onnxruntime.InferenceSession | None = None
        self._prefill_graph: onnxruntime.InferenceSession | None = None
        self._cuda_graph = cuda_graph
        self._step: FixedStep | None = None  # where there is a CUDA graph
        self._single: onnxruntime.IOBinding | None = None  # of one token, whose cache is bound once
        self._device = DeviceId.of(device)
        self._cache: dict[str, Any] = {}
        self._held: list[Hashable] = []  # one key a cached token
        self._version = 0

    @property
    def has_prefill_graph(self) -> bool:
        """Whether prompts have a graph of their own."""
        return self._open_prefill is not None

    def open(self) -> None:
        """Loads the graphs; the first step does so, too."""
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

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return len(self._held)

    @property
    def version(self) -> int:
        """Changes whenever a new prompt begins: an answer under way sees that the cache is no longer its own."""
        return self._version

    def reuse(self, keys: Sequence[Hashable]) -> int:
        """Begins a prompt: how many of its leading tokens the cache holds already. What comes after them is forgotten.

        `keys` stand for the prompt's tokens: equal keys mean equal embeddings. At least one token is left to run, since
        only running a token gives logits.
        """
        shared = 0
        for old, new in zip(self._held, keys[:-1], strict=False):
            if old != new:
                break
            shared += 1
        del self._held[shared:]
        self._version += 1
        return shared

    def prefill(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        """Appends tokens to the cache: keys and embeddings (tokens, hidden). Returns the last one's logits (vocab,)."""
        self._check_room(len(keys))
        prefill, decode = self._sessions()
        session = decode if len(keys) < SHORTEST_PREFILL else prefill
        for start in range(0, len(keys), PREFILL_CHUNK):
            chunk = slice(start, start + PREFILL_CHUNK)
            logits = self._run(session, keys[chunk], embeddings[chunk], rows=np.asarray([-1]))
        return _last(logits)

    def prefill_logits(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        """Like `prefill`, but returns every token's logits: (tokens, vocab)."""
        return self._all_logits(self._sessions()[0], keys, embeddings)

    def decode(self, key: Hashable, embedding: Array) -> Array:
        """Appends one token, embedding (1, hidden); returns its logits (vocab,)."""
        self._check_room(1)
        session = self._sessions()[1]
        if not self._cuda_graph:
            return _last(self._run(session, [key], embedding, rows=np.asarray([-1])))
        if self._step is None:
            self._step = FixedStep(session, self._cache, self.config, self.context, self._device)
        logits = self._step.run(embedding, self.length)
        self._held.append(key)
        return logits

    def decode_logits(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        """Like `decode` for many tokens that are known beforehand, in one go: (tokens, vocab).

        The kernels add up two rows in another order than one, so logits differ from `decode`'s by rounding: about 1e-7
        of a product. Where activations are int8, that now and then moves one to the next integer, and layer by layer
        more: in the end it is as much as int8 costs anyway.
        """
        return self._all_logits(self._sessions()[1], keys, embeddings)

    def truncate(self, length: int) -> None:
        """Forgets what comes behind the first `length` tokens, if anything: the next run writes over it."""
        del self._held[length:]

    def clear(self) -> None:
        """Forgets the conversation."""
        self._held.clear()
        self._version += 1

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

    def _all_logits(self, session: onnxruntime.InferenceSession, keys: Sequence[Hashable], embeddings: Array) -> Array:
        self._check_room(len(keys))
        parts = []
        for start in range(0, len(keys), PREFILL_CHUNK):
            chunk = slice(start, start + PREFILL_CHUNK)
            parts.append(self._run(session, keys[chunk], embeddings[chunk], rows=np.arange(len(keys[chunk]))))
        return np.concatenate(parts)

    def _check_room(self, tokens: int) -> None:
        if self.length + tokens > self.context:
            raise ContextFullError(
                f"the context has room for {self.context} tokens; {self.length} are used and {tokens} more were given"
            )

    def _run(
        self, session: onnxruntime.InferenceSession, keys: Sequence[Hashable], embeddings: Array, rows: NDArray[Any]
    ) -> Array:
        """One pass over `keys`' tokens, behind what the cache holds; logits of `rows` (rows, vocab)."""
        tokens = len(keys)
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
        # only now: the rows that an interrupted step wrote lie behind what is held, and are written again
        self._held.extend(keys)
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


def _last(logits: Array) -> Array:
    """(rows, vocab) -> (vocab,)."""
    row: Array = logits[-1]
    return row


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
