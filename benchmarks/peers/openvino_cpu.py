"""A worker: OpenVINO's CPU plugin, tuned for latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.task import Task, main

# Of activations that the plugin rounds to 8 bits: as wide as the weights' groups, faster than its default of 32.
DYNAMIC_QUANTIZATION_GROUP_SIZE = 128
ROPE_THETA = 10000.0

Array = NDArray[np.float32]


class OpenVINO:
    def __init__(self, compiled: Any, version: str, weight_bytes: int, task: Task) -> None:
        self._request = compiled.create_infer_request()
        self._version, self._weight_bytes, self._task = version, weight_bytes, task
        shapes = {port.any_name: port.partial_shape for port in compiled.inputs}
        self._head_dim = shapes["cos"][3].get_length()
        hidden = shapes["inputs_embeds"][2].get_length()
        self._embeddings = np.random.default_rng(0).standard_normal((1, task.room, hidden)).astype(np.float32)
        self._length = 0

    @property
    def name(self) -> str:
        return f"OpenVINO u4 ({self._version})"

    @property
    def bytes_per_token(self) -> int:
        """The cache is kept in 8 bits."""
        states = self._request.query_state()
        _, heads, _, width = (int(size) for size in states[0].state.shape)
        cached = self._task.context + self._task.steps / 2
        return self._weight_bytes + round(len(states) * heads * width * cached)

    def clear(self) -> None:
        self._request.reset_state()
        self._length = 0

    def prefill(self, tokens: int) -> None:
        self._run(tokens)

    def decode(self, steps: int) -> None:
        for _ in range(steps):
            self._run(1)

    def _run(self, tokens: int) -> None:
        start, stop = self._length, self._length + tokens
        cos, sin = rotary(start, stop, self._head_dim)
        seen = np.arange(stop)[None, :] <= np.arange(start, stop)[:, None]  # (tokens, total)
        inputs = {
            "inputs_embeds": self._embeddings[:, :tokens],
            "mask": np.where(seen, 0, -np.inf).astype(np.float32)[None, None],
            "cos": cos,
            "sin": sin,
            "beam_idx": np.zeros(1, np.int32),
        }
        self._request.infer(inputs, share_inputs=True)
        self._length = stop


def rotary(start: int, stop: int, head_dim: int) -> tuple[Array, Array]:
    """(1, 1, stop - start, head_dim) each, the two halves alike."""
    frequencies = ROPE_THETA ** -(np.arange(0, head_dim, 2) / head_dim)
    angles = np.outer(np.arange(start, stop), np.concatenate([frequencies, frequencies]))
    return np.cos(angles).astype(np.float32)[None, None], np.sin(angles).astype(np.float32)[None, None]


def load_openvino(folder: Path, task: Task) -> OpenVINO:
    import openvino

    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": task.threads,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": DYNAMIC_QUANTIZATION_GROUP_SIZE,
    }
    compiled = openvino.Core().compile_model(folder / "decoder.xml", "CPU", properties)
    version = openvino.__version__.split("-")[0]
    return OpenVINO(compiled, version, (folder / "decoder.bin").stat().st_size, task)


if __name__ == "__main__":
    main(load_openvino)
