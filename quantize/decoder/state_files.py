"""The hidden states of the calibration sequences between two layers, on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from export.reference.model import DecoderLayer
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.files.checked_file import is_sound, remove_checked
from quantize.decoder.spool import Spool
from quantize.decoder.stages import LayerRun


class StateFiles:
    """One decoder's states, (tokens, hidden) of each sequence, in a file for each layer that they have reached.

    `NAME-000.f32` holds what enters layer 0: the embeddings.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        config: DecoderConfig,
        lengths: Sequence[int],
        device: torch.device,
        *,
        held: bool = False,
    ) -> None:
        """`held`: while a layer is passed, what was read or written of its states stays on the device."""
        self._held = held
        self._folder, self._name, self._config, self._lengths, self._device = folder, name, config, lengths, device

    def reached(self, layer: int) -> bool:
        """Whether the file with what enters this layer is there, whole and undamaged."""
        return is_sound(self._path(layer))

    def is_damaged(self, layer: int) -> bool:
        """Whether there is such a file, but not as it was written, or without a checksum, as older versions left it."""
        return self._path(layer).is_file() and not is_sound(self._path(layer))

    def start(self, embeddings: Iterable[Tensor]) -> None:
        """Writes what enters layer 0: each sequence's embeddings, float32 (1, tokens, hidden)."""
        with self._draft("output", self._config.hidden_size, held=False) as states:
            for index, embedded in enumerate(embeddings):
                states.write(index, embedded)
            states.rename(self._path(0))

    @contextmanager
    def enter(self, layer: DecoderLayer, index: int) -> Iterator[LayerRun]:
        """A pass of all sequences through layer number `index`; its output is kept where no error ends the block."""
        hidden, q_dim = self._config.hidden_size, self._config.q_dim
        with (
            Spool(self._path(index), self._lengths, hidden, self._device, held=self._held) as states,
            self._draft("output", hidden, held=self._held) as output,
            self._draft("attention", q_dim, held=self._held) as scratch,
        ):
            yield LayerRun(layer, self._config, states, output, scratch)
            output.rename(self._path(index + 1))
            scratch.remove()

    def remove(self, layer: int) -> None:
        """Removes what enters this layer, if it is there."""
        remove_checked(self._path(layer))

    def _path(self, layer: int) -> Path:
        return self._folder / f"{self._name}-{layer:03}.f32"

    def _draft(self, kind: str, width: int, *, held: bool) -> Spool:
        """A file that counts for nothing until it is renamed."""
        return Spool(self._folder / f".{self._name}-{kind}.partial", self._lengths, width, self._device, held=held)
