"""A checkpoint as a subject of `omnilmm_lite.quality`: the reference model, one block or layer in memory at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.tokenizer import convert_tokenizer
from export.reference.layerwise import layerwise_model
from export.reference.model import OmniLMM, causal_mask, rope_tables
from export.reference.pictures import encode_pictures, picture_batches
from export.torch_device import TorchDevice
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.home.snapshot import folder_name
from omnilmm_lite.progress import Progress
from omnilmm_lite.quality.data import EvaluationSequence
from omnilmm_lite.text.tokenizer import Tokenizer


class CheckpointModel:
    """The reference in float32. Each decoder layer is read once and run on all sequences before the next."""

    def __init__(self, checkpoint: Checkpoint, device: TorchDevice = TorchDevice()) -> None:  # noqa: B008  # immutable
        """`device`: where the reference runs."""
        self._checkpoint, self._device = checkpoint, device.device
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.json"
            path.write_text(convert_tokenizer(checkpoint.folder, checkpoint.config.tokens).to_str(), encoding="utf-8")
            self.tokenizer = Tokenizer(path)

    @property
    def name(self) -> str:
        return folder_name(self._checkpoint.folder)

    @property
    def config(self) -> OmniLMMConfig:
        return self._checkpoint.config

    @torch.inference_mode()
    def predict(self, samples: Sequence[EvaluationSequence], progress: Progress) -> Iterator[NDArray[np.float32]]:
        """Runs everything but the head here; what stays in memory is the last hidden states of all sequences."""
        reference = layerwise_model(self._checkpoint, self._device)
        features = self._encode_pictures(samples, progress)
        states = [
            reference.embed(
                torch.tensor([sample.ids], device=self._device),
                None if sample.image is None else features[sample.image].to(self._device),
            )
            for sample in samples
        ]  # (1, tokens, hidden) each
        config = self.config.decoder
        cos, sin = rope_tables(config, torch.arange(max(state.shape[1] for state in states), device=self._device))
        progress.stage(f"decoder layers, {self.name}", config.num_hidden_layers)
        for layer in reference.model.layers:
            for index, state in enumerate(states):
                tokens = state.shape[1]
                mask = causal_mask(tokens, config.sliding_window, self._device)
                states[index] = layer(state, cos[:tokens], sin[:tokens], mask)
            progress.step("")
        return (_logits(reference, state) for state in states)

    def _encode_pictures(self, samples: Sequence[EvaluationSequence], progress: Progress) -> dict[Path, Tensor]:
        """Each picture's features (1, queries, hidden)."""
        images = list(dict.fromkeys(sample.image for sample in samples if sample.image is not None))
        if images:
            progress.stage(f"pictures, {self.name}", len(images))
        features: dict[Path, Tensor] = {}
        for batch in picture_batches(images):
            encoded = encode_pictures(self._checkpoint, batch, self._device)  # (pictures, queries, hidden)
            for image, values in zip(batch, encoded, strict=True):
                features[image] = values[None]
                progress.step("")
        return features


@torch.inference_mode()
def _logits(reference: OmniLMM, state: Tensor) -> NDArray[np.float32]:
    """(1, tokens, hidden) -> (tokens, vocab)."""
    logits: NDArray[np.float32] = reference.lm_head(reference.model.norm(state))[0].cpu().numpy()
    return logits
