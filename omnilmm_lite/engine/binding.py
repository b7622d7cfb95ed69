"""Values that stay where the sessions run: patches between tower and resampler, and the buffers of a step that a card
can replay as one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.device import import_onnxruntime, run_graph
from omnilmm_lite.engine.placement import DeviceId

if TYPE_CHECKING:
    import onnxruntime

Array = NDArray[np.float32]

# Any name but -1: onnxruntime keeps one recording a name.
RECORDING = "1"


def encode_pictures(
    tower: onnxruntime.InferenceSession,
    resampler: onnxruntime.InferenceSession,
    pixels: Array,
    device: Device | DeviceId,
) -> Array:
    """Pixels (batch, 3, image_size, image_size) -> features (batch, queries, hidden).

    The patches in between stay on the device; with pixels and features in host memory, one copy each way is all.
    """
    where = DeviceId.of(device)
    first = tower.io_binding()
    first.bind_cpu_input("pixel_values", np.ascontiguousarray(pixels))
    first.bind_output("patches", where.device.value, where.index)
    run_graph(tower, first, "vision tower")
    second = resampler.io_binding()
    second.bind_ortvalue_input("patches", first.get_outputs()[0])
    second.bind_output("features", "cpu")
    run_graph(resampler, second, "resampler")
    # numpy() is onnxruntime's own buffer on the CPU: as long as it lives, so does all the session has allocated
    features: Array = second.get_outputs()[0].numpy().copy()
    return features


class FixedStep:
    """The decoder's step for one token, in buffers that never move and with shapes that never change.

    That is what a CUDA graph asks for: the session (made with `cuda_graph`) records the kernels at the first step and
    replays them at every further one. Kernels that were recorded keep what the host told them, so the host tells them
    the longest length there can be, the context's; the true one is read on the device. Runs on the CPU, too, where it
    gains nothing, but can be compared.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        cache: Mapping[str, onnxruntime.OrtValue],
        config: DecoderConfig,
        context: int,
        device: Device | DeviceId,
    ) -> None:
        """`cache`: the KV buffers by name, as the graph's past and present inputs and outputs have it."""
        ort = import_onnxruntime()

        def buffer(value: NDArray[Any], device: Device | DeviceId = device) -> Any:
            where = DeviceId.of(device)
            return ort.OrtValue.ortvalue_from_numpy(value, where.device.value, where.index)

        self._session = session
        self._embedding = buffer(np.zeros((1, 1, config.hidden_size), np.float32))
        self._length = buffer(np.zeros(1, np.int32))
        self._logits = buffer(np.zeros((1, 1, config.vocab_size), np.float32))
        # kept although never read again: on the CPU a bound value doesn't keep its numpy memory alive
        self._row = buffer(np.zeros(1, np.int64))
        self._longest = buffer(np.asarray(context, np.int32), Device.CPU)  # the operator reads it on the host
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("inputs_embeds", self._embedding)
        self._binding.bind_ortvalue_input("seqlens_k", self._length)
        self._binding.bind_ortvalue_input("logits_rows", self._row)
        self._binding.bind_ortvalue_input("total_sequence_length", self._longest)
        self._binding.bind_ortvalue_output("logits", self._logits)
        for name, value in cache.items():
            self._binding.bind_ortvalue_input(f"past.{name}", value)
            self._binding.bind_ortvalue_output(f"present.{name}", value)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", RECORDING)

    def run(self, embedding: Array, held: int) -> Array:
        """One token's embedding (1, hidden), behind `held` tokens of the cache -> its logits (vocab,)."""
        self._embedding.update_inplace(np.ascontiguousarray(embedding)[None])  # (1, 1, hidden)
        self._length.update_inplace(np.asarray([held], dtype=np.int32))  # tokens after this step, minus one
        run_graph(self._session, self._binding, "decoder", self._options)
        logits: Array = self._logits.numpy()[0, 0].copy()  # on the CPU, numpy() is the buffer itself
        return logits


def unrecorded() -> onnxruntime.RunOptions:
    """For every other run of a session made with `cuda_graph`: prompts have a new shape each time."""
    options = import_onnxruntime().RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1")
    return options
