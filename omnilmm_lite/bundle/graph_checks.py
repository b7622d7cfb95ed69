"""Holds a manifest's numbers against the graphs' own shapes, before anything is allocated by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from omnilmm_lite.bundle.onnx_file import Graph, Surface
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.regular_file import open_regular

FLOAT, INT32, INT64, FLOAT16 = 1, 6, 7, 10  # TensorProto.DataType
AGAIN = "copy the bundle again or convert the checkpoint again"


@dataclass(frozen=True)
class Number:
    """A number of the manifest: its name there, or what it follows from."""

    name: str
    value: int


Axis: TypeAlias = Number | int | None  # None: any size, by name
Shapes: TypeAlias = Mapping[str, Sequence[Axis]]


@dataclass(frozen=True)
class RoleCheck:
    """One graph in its role. `role`: its field of the manifest's `graphs`."""

    role: str
    path: Path
    graph: Graph

    def surfaces(self, inputs: Shapes, outputs: Shapes) -> None:
        """InputError unless the graph has exactly these inputs and outputs."""
        for kind, wanted, found in (("input", inputs, self.graph.inputs), ("output", outputs, self.graph.outputs)):
            named = {each.name: each for each in found}
            if named.keys() != wanted.keys() or len(named) != len(found):
                other = min(named.keys() ^ wanted.keys(), default="one twice")
                raise self.error(f"it is another graph: its {kind}s have {other}, or lack it")
            for name, shape in wanted.items():
                self._surface(named[name], shape)

    def equal(self, number: Number, found: object, where: str) -> None:
        """InputError where the graph has something else than the manifest's number."""
        if found != number.value:
            raise InputError(
                f"{number.name} is {number.value}, and {self.path.name} has {found} there ({where}); {AGAIN}"
            )

    def attribute(self, op_type: str, name: str, number: Number) -> None:
        """The same for an attribute of every node of a type."""
        for node in self.graph.nodes:
            if node.op_type == op_type:
                self.equal(number, node.attributes.get(name), f"{op_type}.{name}")

    def held(self, number: Number, *shape: int) -> None:
        """InputError where no tensor's shape ends so: its bytes in the file are what bounds the number."""
        if not any(each.shape[-len(shape) :] == shape for each in self.graph.initializers.values()):
            raise self.error(f"no table of it is {' x '.join(map(str, shape))} large, by {number.name}")

    def items(self, item: int | None, *names: str) -> int:
        """The number format of these inputs and outputs; InputError where they haven't all the same, or not `item`."""
        found = {each.item for each in (*self.graph.inputs, *self.graph.outputs) if each.name in names}
        if len(found) != 1 or not found <= ({FLOAT, FLOAT16} if item is None else {item}):
            raise self.error(f"{names[0]} has another number format")
        return found.pop()

    def count(self, op_type: str) -> int:
        return sum(node.op_type == op_type for node in self.graph.nodes)

    def error(self, text: str) -> InputError:
        return InputError(f"graphs.{self.role}: {self.path.name}: {text}; {AGAIN}")

    def _surface(self, found: Surface, shape: Sequence[Axis]) -> None:
        if len(found.shape) != len(shape):
            raise self.error(f"{found.name} has {len(found.shape)} axes where {len(shape)} are needed")
        for axis, size in zip(shape, found.shape, strict=True):
            if isinstance(axis, Number):
                self.equal(axis, size, found.name)
            elif isinstance(size, str) is not (axis is None) or (axis is not None and size != axis):
                raise self.error(f"{found.name} has an axis of {size}, where {axis or 'any size'} is needed")


def check_graphs(config: OmniLMMConfig, graphs: Mapping[str, tuple[Path, Graph]]) -> None:
    """`graphs`: by role (vision, resampler, prefill, decode), with the file of each. InputError, one line, where a
    number of the config isn't the graphs', or a graph has another's role."""
    roles = {role: RoleCheck(role, path, graph) for role, (path, graph) in graphs.items()}
    _check_widths(config)
    _check_vision(config, roles["vision"])
    _check_resampler(config, roles["resampler"])
    caches = {_check_decoder(config.decoder, roles[role]) for role in ("prefill", "decode")}
    if len(caches) != 1:
        raise roles["prefill"].error("its cache has another number format than the one of graphs.decode")


def check_table(path: Path, config: DecoderConfig) -> None:
    """Holds the header of the embeddings' table against the config; InputError where it is anything else than a table
    of float16 or float32 (vocab, hidden)."""
    try:
        with open_regular(path) as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, OSError):
        raise InputError(f"{path}: this is not a numpy array; copy the bundle again") from None
    expected = (config.vocab_size, config.hidden_size)
    if shape != expected or dtype not in (np.float16, np.float32) or is_fortran:
        raise InputError(f"{path}: expected a float table of shape {expected}, found {dtype} {shape}")


