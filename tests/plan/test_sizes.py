"""A plan's sizes are those of converted bundles, byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from export.checkpoint.checkpoint import Checkpoint
from export.convert import write_bundle
from export.graphs.decoder import CheckpointWeights
from export.graphs.graph import GraphBuilder
from export.weights.weight import Weight
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.onnx_file import read_graph
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import PRESETS, Preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.bundle.tensor_size import Role, TensorSize, data_bytes, loading_bytes
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.formats import FP32, LinearFormat
from omnilmm_lite.keys import expected_keys
from omnilmm_lite.plan import disk
from omnilmm_lite.plan.graphs import graph_tensors
from omnilmm_lite.plan.planned_model import PlannedModel
from quantize.disk import checkpoint_bytes, spool_bytes
from quantize.folder.packing import Layout
from quantize.gptq.gptq import round_to_nearest
from quantize.head import RoundedHead
from quantize.tower.quantizer import quantized_tower
from tests.conftest import Quiet
from tests.small_checkpoint import TINY

INNER = "int8.hadamard.32"  # only where a block of the tower profits from it


PLANNED = {**PRESETS, "8gb, fpa-intb": PRESETS["8gb"].packed(Packing.FPA_INTB)}


class Rounded(CheckpointWeights):
    """A decoder in 4 bits, without the hour that GPTQ takes: the same sizes."""

    def __init__(self, checkpoint: Checkpoint, packing: Packing) -> None:
        super().__init__(checkpoint)
        self.packing = packing

    def linear(self, name: str) -> Weight:
        weight = super().linear(name)
        assert isinstance(weight, np.ndarray)
        if name == "lm_head":
            return weight
        return round_to_nearest(
            weight, bits=4, group_size=self.packing.group_size, sym=not self.packing.has_zero_points
        )


@pytest.fixture(scope="module", params=PLANNED)
def converted(
    request: pytest.FixtureRequest, tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Preset, Bundle]:
    preset = PLANNED[request.param]
    weights = Rounded(tiny_checkpoint, preset.packing) if preset.quantized else CheckpointWeights(tiny_checkpoint)
    head = RoundedHead(weights, preset.packing) if preset.quantized and preset.lm_head_bits == 8 else weights
    folder = tmp_path_factory.mktemp("planned")
    tower, _ = quantized_tower(tiny_checkpoint, preset, None, folder / "work", Quiet())
    write_bundle(tiny_checkpoint, head, preset, folder / "out", Quiet(), tower=tower)
    return preset, Bundle.open(folder / "out")


def test_every_data_file_has_the_size_that_was_planned(converted: tuple[Preset, Bundle]) -> None:
    preset, bundle = converted
    planned, finished = PlannedModel.planned("tiny", TINY, preset), PlannedModel.bundle("tiny", bundle)
    sizes = {entry.path: entry.size for entry in bundle.manifest.files}
    files = bundle.manifest.graphs
    graphs = {"vision": files.vision, "resampler": files.resampler, "decoder": files.decode, "prefill": files.prefill}
    assert (files.prefill != files.decode) == preset.int8_prefill
    for part, file in graphs.items():
        found = {each.name: each for each in getattr(finished.graphs, part)}
        tensors = [each for each in getattr(planned.graphs, part) if each.name in found or each.name != INNER]
        if not tensors:
            assert part == "prefill"
            continue
        assert data_bytes(tensors) == sizes[f"{file}.data"], file
        for each in tensors:
            assert found[each.name] == each
        left_out = [each for name, each in found.items() if name not in {each.name for each in tensors}]
        assert max(each.stored for each in left_out) <= 64  # shapes, axes and other constants that steer the graph
    assert planned.embeddings == finished.embeddings == sizes[files.embeddings]
    assert planned.disk.bundle == pytest.approx(finished.disk.bundle, rel=0.05)


def test_a_bundle_is_planned_as_it_is(converted: tuple[Preset, Bundle]) -> None:
    preset, bundle = converted
    model = PlannedModel.bundle("tiny", bundle)
    folder = bundle.folder
    assert model.disk.bundle == sum(path.stat().st_size for path in folder.iterdir())
    assert model.preset == preset


def test_the_published_checkpoint_has_its_published_size() -> None:
    """1130 tensors of bf16: 23.2 GB, by the names and shapes that opening a checkpoint asks for."""
    config = OmniLMMConfig()
    planned = PlannedModel.planned("x", config, PRESETS["cpu"])
    values = sum(int(np.prod(shape)) for shape in expected_keys(config).values())
    assert planned.disk.checkpoint == 2 * values
    assert round(planned.disk.checkpoint / 1e9, 1) == 23.2


def test_the_work_folder_is_what_the_quantizer_asks_for() -> None:
    config = OmniLMMConfig()
    spools = 2 * spool_bytes(config.decoder, disk.CALIBRATION_TOKENS)
    assert disk.decoder_work(config.decoder) == checkpoint_bytes(config.decoder, {}, Layout(4, 128)) + spools
    finer = checkpoint_bytes(config.decoder, {}, Layout(4, 32)) + spools
    assert PlannedModel.planned("x", config, PRESETS["16gb"].packed(Packing.FPA_INTB)).disk.work == finer
    assert PlannedModel.planned("x", config, PRESETS["reference"]).disk.work == 0


def test_sizes_of_the_full_model_worked_out_on_paper() -> None:
    """One decoder layer in 4 bits: 218,103,808 weights, a scale and half a byte for each 128 of them."""
    config = OmniLMMConfig()
    decoder = graph_tensors(config, PRESETS["24gb"]).decoder
    layer = [each for each in decoder if each.name.startswith("model.layers.7.") and "norm" not in each.name]
    weights = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
    assert sum(each.stored for each in layer) == weights // 2 + weights // 128 * 2 + weights // 128 // 2
    vision = graph_tensors(config, PRESETS["cpu"]).vision
    codes = sum(each.stored for each in vision if each.name.endswith(".codes"))
    assert codes == 63 * (4 * 1792 * 1792 + 2 * 1792 * 15360)


def test_fast_kernels_take_one_layer_worked_out_on_paper() -> None:
    """218,103,808 weights of 4 bits, a scale of 2 bytes for each 32; 32032 rows of 8 bits; both once more, and the
    widest of them a third time, while they are packed."""
    preset = PRESETS["16gb"].packed(Packing.FPA_INTB)
    decoder = graph_tensors(OmniLMMConfig(), preset).decoder
    layer = [each for each in decoder if each.name.startswith("model.layers.7.") and "norm" not in each.name]
    weights = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
    assert sum(each.stored for each in layer) == weights // 2 + weights // 32 * 2
    head = 32032 * 4096 + 32032 * 4096 // 32 * 2
    assert sum(each.stored for each in decoder if each.name.startswith("lm_head")) == head
    packed = 32 * (weights // 2 + weights // 32 * 2) + head
    assert loading_bytes(decoder, Device.CUDA, preset.packing) == packed + 32032 * 4096
    assert loading_bytes(decoder, Device.CUDA) == 0
    fp16 = graph_tensors(OmniLMMConfig(), PRESETS["24gb"]).decoder
    assert [each.stored for each in fp16 if each.name.startswith("lm_head")] == [32032 * 4096 * 2]


def test_widened_weights_and_scales_count_as_the_engine_holds_them() -> None:
    graphs = graph_tensors(OmniLMMConfig(), PRESETS["cpu"])
    assert all(each.computed == 2 * each.stored for each in graphs.resampler)
    scales = next(each for each in graphs.decoder if each.name == "lm_head.scales")
    assert scales.role is Role.GROUP_SCALES
    assert scales.loaded(Device.CPU) == 3 * scales.stored
    assert scales.loaded(Device.CUDA) == scales.stored


# ---- .onnx files ----


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_data_files_of_any_tensors(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    path = tmp_path_factory.mktemp("graph") / "any.onnx"
    with GraphBuilder(path, FP32) as graph:
        for index, size in enumerate(sizes):
            graph.constant(f"tensor{index}", np.zeros(size, dtype=np.int16))
        graph.save()
    tensors = tuple(TensorSize(f"tensor{index}", 2 * size, 2 * size) for index, size in enumerate(sizes))
    assert read_graph(path) == tensors
    assert data_bytes(tensors) == path.with_name("any.onnx.data").stat().st_size


def test_a_scalar_and_packed_dimensions(tmp_path: Path) -> None:
    """protobuf lets a writer pack the dimensions into one field; onnx's own doesn't."""
    scalar = helper.make_tensor("scalar", TensorProto.FLOAT, [], bytes(4), raw=True)
    model = helper.make_model(helper.make_graph([], "g", [], [], initializer=[scalar]))
    path = tmp_path / "scalar.onnx"
    path.write_bytes(model.SerializeToString())
    assert read_graph(path) == (TensorSize("scalar", 4, 4),)

    # dims [8, 3] packed, uint8, "w", 24 bytes
    initializer = b"\x0a\x02\x08\x03" + b"\x10\x02" + b"\x42\x01w" + b"\x4a\x18" + bytes(24)
    graph = b"\x2a" + bytes([len(initializer)]) + initializer
    path.write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
    assert read_graph(path) == (TensorSize("w", 24, 24),)


@given(data=st.binary(max_size=60))
def test_other_files_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "any.onnx"
    path.write_bytes(data)
    try:
        read_graph(path)
    except InputError as error:
        assert "\n" not in str(error)


def test_every_tower_format_is_planned() -> None:
    assert {preset.tower for preset in PRESETS.values()} == set(LinearFormat)
