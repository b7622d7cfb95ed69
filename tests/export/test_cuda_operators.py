"""The table of CUDA kernels against ONNX's schemas and, where there is one, a CUDA build's own registry; the check over
every CUDA preset's graphs, and over graphs that must not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import cli
from export.graphs.cuda_operators import KERNELS, SOURCE, Kernel, check_cuda_graph
from export.graphs.graph import CONTRIB, OPSET
from omnilmm_lite.bundle.manifest import Graphs
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import import_onnxruntime
from omnilmm_lite.errors import OmniLMMError
from tests.small_checkpoint import TINY, write_checkpoint

FP16, FP32, FP64 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE
INT32, INT64, UINT8, INT8 = TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.INT8
CUDA_PRESETS = [preset.name for preset in PRESETS.values() if preset.target is Device.CUDA]

IDS = [f"{kernel.op_type}-{number}" for number, kernel in enumerate(KERNELS)]


# ---- the table ----


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_types_are_tied_as_in_the_operators_own_schema(kernel: Kernel) -> None:
    """Two inputs share a type in the table where they do in the schema that ONNX or onnxruntime publishes."""
    inputs, outputs = schema_types(kernel)
    ours = [*kernel.inputs[: len(inputs)], *kernel.outputs[: len(outputs)]]
    theirs = [*inputs[: len(kernel.inputs)], *outputs[: len(kernel.outputs)]]
    pairs = {(mine, its) for mine, its in zip(ours, theirs, strict=True)}
    assert len({mine for mine, _ in pairs}) == len(pairs)
    # Split's sizes and Expand's shape stand there as tensor(int64), which is also another input's type nowhere
    assert len({its for _, its in pairs}) == len(pairs)


def schema_types(kernel: Kernel) -> tuple[list[str], list[str]]:
    if not kernel.domain and onnx.defs.has(kernel.op_type, kernel.domain):
        schema = onnx.defs.get_schema(kernel.op_type, OPSET, kernel.domain)
        return [each.type_str for each in schema.inputs], [each.type_str for each in schema.outputs]
    state = import_onnxruntime().capi.onnxruntime_pybind11_state
    (own,) = (
        each
        for each in state.get_all_operator_schema()
        if (each.name, each.domain, each.since_version) == (kernel.op_type, kernel.domain, 1)
    )
    return [each.typeStr for each in own.inputs], [each.typeStr for each in own.outputs]


@pytest.mark.parametrize(
    "kernel", [kernel for kernel in KERNELS if not kernel.domain], ids=lambda kernel: kernel.op_type
)
def test_the_table_is_for_the_opset_that_is_written(kernel: Kernel) -> None:
    known = onnx.defs.has(kernel.op_type, kernel.domain)
    assert kernel.has_version(onnx.defs.get_schema(kernel.op_type, OPSET).since_version if known else 1)


@pytest.mark.skipif(
    Device.CUDA.provider not in import_onnxruntime().get_available_providers(),
    reason="this onnxruntime is built without CUDA, so it has no registry of CUDA kernels",
)
@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_a_cuda_build_registers_what_the_table_says(kernel: Kernel) -> None:
    """Runs only where onnxruntime-gpu is installed; every combination of types that the table allows must be there."""
    state = import_onnxruntime().capi.onnxruntime_pybind11_state
    registered = [
        each
        for each in state.get_all_opkernel_def()
        if (each.provider, each.op_name, each.domain) == (Device.CUDA.provider, kernel.op_type, kernel.domain)
        and each.version_range == (kernel.first, kernel.last or 2**31 - 1)
    ]
    for name, types in kernel.types.items():
        for element_type in types:
            word = f"tensor({type_word(element_type)})"
            assert any(word in each.type_constraints.get(name, [word]) for each in registered), (name, word)


def type_word(element_type: int) -> str:
    return str(TensorProto.DataType.Name(element_type)).lower()


# ---- graphs that presets make ----


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("cuda") / "checkpoint", size=TINY)


@pytest.mark.parametrize("preset", CUDA_PRESETS)
def test_every_node_of_a_cuda_preset_has_a_kernel(checkpoint: Path, tmp_path: Path, preset: str) -> None:
    assert cli.main(["convert", str(checkpoint), str(tmp_path / "out"), "--preset", preset, "--group-size", "32"]) == 0
    graphs = Graphs()
    reports = {name: check_cuda_graph(tmp_path / "out" / name) for name in (graphs.vision, graphs.resampler)}
    for report in reports.values():
        assert report.nodes > 10
        # the shape that a constant is repeated to, once for each picture: what onnxruntime 1.31.1 itself keeps back
        assert report.on_host == ("Concat_1",)
        assert report.slow_products == ()
    decoder = check_cuda_graph(tmp_path / "out" / graphs.decode)
    assert decoder.on_host == ()


# ---- graphs that must not pass, and what is said of others ----


def write_graph(
    path: Path, nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, int], opset: int = OPSET, contrib: int = 1
) -> Path:
    """A graph of `nodes` over inputs of the given element types, as far as the check reads one."""
    values = [helper.make_tensor_value_info(name, element_type, None) for name, element_type in inputs.items()]
    graph = helper.make_graph(list(nodes), "graph", values, [])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(CONTRIB, contrib)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    return path


def node(op_type: str, inputs: str, outputs: str = "y", domain: str = "", **attributes: Any) -> onnx.NodeProto:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op_type, names, outputs.split(), name="the node", domain=domain, **attributes)


GQA = "qkv - - pk pv len total cos sin"
GQA_TYPES = dict.fromkeys(("qkv", "pk", "pv", "cos", "sin"), FP16) | {"len": INT32, "total": INT32}


def test_attention_over_an_fp16_cache_has_a_kernel(tmp_path: Path) -> None:
    attention = node("GroupQueryAttention", GQA, "y present.k present.v", domain=CONTRIB)
    following = [attention, node("Add", "y present.k", "z")]  # its outputs' types are known to what follows
    assert check_cuda_graph(write_graph(tmp_path / "g.onnx", following, GQA_TYPES)).nodes == 2


@pytest.mark.parametrize(
    ("nodes", "inputs", "complaint"),
    [
        (
            [node("MatMulIntegerToFloat", "a b sa sb", domain=CONTRIB)],
            {"a": UINT8, "b": INT8, "sa": FP32, "sb": FP32},
            r"no CUDA kernel for com\.microsoft\.MatMulIntegerToFloat$",
        ),
        (
            [node("GroupQueryAttention", GQA, "y k v", domain=CONTRIB)],
            {name: FP32 if each == FP16 else each for name, each in GQA_TYPES.items()},
            r"com\.microsoft\.GroupQueryAttention of types \(float, -, -, float, float, int32, int32, float, float\)$",
        ),
        ([node("MatMul", "a b")], {"a": INT32, "b": INT32}, r"ai\.onnx\.MatMul of types \(int32, int32\)$"),
        ([node("MatMul", "a b")], {"a": FP16, "b": FP32}, r"MatMul of types \(float16, float\)$"),
        ([node("Conv", "x w")], {"x": TensorProto.BFLOAT16, "w": TensorProto.BFLOAT16}, r"Conv of types \(bfloat16, "),
        ([node("Add", "a b")], {"a": TensorProto.BOOL, "b": TensorProto.BOOL}, r"Add of types \(bool, bool\)$"),
        (
            [node("MatMulNBits", "x w s", domain=CONTRIB)],
            {"x": FP16, "w": UINT8, "s": FP32},
            r"MatMulNBits of types \(float16, uint8, float\)$",
        ),
        (  # the type comes through two nodes, and the complaint is about the third
            [
                node("Cast", "x", "a", to=FP64),
                node("QuickGelu", "a", "b", CONTRIB),
                node("BiasGelu", "b x", domain=CONTRIB),
            ],
            {"x": FP16},
            r"BiasGelu of types \(double, float16\)$",
        ),
        (
            [node("NonMaxSuppression", "a b")],
            {"a": FP32, "b": FP32},
            r"no CUDA kernel for ai\.onnx\.NonMaxSuppression$",
        ),
        ([node("Cast", "x", to=TensorProto.STRING)], {"x": FP16}, r"Cast of types \(float16\)$"),
    ],
    ids=lambda value: value[-1].op_type if isinstance(value, list) else "",
)
def test_a_node_without_a_kernel_is_named(
    tmp_path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, int], complaint: str
) -> None:
    with pytest.raises(OmniLMMError, match=complaint) as caught:
        check_cuda_graph(write_graph(tmp_path / "made.onnx", nodes, inputs))
    assert str(caught.value).startswith("made.onnx: node the node would run on the CPU: " + SOURCE)


@pytest.mark.parametrize(("opset", "version"), [(22, 22), (10, 1)])
def test_an_operator_of_another_version_is_refused(tmp_path: Path, opset: int, version: int) -> None:
    graph = write_graph(tmp_path / "g.onnx", [node("Conv", "x w")], {"x": FP16, "w": FP16}, opset=opset)
    with pytest.raises(OmniLMMError, match=rf"no CUDA kernel for ai\.onnx\.Conv of version {version}$"):
        check_cuda_graph(graph)


def test_arithmetic_on_shapes_is_listed_and_what_uses_its_result_is_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "first"], ["batch"], name="pick"),
        helper.make_node("Concat", ["batch", "rest"], ["wanted"], name="join", axis=0),
        helper.make_node("Expand", ["x", "wanted"], ["y"], name="expand"),
        helper.make_node("Concat", ["rest", "rest"], ["z"], name="on the card", axis=0),
    ]
    report = check_cuda_graph(write_graph(tmp_path / "g.onnx", nodes, {"x": FP16, "first": INT64, "rest": INT64}))
    assert report.on_host == ("pick", "join")


@pytest.mark.parametrize(("width", "slow"), [(32009, True), (32016, False), (6144, False)])
def test_a_product_that_would_be_written_out_for_every_token_is_listed(tmp_path: Path, width: int, slow: bool) -> None:
    product = node("MatMulNBits", "x w s", domain=CONTRIB, N=width, K=128, bits=8, block_size=128)
    graph = write_graph(tmp_path / "g.onnx", [product], {"x": FP16, "w": UINT8, "s": FP16})
    assert check_cuda_graph(graph).slow_products == (("the node",) if slow else ())