def _check_widths(config: OmniLMMConfig) -> None:
    for name, own, other_name, other in (
        ("resampler.kv_dim", config.resampler.kv_dim, "vision.hidden_size", config.vision.hidden_size),
        ("resampler.hidden_size", config.resampler.hidden_size, "decoder.hidden_size", config.decoder.hidden_size),
    ):
        if own != other:
            raise InputError(f"config.{name} is {own}, and config.{other_name} is {other}: they must be equal; {AGAIN}")


def _patches(config: OmniLMMConfig) -> Number:
    return Number("the number of patches by config.vision.image_size and patch_size", config.vision.num_patches)


def _check_vision(config: OmniLMMConfig, role: RoleCheck) -> None:
    vision = config.vision
    side = Number("config.vision.image_size", vision.image_size)
    width = Number("config.vision.hidden_size", vision.hidden_size)
    role.surfaces({"pixel_values": (None, 3, side, side)}, {"patches": (None, _patches(config), width)})
    role.items(FLOAT, "pixel_values", "patches")
    role.held(Number("config.vision.patch_size", vision.patch_size), 3, vision.patch_size, vision.patch_size)
    role.held(side, vision.num_patches, vision.hidden_size)
    layers = Number("config.vision.num_hidden_layers", vision.num_hidden_layers)
    role.equal(layers, role.count("MultiHeadAttention"), "blocks")
    role.attribute(
        "MultiHeadAttention", "num_heads", Number("config.vision.num_attention_heads", vision.num_attention_heads)
    )


def _check_resampler(config: OmniLMMConfig, role: RoleCheck) -> None:
    resampler = config.resampler
    queries = Number("config.resampler.num_queries", resampler.num_queries)
    inner, width = (Number(f"config.resampler.{name}", getattr(resampler, name)) for name in ("kv_dim", "hidden_size"))
    role.surfaces({"patches": (None, _patches(config), inner)}, {"features": (None, queries, width)})
    role.items(FLOAT, "patches", "features")
    role.held(queries, resampler.num_queries, resampler.hidden_size)
    heads = Number("config.resampler.num_attention_heads", resampler.num_attention_heads)
    role.attribute("MultiHeadAttention", "num_heads", heads)


def _check_decoder(config: DecoderConfig, role: RoleCheck) -> int:
    """The number format of the cache, as TensorProto.DataType has it."""
    names = ("hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
    width, vocab, layers, heads, kv_heads, head_dim = (
        Number(f"config.decoder.{name}", getattr(config, name)) for name in names
    )
    # a bundle of before there were several slots has a batch of one
    surfaces = {each.name: each.shape for each in role.graph.inputs}
    batch: Axis = 1 if surfaces.get("seqlens_k") == (1,) else None
    inputs: dict[str, Sequence[Axis]] = {
        "inputs_embeds": (batch, None, width),
        "logits_rows": (None,),
        "seqlens_k": (batch,),
        "total_sequence_length": (),
    }
    outputs: dict[str, Sequence[Axis]] = {"logits": (batch, None, vocab)}
    if inputs.keys() <= {each.name for each in role.graph.inputs}:  # else it is no decoder, and is said to be none
        role.equal(layers, role.count("GroupQueryAttention"), "layers")
        for layer in range(layers.value):
            for part in ("key", "value"):
                inputs[f"past.{layer}.{part}"] = outputs[f"present.{layer}.{part}"] = (batch, kv_heads, None, head_dim)
    role.surfaces(inputs, outputs)
    role.items(FLOAT, "inputs_embeds", "logits")
    role.items(INT64, "logits_rows")
    role.items(INT32, "seqlens_k", "total_sequence_length")
    role.attribute("GroupQueryAttention", "num_heads", heads)
    role.attribute("GroupQueryAttention", "kv_num_heads", kv_heads)
    window = -1 if config.sliding_window is None else config.sliding_window
    role.attribute("GroupQueryAttention", "local_window_size", Number("config.decoder.sliding_window", window))
    _check_positions(config, role)
    return role.items(None, *(name for name in (*inputs, *outputs) if name.startswith(("past.", "present."))))


def _check_positions(config: DecoderConfig, role: RoleCheck) -> None:
    """The tables of rotary angles have a row a position: beyond their end, the kernels would read other memory."""
    rows = Number("config.decoder.max_position_embeddings", config.max_position_embeddings)
    for node in role.graph.nodes:
        if node.op_type == "GroupQueryAttention":
            for name in node.inputs[7:9] if len(node.inputs) == 9 else ("",):
                table = role.graph.initializers.get(name)
                if table is None or len(table.shape) != 2 or 2 * table.shape[1] != config.head_dim:
                    raise role.error("a layer has no tables of rotary angles")
                role.equal(rows, table.shape[0], "rotary angles")
