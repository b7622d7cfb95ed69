"""The decoder by torch: layers over one KV cache that is never copied."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.decoder import Array, Decoder
from omnilmm_lite.engine.interrupt import check_interrupt
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.torch_engine.layer import DecoderLayer, Pass, causal_mask
from omnilmm_lite.torch_engine.products import Product


@dataclass(frozen=True, eq=False)
class LoadedDecoder:
    """The weights, on their device."""

    layers: Sequence[DecoderLayer]
    norm: Tensor  # float32 (hidden,)
    head: Product


class TorchDecoder(Decoder):
    """The decoder by torch, on the processor or a card."""

    def __init__(
        self,
        config: DecoderConfig,
        context: int,
        device: torch.device,
        compute: torch.dtype,
        load: Callable[[], LoadedDecoder],
    ) -> None:
        """`compute`: what the cache is kept and attention is computed in. `load` is called once, by `open` or the first
        pass."""
        super().__init__(config, context)
        self._device, self._compute, self._load = device, compute, load
        self._loaded: LoadedDecoder | None = None
        self._cache = torch.empty(0)  # (layers, 2, kv heads, context, head_dim)
        self._cos = self._sin = torch.empty(0)  # float32 (context, head_dim / 2)

    def open(self) -> None:
        self._weights()

    def _weights(self) -> LoadedDecoder:
        if self._loaded is None:
            config = self.config
            shape = (config.num_hidden_layers, 2, config.num_key_value_heads, self.context, config.head_dim)
            with torch_errors("the KV cache"):
                self._cache = torch.zeros(shape, dtype=self._compute, device=self._device)
            self._cos, self._sin = (table.to(self._device) for table in rotary_tables(config, self.context))
            self._loaded = self._load()
        return self._loaded

    @torch.inference_mode()
    def _run(self, embeddings: Array, rows: NDArray[Any], *, as_prompt: bool) -> Array:
        weights, start, end = self._weights(), self.length, self.length + len(embeddings)
        with torch_errors("decoder"):
            places = slice(start, end)
            mask = causal_mask(start, end, self.config.sliding_window, self._device)
            step = Pass(start, end, self._cos[places], self._sin[places], mask)
            x = torch.tensor(embeddings, device=self._device)  # (tokens, hidden)
            for layer, (keys, values) in zip(weights.layers, self._cache, strict=True):
                check_interrupt()
                x = layer.run(x, step, keys, values)
            x = x[torch.from_numpy(rows.astype(np.int64)).to(self._device)]  # (rows, hidden)
            x = F.rms_norm(x, weights.norm.shape, weights.norm, self.config.rms_norm_eps)
            logits: Array = weights.head(x).cpu().numpy()
        return logits


def rotary_tables(config: DecoderConfig, tokens: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles of places 0, 1, ...: float32 (tokens, head_dim / 2) each.

    In float64 by numpy: torch's own can be wrong the first time that several threads ask (pytorch issue 188792)."""
    exponents = np.arange(0, config.head_dim, 2) / config.head_dim
    angles = np.arange(tokens)[:, None] / config.rope_theta**exponents
    return torch.from_numpy(np.cos(angles)).float(), torch.from_numpy(np.sin(angles)).float()


@contextlib.contextmanager
def torch_errors(what: str) -> Iterator[None]:
    """Turns what torch and bitsandbytes raise into OmniLMMError, one line; a full memory says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OmniLMMError(
            f"{what}: the card's memory is full: end what else uses it, give a smaller --context, or take --device cpu"
        ) from error
    except RuntimeError as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "not enough memory" in line or "can't allocate" in line:
            raise OmniLMMError(
                f"{what}: the memory is not enough: close other programs, or give a smaller --context"
            ) from error
        raise OmniLMMError(f"{what}: torch failed: {line}") from error
