"""Which operators onnxruntime has CUDA kernels for, and a check that a graph uses no other.

A node without a kernel doesn't fail there: it runs on the CPU, with a copy of its tensors each way. The table holds the
kernels of onnxruntime-gpu 1.31.1 that our graphs may use, as its registry lists them; its docs/OperatorKernels.md is
printed from the same registry. For which sizes a kernel is slow is not in there: see docs/gpu-kernels.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from export.graphs.graph import CONTRIB
from omnilmm_lite.bundle.layout import NBITS_ROW_MULTIPLE
from omnilmm_lite.bundle.packing import FPA_INTB_GROUP_SIZE, FPA_INTB_ROW_MULTIPLES, Packing
from omnilmm_lite.errors import OmniLMMError

SOURCE = "onnxruntime-gpu 1.31.1"

Types = frozenset[int]

FP16, FP32, FP64, BF16 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BFLOAT16
INT32, INT64, UINT8 = TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8
INTEGERS = frozenset(
    {TensorProto.INT8, TensorProto.INT16, INT32, INT64, UINT8, TensorProto.UINT16, TensorProto.UINT32}
    | {TensorProto.UINT64}
)
FLOATS = frozenset({FP16, FP32, FP64, BF16})
NUMBERS = FLOATS | INTEGERS
ANY = NUMBERS | {TensorProto.BOOL}
HALF_OR_SINGLE = frozenset({FP16, FP32, BF16})


@dataclass(frozen=True)
class Kernel:
    """One row of the table.

    `inputs` and `outputs` name each one's type parameter, the last standing for all further ones; `types` is what each
    parameter may be. `first` and `last`: operator versions, `last` None where later ones are unknown to the kernel.
    """

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: Mapping[str, Types]
    first: int = 1
    last: int | None = None
    domain: str = ""

    def has_version(self, version: int) -> bool:
        return version == self.first or (self.last is not None and self.first <= version <= self.last)


def _only(*types: int) -> Types:
    return frozenset(types)


KERNELS = (
    Kernel("Add", ("T", "T"), ("T",), {"T": NUMBERS}, first=14),
    Kernel("Cast", ("T1",), ("T2",), {"T1": ANY, "T2": ANY}, first=21, last=22),
    Kernel("Concat", ("T",), ("T",), {"T": ANY}, first=13),
    Kernel("Conv", ("T", "T", "T"), ("T",), {"T": _only(FP16, FP32, FP64)}, first=11, last=21),
    Kernel("Expand", ("T", "shape"), ("T",), {"T": ANY, "shape": _only(INT64)}, first=13),
    Kernel("Gather", ("T", "Tind"), ("T",), {"T": ANY, "Tind": _only(INT32, INT64)}, first=13),
    Kernel("LayerNormalization", ("T", "T", "T"), ("T", "U", "U"), {"T": FLOATS, "U": _only(FP32)}, first=17),
    Kernel("MatMul", ("T", "T"), ("T",), {"T": FLOATS}, first=13),
    Kernel("Mul", ("T", "T"), ("T",), {"T": NUMBERS}, first=14),
    Kernel("Reshape", ("T", "shape"), ("T",), {"T": ANY, "shape": _only(INT64)}, first=21, last=22),
    Kernel("Shape", ("T",), ("T1",), {"T": ANY, "T1": _only(INT64)}, first=21, last=22),
    # an operator that no ONNX release has: it lives in the standard domain for history's sake
    Kernel(
        "SimplifiedLayerNormalization", ("T", "V"), ("V", "U"), {"T": _only(FP16), "V": _only(FP16), "U": _only(FP32)}
    ),
    Kernel(
        "SimplifiedLayerNormalization", ("T", "V"), ("V", "U"), {"T": _only(FP32), "V": _only(FP32), "U": _only(FP32)}
    ),
    Kernel("Slice", ("T", "Tind"), ("T",), {"T": ANY, "Tind": _only(INT32, INT64)}, first=13),
    Kernel("Split", ("T", "sizes"), ("T",), {"T": ANY, "sizes": _only(INT64)}, first=18),
    Kernel("Transpose", ("T",), ("T",), {"T": ANY}, first=21, last=22),
    Kernel("BiasGelu", ("T", "T"), ("T",), {"T": FLOATS}, domain=CONTRIB),
    Kernel(
        # query, key, value, past_key, past_value, seqlens_k, total_sequence_length (in host memory), cos, sin;
        # there is no fp32 kernel, unlike on the CPU
        "GroupQueryAttention",
        ("T", "T", "T", "T_CACHE", "T_CACHE", "M", "M", "T", "T"),
        ("T", "T_CACHE", "T_CACHE"),
        {"T": _only(FP16), "T_CACHE": _only(FP16), "M": _only(INT32)},
        domain=CONTRIB,
    ),
    *(
        Kernel(  # x, codes, scales, zero points: packed bytes, or one number a group in the activations' format
            "MatMulNBits",
            ("T1", "T2", "T1", "T3"),
            ("T1",),
            {"T1": _only(number), "T2": _only(UINT8), "T3": _only(UINT8, number)},
            domain=CONTRIB,
        )
        for number in (FP16, FP32)
    ),
    # any head size: flash attention takes what 8 divides up to 256, on cards since Ampere
    Kernel("MultiHeadAttention", ("T", "T", "T", "T"), ("T", "T", "T"), {"T": HALF_OR_SINGLE}, domain=CONTRIB),
    Kernel("QuickGelu", ("T",), ("T",), {"T": FLOATS}, domain=CONTRIB),
    Kernel(
        "SkipSimplifiedLayerNormalization",
        ("T", "T", "T", "T"),
        ("T", "U", "U", "T"),
        {"T": HALF_OR_SINGLE, "U": _only(FP32)},
        domain=CONTRIB,
    ),
)


@dataclass(frozen=True)
class CudaReport:
    """What a CUDA session makes of a graph.

    `on_host`: nodes that work on nothing but shapes. onnxruntime keeps them on the CPU on purpose: that is where shapes
    are, and nothing is copied for them.
    `slow_products`: MatMulNBits nodes whose width `NBITS_ROW_MULTIPLE` doesn't divide.
    `not_fpa_intb`: MatMulNBits nodes that the kernels of `Packing.FPA_INTB` don't take, each with a reason.
    """

    nodes: int
    on_host: tuple[str, ...]
    slow_products: tuple[str, ...]
    not_fpa_intb: tuple[str, ...]


def check_cuda_graph(path: Path) -> CudaReport:
    """Reads the .onnx file at `path`, not its weights; OmniLMMError names the first node that has no CUDA kernel."""
    model = onnx.load(path, load_external_data=False)
    opsets = {item.domain: item.version for item in model.opset_import}
    types = _known_types(model.graph)
    host: set[str] = set()  # values in host memory: shapes, and what is computed from them
    on_host = []
    for node in model.graph.node:
        kernel = _find_kernel(node, opsets, types, path.name)
        types.update(_output_types(node, kernel, types))
        if node.op_type == "Shape":
            host.update(node.output)  # its kernel runs for CUDA, and writes to host memory
        elif _works_on_shapes(node, host):
            host.update(node.output)
            on_host.append(node.name)
    products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    slow = tuple(node.name for node in products if _numbers(node).get("N", 0) % NBITS_ROW_MULTIPLE)
    constants = {tensor.name for tensor in model.graph.initializer}
    reasons = ((node.name, _why_not_fpa_intb(node, types, constants)) for node in products)
    unfit = tuple(f"{name}: {reason}" for name, reason in reasons if reason)
    return CudaReport(len(model.graph.node), tuple(on_host), slow, unfit)


def check_packing(report: CudaReport, packing: Packing, file: str) -> None:
    """OmniLMMError where a graph has a product that kernels of the packing don't take: it would run, but slowly."""
    if packing is Packing.FPA_INTB and report.not_fpa_intb:
        raise OmniLMMError(
            f"{file}: the kernels of --packing {packing.value} don't take {len(report.not_fpa_intb)} of its products, "
            f"such as {report.not_fpa_intb[0]}; leave --packing out"
        )


