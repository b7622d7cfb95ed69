"""One decoder layer over all calibration sequences, in stages: linear layers that share their input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.reference.model import DecoderLayer, causal_mask, rope_tables
from omnilmm_lite.config import DecoderConfig
from quantize.decoder.spool import Spool

QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
O = ("self_attn.o_proj",)  # noqa: E741  # the projection's name
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
DOWN = ("mlp.down_proj",)
STAGES = (QKV, O, GATE_UP, DOWN)  # in the order in which they run: "true sequential"


@dataclass(frozen=True)
class Passage:
    """What one sequence brings to a stage."""

    inputs: Tensor  # (tokens, in)
    residual: Tensor | None  # (tokens, out): what the stage's output is added to, where that happens right behind it


Passages = Iterator[Passage]  # one sequence after the other


def get_linear(layer: DecoderLayer, part: str) -> nn.Linear:
    """The linear layer at `part`, such as "mlp.up_proj"; TypeError where something else stands there."""
    linear = layer.get_submodule(part)
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"{part} is a {type(linear).__name__}")
    return linear


class LayerRun:
    """A layer, where its input stands, and where its output goes.

    `scratch` keeps the attention's results (q_dim wide): computing them twice would cost more than storing them.
    """

    def __init__(
        self, layer: DecoderLayer, config: DecoderConfig, states: Spool, output: Spool, scratch: Spool
    ) -> None:
        self.layer, self.config = layer, config
        self.states, self.output, self.scratch = states, output, scratch

    def stages(self) -> Iterator[tuple[tuple[str, ...], Passages]]:
        """Each stage's linear layers and all sequences at it, every one of which must be taken.

        What the caller makes of a stage's weights before it asks for the next stage is what the next stage sees.
        """
        yield QKV, (Passage(self._attention_input(index)[0], None) for index in range(len(self.states)))
        yield O, self._attend()
        self._add_attention()
        yield GATE_UP, (Passage(self._mlp_input(index)[0], None) for index in range(len(self.states)))
        yield DOWN, self._activate()
        self._add_mlp()

    def finish(self) -> None:
        """Runs all stages and writes the layer's output, with the weights as they are."""
        for _, passages in self.stages():
            deque(passages, maxlen=0)

    def _attention_input(self, index: int) -> Tensor:
        normed: Tensor = self.layer.input_layernorm(self.states.read(index))  # (1, tokens, hidden)
        return normed

    def _attend(self) -> Passages:
        for index in range(len(self.states)):
            x = self._attention_input(index)
            positions = torch.arange(x.shape[1], device=x.device)
            cos, sin = rope_tables(self.config, positions)  # (tokens, head_dim / 2)
            mask = causal_mask(x.shape[1], self.config.sliding_window, x.device)
            context = self.layer.self_attn.attend(x, cos, sin, mask)  # (1, tokens, q_dim)
            self.scratch.write(index, context)
            yield Passage(context[0], self.states.read(index)[0])

    def _add_attention(self) -> None:
        for index in range(len(self.states)):
            self.output.write(index, self.states.read(index) + self.layer.self_attn.o_proj(self.scratch.read(index)))

    def _mlp_input(self, index: int) -> Tensor:
        normed: Tensor = self.layer.post_attention_layernorm(self.output.read(index))  # (1, tokens, hidden)
        return normed

    def _activate(self) -> Passages:
        for index in range(len(self.states)):
            activated = self.layer.mlp.activate(self._mlp_input(index))  # (1, tokens, intermediate)
            yield Passage(activated[0], self.output.read(index)[0])

    def _add_mlp(self) -> None:
        for index in range(len(self.states)):
            self.output.write(index, self.output.read(index) + self.layer.mlp(self._mlp_input(index)))
