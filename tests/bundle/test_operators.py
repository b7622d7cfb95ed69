"""The operators that a bundle may have are those that conversion writes, and nothing gets past them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from export.checkpoint.checkpoint import Checkpoint
from export.graphs.decoder import CheckpointWeights, build_decoder
from export.graphs.prefill import build_prefill
from export.graphs.resampler import build_resampler
from export.graphs.vision import build_vision
from export.weights.int8 import AFTER_GELU, SYMMETRIC, Int8Linear
from export.weights.tower_weights import CheckpointTower, TowerLinear
from export.weights.weight import Weight
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.onnx_file import Graph, parse_graph, read_onnx
from omnilmm_lite.bundle.operators import CONTRIB, OPERATORS, OPSETS, check_operators
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import PRESETS, Preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError
from omnilmm_lite.formats import LinearFormat
from quantize.gptq.gptq import round_to_nearest
from tests.bundle.manifests import rewrite
from tests.command_line import linked


@dataclass(frozen=True)
class PresetWeights:
    """The checkpoint's, in the formats that a preset has them in."""

    checkpoint: Checkpoint
    preset: Preset

    def array(self, name: str) -> NDArray[np.float32]:
        return self.checkpoint.array(name)

    def linear(self, name: str) -> Weight:
        weight = self.checkpoint.array(f"{name}.weight")
        bits = self.preset.lm_head_bits if name == "lm_head" else 4 if self.preset.quantized else 16
        sym = not self.preset.packing.has_zero_points
        return weight if bits == 16 else round_to_nearest(torch.from_numpy(weight), bits=bits, group_size=32, sym=sym)


@dataclass(frozen=True)
class PresetTower(CheckpointTower):
    format: LinearFormat = LinearFormat.FLOAT

    def linear(self, name: str) -> TowerLinear:
        weight = torch.from_numpy(self.checkpoint.array(f"{name}.weight"))
        if self.format is LinearFormat.INT8:
            return Int8Linear.round(weight, grid=AFTER_GELU if name.endswith("fc2") else SYMMETRIC, rotation=16)
        if self.format is LinearFormat.BITS8:
            return round_to_nearest(weight, bits=8, group_size=16, sym=False)
        return weight.numpy()


def written(checkpoint: Checkpoint, preset: Preset, folder: Path) -> Iterator[Path]:
    """The graphs that conversion writes for a preset."""
    config, weights = checkpoint.config, PresetWeights(checkpoint, preset)
    tower = PresetTower(checkpoint, preset.tower)
    paths = [folder / f"{name}.onnx" for name in ("vision", "resampler", "decoder", "prefill")]
    for _ in build_vision(config.vision, tower, paths[0], preset.vision):
        pass
    build_resampler(checkpoint, paths[1], preset.resampler)
    for _ in build_decoder(
        config.decoder,
        weights,
        paths[2],
        preset.decoder,
        preset.accuracy_level,
        target=preset.target,
        packing=preset.packing,
    ):
        pass
    yield from paths[:3]
    if preset.int8_prefill:
        for _ in build_prefill(config.decoder, CheckpointWeights(checkpoint), paths[3], preset.decoder):
            pass
        yield paths[3]


def every_preset() -> Iterator[Preset]:
    for preset in PRESETS.values():
        for packing in Packing:
            if packing is Packing.BLOCKWISE or preset.target is Device.CUDA:
                yield preset.packed(packing)


def test_the_table_is_what_conversion_writes(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """No more and no less, in every preset and packing, as onnx itself reads the files."""
    found: dict[tuple[str, str], set[str]] = {}
    opsets = set()
    for preset in every_preset():
        for path in written(tiny_checkpoint, preset, tmp_path):
            model = onnx.load(path, load_external_data=False)
            opsets |= {(each.domain, each.version) for each in model.opset_import}
            for node in model.graph.node:
                found.setdefault((node.domain, node.op_type), set()).update(each.name for each in node.attribute)
            check_operators(parse_graph(read_onnx(path), path), path)
    assert found == {operator: set(attributes) for operator, attributes in OPERATORS.items()}
    assert opsets == OPSETS


# ---- what else ONNX has ----


def refusal(copy: Path, change: Callable[[ModelProto], object]) -> str:
    """Of the bundle with another graph in the tower's place, which its manifest takes for the converted one."""
    model = onnx.load(copy / "vision.onnx", load_external_data=False)
    change(model)
    rewrite(copy, "vision.onnx", model.SerializeToString())
    with pytest.raises(InputError) as caught:
        Bundle.open(copy)
    assert "\n" not in str(caught.value)
    assert "vision.onnx" in str(caught.value)
    return str(caught.value)


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return linked(tiny_bundle, tmp_path / "copy")


def number(name: str, *values: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], np.asarray(values, "<i8").tobytes(), raw=True)


def add(node: NodeProto, *constants: TensorProto) -> Callable[[ModelProto], object]:
    def change(model: ModelProto) -> None:
        model.graph.initializer.extend(constants)
        model.graph.node.insert(0, node)

    return change