def _known_types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element type by value name: the graph's inputs and constants."""
    types = {value.name: int(value.type.tensor_type.elem_type) for value in graph.input}
    return types | {tensor.name: int(tensor.data_type) for tensor in graph.initializer}


def _find_kernel(node: onnx.NodeProto, opsets: Mapping[str, int], types: Mapping[str, int], file: str) -> Kernel:
    version = _version(node, opsets)
    named = [kernel for kernel in KERNELS if (kernel.op_type, kernel.domain) == (node.op_type, node.domain)]
    operator = f"{node.domain or 'ai.onnx'}.{node.op_type}"
    complaint = f"{file}: node {node.name} would run on the CPU: {SOURCE} has no CUDA kernel for {operator}"
    if not named:
        raise OmniLMMError(complaint)
    fitting = [kernel for kernel in named if kernel.has_version(version)]
    if not fitting:
        raise OmniLMMError(f"{complaint} of version {version}")
    given = [types[name] if name else None for name in node.input]
    for kernel in fitting:
        if _fits(kernel, node, given):
            return kernel
    words = ", ".join("-" if each is None else _word(each) for each in given)
    raise OmniLMMError(f"{complaint} of types ({words})")


def _version(node: onnx.NodeProto, opsets: Mapping[str, int]) -> int:
    """The operator's version: the opset in which it last changed."""
    if not onnx.defs.has(node.op_type, node.domain):
        return 1
    return int(onnx.defs.get_schema(node.op_type, opsets[node.domain], node.domain).since_version)


