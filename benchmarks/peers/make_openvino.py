"""Writes a Mistral-7B of random weights for OpenVINO: `python -m benchmarks.peers.make_openvino --out FOLDER`.

The graph is the one that optimum-intel's export gives after 4-bit compression: u4 weights with a zero point and an
fp16 step for each group of 128, u8 per row for the last layer, the cache as states that the CPU plugin fuses into its
attention. As in ours, embeddings go in, and only the last token's logits are computed. Every weight is different.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.random_weights import STANDARD_DEVIATION, STEP_4BIT, packed_bytes, scales
from omnilmm_lite.config import DecoderConfig

GROUP_SIZE = 128
STEP_8BIT = STANDARD_DEVIATION / 74  # uniform over 256 values

Node = Any  # openvino's, which isn't installed where this is type-checked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--layers", type=int, default=32, help="fewer for a quick test (32)")
    args = parser.parse_args()
    import openvino

    args.out.mkdir(parents=True, exist_ok=True)
    model = build(DecoderConfig(num_hidden_layers=args.layers))
    openvino.save_model(model, args.out / "decoder.xml", compress_to_fp16=False)


@dataclass
class Graph:
    """The model in the making. Shapes: batch is 1."""

    config: DecoderConfig
    ops: Any
    embeddings: Node  # (1, tokens, hidden)
    mask: Node  # (1, 1, tokens, total): 0 or -inf
    cos: Node  # (1, 1, tokens, head_dim)
    sin: Node
    beams: Node  # (1,): what the fused attention asks for
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    sinks: list[Node] = field(default_factory=list)

    def floats(self, values: Any) -> Node:
        return self.ops.constant(np.asarray(values, dtype=np.float32))

    def integers(self, *values: int) -> Node:
        return self.ops.constant(np.asarray(values, dtype=np.int64))

    def norm(self, x: Node) -> Node:
        ops = self.ops
        mean = ops.reduce_mean(ops.power(x, self.floats(2.0)), self.integers(-1), keep_dims=True)
        root = ops.sqrt(ops.add(mean, self.floats(self.config.rms_norm_eps)))
        weight = self.floats(np.ones((1, 1, self.config.hidden_size)))
        return ops.multiply(ops.multiply(x, ops.divide(self.floats(1.0), root)), weight)

    def linear4(self, x: Node, rows: int, columns: int) -> Node:
        """u4 weights (rows, groups, 128), a zero point and a step a group."""
        groups = columns // GROUP_SIZE
        values = self._packed("u4", rows, groups, GROUP_SIZE)
        zeros = self._packed("u4", rows, groups, 1)
        step = self.ops.constant(scales(self.random, STEP_4BIT, rows, groups, 1))
        weight = self.ops.reshape(self._dequantized(values, zeros, step), self.integers(rows, columns), False)
        return self._product(x, weight)

    def linear8(self, x: Node, rows: int, columns: int) -> Node:
        """u8 weights (rows, columns), a zero point and a step a row."""
        values = self._packed("u8", rows, columns)
        zeros = self.ops.constant(np.full((rows, 1), 128, dtype=np.uint8))
        return self._product(x, self._dequantized(values, zeros, self.ops.constant(
            scales(self.random, STEP_8BIT, rows, 1)
        )))  # fmt: skip

    def heads(self, x: Node, count: int) -> Node:
        """(1, tokens, count * head_dim) -> (1, count, tokens, head_dim)."""
        split = self.ops.reshape(x, self.integers(0, 0, count, self.config.head_dim), True)
        return self.ops.transpose(split, self.integers(0, 2, 1, 3))

    def rotated(self, x: Node) -> Node:
        """Rotary positions, the two halves of a head as Hugging Face pairs them."""
        ops, half = self.ops, self.config.head_dim // 2
        low, high = ops.variadic_split(x, self.ops.constant(np.int64(3)), self.integers(half, half)).outputs()
        turned = ops.concat([ops.multiply(high, self.floats(-1.0)), low], -1)
        return ops.add(ops.multiply(x, self.cos), ops.multiply(turned, self.sin))

    def cached(self, x: Node, name: str) -> Node:
        """Appends (1, kv_heads, tokens, head_dim) to the state `name`; the whole, heads repeated for their queries."""
        import openvino
        from openvino.op.util import Variable, VariableInfo

        ops, config = self.ops, self.config
        heads, width = config.num_key_value_heads, config.head_dim
        info = VariableInfo()
        info.data_shape = openvino.PartialShape([-1, heads, -1, width])
        info.data_type = openvino.Type.f32
        info.variable_id = name
        variable = Variable(info)
        empty = ops.broadcast(self.floats(0.0), self.integers(1, heads, 0, width))
        past = ops.gather(ops.read_value(empty, variable), self.beams, self.integers(0))
        whole = ops.concat([past, x], 2)
        self.sinks.append(ops.assign(whole, variable))
        groups = config.num_attention_heads // heads
        wide = ops.unsqueeze(whole, self.integers(2))  # (1, kv_heads, 1, total, head_dim)
        wide = ops.broadcast(wide, self.integers(1, heads, groups, 1, width), broadcast_spec="BIDIRECTIONAL")
        return ops.reshape(wide, self.integers(0, config.num_attention_heads, -1, width), True)

    def attention(self, x: Node, layer: int) -> Node:
        ops, config = self.ops, self.config
        query = self.rotated(self.heads(self.linear4(x, config.q_dim, config.hidden_size), config.num_attention_heads))
        key = self.rotated(self.heads(self.linear4(x, config.kv_dim, config.hidden_size), config.num_key_value_heads))
        value = self.heads(self.linear4(x, config.kv_dim, config.hidden_size), config.num_key_value_heads)
        keys, values = self.cached(key, f"key.{layer}"), self.cached(value, f"value.{layer}")
        mixed = ops.transpose(
            ops.scaled_dot_product_attention(query, keys, values, self.mask), self.integers(0, 2, 1, 3)
        )
        return self.linear4(
            ops.reshape(mixed, self.integers(0, 0, config.q_dim), True), config.hidden_size, config.q_dim
        )

    def mlp(self, x: Node) -> Node:
        ops, hidden, intermediate = self.ops, self.config.hidden_size, self.config.intermediate_size
        gate = ops.swish(self.linear4(x, intermediate, hidden))
        return self.linear4(ops.multiply(gate, self.linear4(x, intermediate, hidden)), hidden, intermediate)

    def _packed(self, kind: str, *shape: int) -> Node:
        import openvino

        if kind == "u8":
            return self.ops.constant(packed_bytes(self.random, *shape))
        count = int(np.prod(shape)) // 2
        values = openvino.Tensor(packed_bytes(self.random, count), openvino.Shape(list(shape)), openvino.Type.u4)
        return self.ops.constant(values, shared_memory=False)

    def _dequantized(self, values: Node, zeros: Node, step: Node) -> Node:
        ops = self.ops
        centred = ops.subtract(ops.convert(values, "f16"), ops.convert(zeros, "f16"))
        return ops.multiply(centred, step)

    def _product(self, x: Node, weight: Node) -> Node:
        return self.ops.matmul(x, self.ops.convert(weight, "f32"), False, True)


def build(config: DecoderConfig) -> Any:
    """The openvino.Model."""
    import openvino
    from openvino import opset13 as ops

    def parameter(name: str, *shape: int, kind: Any = np.float32) -> Node:
        node = ops.parameter(openvino.PartialShape(list(shape)), kind, name=name)
        node.output(0).set_names({name})
        return node

    inputs = [
        parameter("inputs_embeds", 1, -1, config.hidden_size),
        parameter("mask", 1, 1, -1, -1),
        parameter("cos", 1, 1, -1, config.head_dim),
        parameter("sin", 1, 1, -1, config.head_dim),
        parameter("beam_idx", -1, kind=np.int32),
    ]
    graph = Graph(config, ops, *inputs)
    x = graph.embeddings
    for layer in range(config.num_hidden_layers):
        x = ops.add(x, graph.attention(graph.norm(x), layer))
        x = ops.add(x, graph.mlp(graph.norm(x)))
    last = ops.gather(x, graph.integers(-1), graph.integers(1))  # (1, 1, hidden)
    logits = ops.result(graph.linear8(graph.norm(last), config.vocab_size, config.hidden_size), name="logits")
    return openvino.Model([logits], graph.sinks, inputs, "mistral")


if __name__ == "__main__":
    main()
