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
from export.checkpoint.checkpoint import Checkpoint
from export.convert import write_bundle
from export.graphs.cuda_operators import KERNELS, SOURCE, Kernel, check_cuda_graph, check_packing
from export.graphs.decoder import CheckpointWeights
from export.graphs.graph import CONTRIB, OPSET
from export.weights.weight import Weight
from omnilmm_lite.bundle.manifest import Graphs
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import import_onnxruntime
from omnilmm_lite.errors import OmniLMMError
from quantize.folder.tensors import LINEARS
from quantize.gptq.gptq import round_to_nearest
from quantize.head import RoundedHead
from tests.conftest import Quiet
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
    work = str(checkpoint.with_name("work"))  # the first preset quantizes for all of them
    options = ["--preset", preset, "--group-size", "32", "--work-dir", work]
    assert cli.main(["convert", str(checkpoint), str(tmp_path / "out"), *options]) == 0
    graphs = Graphs()
    reports = {name: check_cuda_graph(tmp_path / "out" / name) for name in (graphs.vision, graphs.resampler)}
    for report in reports.values():
        assert report.nodes > 10
        # the shape that a constant is repeated to, once for each picture: what onnxruntime 1.31.1 itself keeps back
        assert report.on_host == ("Concat_1",)
        assert report.slow_products == ()
    decoder = check_cuda_graph(tmp_path / "out" / graphs.decode)
    assert decoder.on_host == ()


class Symmetric(CheckpointWeights):
    """A decoder in 4 bits without zero points, in groups of 32 but for one layer, in groups of 128."""

    def __init__(self, checkpoint: Checkpoint, coarser: str = "") -> None:
        super().__init__(checkpoint)
        self.coarser = coarser

    def linear(self, name: str) -> Weight:
        if not name.endswith(LINEARS):
            return self.array(f"{name}.weight")
        return round_to_nearest(self.array(f"{name}.weight"), group_size=128 if name == self.coarser else 32, sym=True)


def test_fast_kernels_take_every_product_of_their_packing(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    preset = PRESETS["12gb"].packed(Packing.FPA_INTB)
    weights = RoundedHead(Symmetric(tiny_checkpoint), preset.packing)
    manifest = write_bundle(tiny_checkpoint, weights, preset, tmp_path / "out", Quiet())
    assert manifest.packing is Packing.FPA_INTB
    report = check_cuda_graph(tmp_path / "out" / Graphs().decode)
    assert report.not_fpa_intb == report.slow_products == ()
    graph = onnx.load(tmp_path / "out" / Graphs().decode, load_external_data=False).graph
    products = [each for each in graph.node if each.op_type == "MatMulNBits"]
    assert len(products) == 4 * TINY.decoder.num_hidden_layers + 1
    (head,) = (each for each in graph.initializer if each.name == "lm_head.qweight")
    assert list(head.dims) == [32032, 128 // 32, 32]  # 32009 rows, filled up


def test_a_bundle_whose_product_they_do_not_take_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """It would run, slowly, and look like one that is fast."""
    preset = PRESETS["12gb"].packed(Packing.FPA_INTB)
    weights = RoundedHead(Symmetric(tiny_checkpoint, "model.layers.1.mlp.down_proj"), preset.packing)
    expected = (
        r"^decoder\.onnx: the kernels of --packing fpa-intb don't take 1 of its products, such as "
        r"model\.layers\.1\.mlp\.down_proj/matmul: groups of 128, not 32; leave --packing out$"
    )
    with pytest.raises(OmniLMMError, match=expected):
        write_bundle(tiny_checkpoint, weights, preset, tmp_path / "out", Quiet())
    assert not (tmp_path / "out").exists()


def test_an_fp16_last_layer_starts_each_row_at_an_even_address(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_bundle(tiny_checkpoint, Symmetric(tiny_checkpoint), PRESETS["24gb"], tmp_path / "out", Quiet())
    model = onnx.load(tmp_path / "out" / Graphs().decode, load_external_data=False)
    (head,) = (each for each in model.graph.initializer if each.name == "lm_head.weight")
    assert list(head.dims) == [128, 32032]
    (logits,) = (each for each in model.graph.output if each.name == "logits")
    assert logits.type.tensor_type.shape.dim[2].dim_value == 32009


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


# ---- what the fast kernels take ----

FITTING = {"N": 64, "K": 64, "bits": 4, "block_size": 32}


def write_product(
    path: Path,
    numbers: Mapping[str, int],
    inputs: str = "x w s",
    activations: int = FP16,
    constants: Sequence[str] = ("w", "s"),
) -> Path:
    """A graph with one product: FITTING but for `numbers`; of its inputs, `constants` are such."""
    attributes: dict[str, Any] = {**FITTING, **numbers}
    product = node("MatMulNBits", inputs, domain=CONTRIB, **attributes)
    types = {"x": activations, "w": UINT8, "s": activations, "z": UINT8, "g": UINT8, "b": UINT8}
    write_graph(path, [product], {name: each for name, each in types.items() if name not in constants})
    model = onnx.load(path)
    model.graph.initializer.extend(helper.make_tensor(name, types[name], [0], []) for name in constants)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("numbers", [{}, {"bits": 8, "N": 32}, {"N": 28672, "K": 4096}, {"bits": 8, "N": 32032}])
def test_a_product_that_fast_kernels_take(tmp_path: Path, numbers: dict[str, int]) -> None:
    report = check_cuda_graph(write_product(tmp_path / "g.onnx", numbers))
    assert report.not_fpa_intb == ()
    check_packing(report, Packing.FPA_INTB, "g.onnx")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"numbers": {"bits": 2}}, "2 bits, not 4 or 8"),
        ({"numbers": {"block_size": 128, "K": 128}}, "groups of 128, not 32"),
        ({"numbers": {"block_size": 16}}, "groups of 16, not 32"),
        ({"numbers": {"K": 80}}, "80 columns, which groups of 32 don't divide"),
        ({"numbers": {"N": 32}}, "32 rows, which 64 doesn't divide"),
        ({"numbers": {"bits": 8, "N": 32016}}, "32016 rows, which 32 doesn't divide"),
        ({"inputs": "x w s z"}, "it has zero points"),
        ({"inputs": "x w s - g"}, "it has g_idx"),
        ({"inputs": "x w s - - b"}, "it has a bias"),
        ({"activations": FP32}, "activations in float, not float16"),
        ({"constants": ("s",)}, "its weight is computed, not a constant that can be packed"),
        ({"constants": ("w",)}, "its weight is computed, not a constant that can be packed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_product_that_fast_kernels_do_not_take(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    report = check_cuda_graph(write_product(tmp_path / "g.onnx", **{"numbers": {}, **change}))
    assert report.not_fpa_intb == (f"the node: {reason}",)
    with pytest.raises(OmniLMMError, match=reason):
        check_packing(report, Packing.FPA_INTB, "g.onnx")
    check_packing(report, Packing.BLOCKWISE, "g.onnx")  # all others run it