def _fits(kernel: Kernel, node: onnx.NodeProto, given: Sequence[int | None]) -> bool:
    chosen: dict[str, int] = {}
    pairs = [(parameter, each) for parameter, each in zip(_stretch(kernel.inputs), given, strict=False) if each]
    if node.op_type == "Cast":
        pairs.append(("T2", _cast_target(node)))
    return all(each in kernel.types[name] and chosen.setdefault(name, each) == each for name, each in pairs)


def _output_types(node: onnx.NodeProto, kernel: Kernel, types: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    known = {name: types[value] for name, value in zip(_stretch(kernel.inputs), node.input, strict=False) if value}
    if node.op_type == "Cast":
        known["T2"] = _cast_target(node)
    for parameter, value in zip(_stretch(kernel.outputs), node.output, strict=False):
        if value:
            yield value, known[parameter] if parameter in known else next(iter(kernel.types[parameter]))


def _stretch(parameters: tuple[str, ...]) -> Iterator[str]:
    yield from parameters
    while True:
        yield parameters[-1]


def _cast_target(node: onnx.NodeProto) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")


def _works_on_shapes(node: onnx.NodeProto, host: set[str]) -> bool:
    """Whether the node's first input, the one that it works on, is in host memory; further ones may be constants."""
    return node.input[0] in host


def _numbers(node: onnx.NodeProto) -> dict[str, int]:
    """The node's attributes that are whole numbers, by name."""
    return {each.name: int(each.i) for each in node.attribute if each.type == onnx.AttributeProto.INT}


def _why_not_fpa_intb(node: onnx.NodeProto, types: Mapping[str, int], constants: set[str]) -> str:
    """Empty where the wheel's fpA_intB kernels take the product, by what `omnilmm_lite.bundle.packing` quotes."""
    numbers = _numbers(node)
    bits, size, rows, columns = (numbers.get(name, 0) for name in ("bits", "block_size", "N", "K"))
    if bits not in FPA_INTB_ROW_MULTIPLES:
        return f"{bits} bits, not {' or '.join(map(str, FPA_INTB_ROW_MULTIPLES))}"
    if size != FPA_INTB_GROUP_SIZE:
        return f"groups of {size}, not {FPA_INTB_GROUP_SIZE}"
    if columns % size:
        return f"{columns} columns, which groups of {size} don't divide"
    if rows % FPA_INTB_ROW_MULTIPLES[bits]:
        return f"{rows} rows, which {FPA_INTB_ROW_MULTIPLES[bits]} doesn't divide"
    for place, name in enumerate(("zero points", "g_idx", "a bias"), start=3):
        if len(node.input) > place and node.input[place]:
            return f"it has {name}"
    if types[node.input[0]] != FP16:
        return f"activations in {_word(types[node.input[0]])}, not {_word(FP16)}"
    if not constants.issuperset(node.input[1:3]):
        return "its weight is computed, not a constant that can be packed"
    return ""


def _word(element_type: int) -> str:
    return str(TensorProto.DataType.Name(element_type)).lower()
