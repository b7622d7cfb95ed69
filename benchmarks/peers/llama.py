"""A worker: llama.cpp through llama-cpp-python, with llama.cpp's own defaults."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

from benchmarks.peers.task import Task, main

BATCH = 512  # tokens at once, llama.cpp's default: all of a prompt


class Llama:
    def __init__(self, llama: Any, weight_bytes: int, kv_bytes: int) -> None:
        self._llama, self._weight_bytes, self._kv_bytes = llama, weight_bytes, kv_bytes
        self._vocab = llama.n_vocab()

    @property
    def name(self) -> str:
        return f"llama.cpp Q4_0 (llama-cpp-python {importlib.metadata.version('llama-cpp-python')})"

    @property
    def bytes_per_token(self) -> int:
        return self._weight_bytes + self._kv_bytes

    def clear(self) -> None:
        self._llama.reset()

    def prefill(self, tokens: int) -> None:
        self._llama.eval([self._token(index) for index in range(tokens)])

    def decode(self, steps: int) -> None:
        for index in range(steps):
            self._llama.eval([self._token(index)])

    def _token(self, index: int) -> int:
        return (index * 7919 + 3) % int(self._vocab)  # any tokens, all different


def load_llama(file: Path, task: Task) -> Llama:
    import llama_cpp

    threads = task.threads
    # Flash attention is off in the binding; llama.cpp's own programs turn it on where the device can, as the CPU can.
    llama = llama_cpp.Llama(
        str(file), n_ctx=task.room, n_batch=BATCH, n_ubatch=BATCH, n_threads=threads, n_threads_batch=threads,
        flash_attn=True, verbose=False,
    )  # fmt: skip
    weight_bytes, kv_bytes_per_token = sizes(file)
    return Llama(llama, weight_bytes, round((task.context + task.steps / 2) * kv_bytes_per_token))


def sizes(file: Path) -> tuple[int, int]:
    """Bytes of all weights but the embeddings, of which a token reads one row; of the cache, in fp16, for a token."""
    import gguf

    reader = gguf.GGUFReader(file)
    weights = sum(int(tensor.n_bytes) for tensor in reader.tensors if tensor.name != "token_embd.weight")
    layers, heads, width = (
        int(reader.fields[f"llama.{name}"].contents())
        for name in ("block_count", "attention.head_count_kv", "rope.dimension_count")
    )
    return weights, 2 * 2 * layers * heads * width


if __name__ == "__main__":
    main(load_llama)