HUGE = 1 << 40
BODY = helper.make_graph([], "body", [], [])
FOREIGN = [
    ("Range", add(helper.make_node("Range", ["a", "b", "c"], ["r"]))),
    ("Tile", add(helper.make_node("Tile", ["pixel_values", "n"], ["r"]), number("n", 1, 1, 1, HUGE))),
    ("ConstantOfShape", add(helper.make_node("ConstantOfShape", ["n"], ["r"]), number("n", HUGE))),
    ("RandomNormal", add(helper.make_node("RandomNormal", [], ["r"], shape=[HUGE]))),
    ("Pad", add(helper.make_node("Pad", ["pixel_values", "n"], ["r"]), number("n", *[HUGE] * 8))),
    ("Resize", add(helper.make_node("Resize", ["pixel_values", "", "", "n"], ["r"]), number("n", 1, 1, HUGE, HUGE))),
    ("com.microsoft.EPContext", add(helper.make_node("EPContext", [], ["r"], domain=CONTRIB))),
    ("evil.Add", add(helper.make_node("Add", ["a", "b"], ["r"], domain="evil"))),
    ("attribute pads of Conv", add(helper.make_node("Conv", ["pixel_values", "w"], ["r"], pads=[HUGE] * 4))),
    ("attribute allowzero of Reshape", add(helper.make_node("Reshape", ["pixel_values", "n"], ["r"], allowzero=1))),
    ("node Expand", add(helper.make_node("Expand", ["pixel_values", "n"], ["r"]), number("n", HUGE, 1, 1, 1))),
    ("node Expand", add(helper.make_node("Expand", ["pixel_values", "nothing"], ["r"]))),
    ("node Gather", add(helper.make_node("Gather", ["pixel_values", "n"], ["r"]), number("n", 0, 0))),
    ("node MatMulNBits", add(helper.make_node("MatMulNBits", ["x", "n"], ["r"], domain=CONTRIB, N=HUGE, K=1, bits=4),
                             number("n", 0))),
    ("operator sets", lambda model: model.opset_import[0].ClearField("version")),
    ("operator sets", lambda model: model.opset_import.append(helper.make_opsetid("evil", 1))),
]  # fmt: skip
UNREADABLE = {
    "a loop": add(helper.make_node("Loop", ["", "", ""], ["r"], body=BODY)),
    "a branch": add(helper.make_node("If", ["c"], ["r"], then_branch=BODY, else_branch=BODY)),
    "a subgraph in an operator of ours": add(helper.make_node("Add", ["a", "b"], ["r"], body=BODY)),
    "subgraphs": add(helper.make_node("Add", ["a", "b"], ["r"], bodies=[BODY])),
    "a constant": add(helper.make_node("Constant", [], ["r"], value=number("n", 1))),
    "a text": add(helper.make_node("Add", ["a", "b"], ["r"], mode="linear")),
    "a function": lambda model: model.functions.append(
        helper.make_function("evil", "Add", [], [], [], [helper.make_opsetid("", 21)])
    ),
    "an overload": lambda model: setattr(model.graph.node[0], "overload", "evil"),
    "a sparse tensor": lambda model: model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(number("s", 1), number("i", 0), [HUGE])
    ),
    "numbers in another field": lambda model: model.graph.initializer.append(
        helper.make_tensor("t", TensorProto.INT64, [1], [1])
    ),
    "a shape that no bytes fill": lambda model: model.graph.initializer.append(
        TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[HUGE], raw_data=b"1234")
    ),
    "a negative shape": lambda model: model.graph.initializer.append(
        TensorProto(name="t", data_type=TensorProto.INT8, dims=[-1, -4], raw_data=b"1234")
    ),
    "one name twice": lambda model: model.graph.initializer.append(model.graph.initializer[0]),
    "training": lambda model: model.training_info.add(),
}


@pytest.mark.parametrize(("named", "change"), FOREIGN, ids=[f"{named}-{i}" for i, (named, _) in enumerate(FOREIGN)])
def test_operators_that_conversion_never_writes_are_named(
    copy: Path, named: str, change: Callable[[ModelProto], object]
) -> None:
    text = refusal(copy, change)
    assert named in text
    assert "which no conversion writes" in text


@pytest.mark.parametrize("name", UNREADABLE)
def test_parts_that_conversion_never_writes_are_refused(copy: Path, name: str) -> None:
    assert "no ONNX graph that can be read" in refusal(copy, UNREADABLE[name])


def test_weights_that_reach_beyond_their_file_are_refused(copy: Path) -> None:
    def change(model: ModelProto) -> None:
        tensor = next(each for each in model.graph.initializer if each.external_data)
        offset = next(each for each in tensor.external_data if each.key == "offset")
        offset.value = str(1 << 50)

    assert "reach beyond vision.onnx.data" in refusal(copy, change)


def test_expanding_to_what_is_there_is_fine() -> None:
    """As `GraphBuilder.over_batch` writes it; two Concats that read each other are nobody's shape."""

    def graph(*nodes: NodeProto) -> Graph:
        made = GraphProto(node=nodes, initializer=[number("ones", 1, 1), number("twos", 1, 2)])
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS]
        return parse_graph(ModelProto(graph=made, opset_import=opsets).SerializeToString(), Path("any.onnx"))

    expand = helper.make_node("Expand", ["rows", "shape"], ["r"])
    batch = helper.make_node("Shape", ["x"], ["batch"])
    check_operators(graph(batch, helper.make_node("Concat", ["batch", "ones"], ["shape"], axis=0), expand), Path("p"))
    for parts in (["batch", "twos"], ["shape", "batch"], ["x"]):
        with pytest.raises(InputError, match="a node Expand whose size is a number of the file's own"):
            check_operators(graph(batch, helper.make_node("Concat", parts, ["shape"], axis=0), expand), Path("p"))
