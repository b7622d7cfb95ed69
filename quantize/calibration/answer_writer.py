"""Answers for calibration, written by the full-precision model where the data has none.

Greedy, many conversations side by side, with one decoder layer in memory: every token of all of them takes one pass
over the checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from export.reference.layerwise import LayerwiseModules
from export.reference.model import DecoderLayer, KVCache, rope_tables
from export.torch_device import TorchDevice
from omnilmm_lite.config import DecoderConfig
from quantize.calibration.decoder_source import DecoderSource
from quantize.calibration.embedded_sequences import EmbeddedSequence
from quantize.memory import layer_bytes

CACHE_BYTES = 2 << 30  # for keys and values of the conversations that are answered side by side


def answer_batches(
    config: DecoderConfig, openings: Sequence[EmbeddedSequence], max_new_tokens: int
) -> list[Sequence[EmbeddedSequence]]:
    """The conversations in batches of as many as CACHE_BYTES hold keys and values for."""
    if not openings:
        return []
    longest = max(len(sample.is_image) for sample in openings) + max_new_tokens
    size = max(1, CACHE_BYTES // (2 * 4 * config.num_hidden_layers * config.kv_dim * longest))
    return [openings[start : start + size] for start in range(0, len(openings), size)]


@torch.inference_mode()
def write_answers(
    source: DecoderSource,
    openings: Sequence[EmbeddedSequence],
    max_new_tokens: int,
    device: TorchDevice,
    on_token: Callable[[str], None],
) -> list[list[int]]:
    """For each opening, which ends where an answer begins, the answer's ids, with the end token if it came to it.

    `on_token` is called for each token of all answers together, `max_new_tokens` times at most.
    """
    return _AnswerBatch(source, openings, device).run(max_new_tokens, on_token)


@dataclass(frozen=True)
class _HeldLayers:
    """Layers that stay in memory as the checkpoint stores them, and become float32 one at a time."""

    layers: tuple[DecoderLayer, ...]

    def __iter__(self) -> Iterator[DecoderLayer]:
        return (copy.deepcopy(layer).float() for layer in self.layers)


def _dtype(source: DecoderSource) -> torch.dtype:
    """What the checkpoint stores all of a layer in; float32 where that isn't one."""
    with torch.device("meta"):
        names = DecoderLayer(source.config.decoder).state_dict()
    dtypes = {source.tensor(f"model.layers.0.{name}").dtype for name in names}
    return dtypes.pop() if len(dtypes) == 1 else torch.float32


class _AnswerBatch:
    """Conversations answered side by side. Shorter ones are padded in front, and the padding is masked."""

    def __init__(self, source: DecoderSource, openings: Sequence[EmbeddedSequence], device: TorchDevice) -> None:
        self.source, self.config, self.device = source, source.config.decoder, device.device
        self.caches = [KVCache() for _ in range(self.config.num_hidden_layers)]
        lengths = [len(sample.is_image) for sample in openings]
        self.padding = torch.tensor([max(lengths) - length for length in lengths], device=self.device)  # (batch,)
        states = [F.pad(sample.embed()[0], (0, 0, max(lengths) - length, 0))
                  for sample, length in zip(openings, lengths, strict=True)]  # fmt: skip
        self.states = torch.stack(states).to(self.device)  # (batch, tokens, hidden)
        self.tokens = 0  # in the caches
        self.embeddings, self.norm, self.head = (
            source.tensor(f"{name}.weight").to(self.device) for name in ("model.embed_tokens", "model.norm", "lm_head")
        )
        self.layers = self._layers()
        dtype = _dtype(source)
        held = self.config.num_hidden_layers * layer_bytes(self.config) * dtype.itemsize // torch.float32.itemsize
        if device.free_bytes() >= held + 2 * layer_bytes(self.config) + CACHE_BYTES:
            # On a card with room: else each token loads all of them again.
            self.layers = _HeldLayers(tuple(layer.to(dtype) for layer in self.layers))

    def _layers(self) -> Iterable[DecoderLayer]:
        config = self.config
        return LayerwiseModules[DecoderLayer](
            self.source, "model.layers", config.num_hidden_layers, lambda: DecoderLayer(config), self.device
        )

    def run(self, max_new_tokens: int, on_token: Callable[[str], None]) -> list[list[int]]:
        answers: list[list[int]] = [[] for _ in range(len(self.padding))]
        eos = self.source.config.tokens.eos
        for count in range(max_new_tokens):
            chosen = self._next()  # (batch,)
            for answer, token in zip(answers, chosen.tolist(), strict=True):
                if not answer or answer[-1] != eos:
                    answer.append(token)
            on_token(f"{count + 1} tokens of {len(answers)} answers")
            if all(answer[-1] == eos for answer in answers):
                break
            self.states = self.embeddings[chosen].float()[:, None]  # (batch, 1, hidden)
        return answers

    def _next(self) -> Tensor:
        """Runs the tokens that the caches don't hold yet; returns each one's likeliest next token, (batch,)."""
        x, config = self.states, self.config
        places = torch.arange(self.tokens, self.tokens + x.shape[1], device=self.device)
        self.tokens += x.shape[1]
        positions = (places - self.padding[:, None]).clamp(min=0)  # (batch, tokens)
        cos, sin = (table[:, None] for table in rope_tables(config, positions))  # (batch, 1, tokens, head_dim / 2)
        mask = self._mask(places)
        for layer, cache in zip(self.layers, self.caches, strict=True):
            x = layer(x, cos, sin, mask, cache)
        last = F.rms_norm(x[:, -1], (config.hidden_size,), self.norm.float(), config.rms_norm_eps)
        return (last @ self.head.float().T).argmax(-1)

    def _mask(self, places: Tensor) -> Tensor:
        """True where a token may look: (batch, 1, new tokens, all tokens)."""
        seen = torch.arange(self.tokens, device=self.device)
        distance = places[:, None] - seen
        visible = distance >= 0
        if self.config.sliding_window is not None:
            visible &= distance < self.config.sliding_window
        real = visible & (seen >= self.padding[:, None, None])  # (batch, new tokens, all tokens)
        return (real | (distance == 0))[:, None]  # padding sees itself: nothing to see would be NaN
