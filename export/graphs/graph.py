"""A small ONNX graph builder whose weights go straight to disk.

The full-size tower is 17 GB in fp32: weights are appended to the external data file one at a time and never kept, so
building a graph needs the memory of its largest tensor. The same code writes the smallest model and the largest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.weights.matmul_nbits import pack_matmul_nbits
from export.weights.weight import Array, QuantizedWeight, Weight
from omnilmm_lite.bundle.layout import ALIGNMENT, INLINE_BYTES
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.formats import Float, Precision

OPSET = 21  # LayerNormalization (17) and everything else used here; onnxruntime >= 1.20 runs it on CPU and CUDA
IR_VERSION = 10
CONTRIB = "com.microsoft"
SEAMS = "omnilmm.seams"  # metadata of the graph: how many nodes lie before each seam

Shape: TypeAlias = Sequence[int | str]


def element_type(number: Float) -> int:
    """ONNX's code for the format."""
    return int(TensorProto.FLOAT if number is Float.FP32 else TensorProto.FLOAT16)


class GraphBuilder:
    """Collects nodes, writes each weight into `path`.data at once, writes `path` on `save`.

    Used as a context manager. Values are passed around by name; every helper returns the name of its result.
    """

    def __init__(self, path: Path, precision: Precision, *, accuracy_level: int = 0) -> None:
        """`accuracy_level`: MatMulNBits' (0: the activations' own format, 4: int8 activations)."""
        self.path = path
        self.precision = precision
        self.accuracy_level = accuracy_level
        self._data = path.with_name(path.name + ".data").open("wb")
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._counts: dict[str, int] = {}
        self._seams: list[int] = []
        self._batches: dict[str, str] = {}  # by the value whose batch it is

    def __enter__(self) -> GraphBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    # ---- the graph's surface ----

    def input(self, name: str, onnx_type: int, shape: Shape) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, onnx_type, list(shape)))
        return name

    def output(self, name: str, value: str, onnx_type: int, shape: Shape) -> None:
        """Publishes `value` under `name`, cast to `onnx_type`."""
        self._nodes.append(helper.make_node("Cast", [value], [name], name=f"{name}/cast", to=onnx_type))
        self.declare_output(name, onnx_type, shape)

    def declare_output(self, name: str, onnx_type: int, shape: Shape) -> None:
        """Publishes a value that a node already writes under `name`."""
        self._outputs.append(helper.make_tensor_value_info(name, onnx_type, list(shape)))

    # ---- constants ----

    def shared_constant(self, name: str, array: Array) -> str:
        """Like `constant`, but the same name may come again with the same array."""
        return name if name in self._initializers else self.constant(name, array)

    def constant(self, name: str, array: Array) -> str:
        """A tensor in its own dtype, whatever the precision: indices, shapes, packed codes."""
        if name in self._initializers:
            raise OmniLMMError(f"graph {self.path.name}: the weight {name!r} was added twice")
        array = np.ascontiguousarray(array)
        onnx_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        if array.nbytes <= INLINE_BYTES:
            self._initializers[name] = helper.make_tensor(name, onnx_type, array.shape, array.tobytes(), raw=True)
            return name
        offset = -(-self._data.tell() // ALIGNMENT) * ALIGNMENT
        self._data.seek(offset)
        self._data.write(array.data)
        tensor = TensorProto(name=name, data_type=onnx_type, dims=array.shape, data_location=TensorProto.EXTERNAL)
        facts = {"location": self.path.name + ".data", "offset": offset, "length": array.nbytes}
        for key, value in facts.items():
            tensor.external_data.add(key=key, value=str(value))
        self._initializers[name] = tensor
        return name

    def weight(self, name: str, array: Array) -> str:
        """A floating-point weight: stored in the precision's storage format, seen in its compute format."""
        with np.errstate(over="ignore"):
            converted = array.astype(self.precision.storage.numpy)
        if not np.isfinite(converted).all():
            if not np.isfinite(array).all():  # no precision has room for that
                raise InputError(f"{name} holds numbers that aren't finite: the checkpoint is damaged; get it anew")
            raise InputError(f"{name} holds values beyond {self.precision.storage.value}: take --preset reference")
        stored = self.constant(name, converted)
        if self.precision.storage is self.precision.compute:
            return stored
        return self.op("Cast", stored, name=f"{name}/cast", to=element_type(self.precision.compute))

    # ---- operators ----

    def node(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any) -> None:
        """A node with its outputs' names given; an empty name leaves an optional input or output out."""
        domain = CONTRIB if op_type in CONTRIB_OPS else ""
        self._nodes.append(helper.make_node(op_type, inputs, outputs, name=name, domain=domain, **attributes))

    def op(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node with one output."""
        name = name or self._fresh(op_type)
        self.node(op_type, inputs, [name], name, **attributes)
        return name

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """A view of `x` in the given shape; one axis may be -1, which takes what is left."""
        return self.op("Reshape", x, self.shared_constant(f"shape.{shape}", np.asarray(shape, dtype=np.int64)))

    def split(self, x: str, sizes: Sequence[int], name: str) -> list[str]:
        """Splits the last axis."""
        outputs = [f"{name}.{i}" for i in range(len(sizes))]
        lengths = self.constant(f"{name}.sizes", np.asarray(sizes, dtype=np.int64))
        self.node("Split", [x, lengths], outputs, name, axis=-1)
        return outputs

    def over_batch(self, rows: str, like: str) -> str:
        """Repeats (1, tokens, hidden) for each picture of `like`: (batch, tokens, hidden)."""
        batch = self.op("Shape", like, start=0, end=1)
        ones = self.constant(f"{rows}.ones", np.ones(2, dtype=np.int64))
        return self.op("Expand", rows, self.op("Concat", batch, ones, axis=0))

    def to_batch(self, rows: str, width: int, like: str) -> str:
        """(batch * tokens, width) -> (batch, tokens, width), with as large a batch as `like` has."""
        if like not in self._batches:  # once: a value that is read late would cross every seam until then
            self._batches[like] = self.op("Shape", like, start=0, end=1)
        rest = self.shared_constant(f"shape.rows.{width}", np.asarray([-1, width], dtype=np.int64))
        return self.op("Reshape", rows, self.op("Concat", self._batches[like], rest, axis=0))

    def linear(self, x: str, weight: Weight, name: str, bias: Array | None = None) -> str:
        """x (..., in) times weight (out, in) transposed, plus bias (out,)."""
        if isinstance(weight, QuantizedWeight):
            y = self._matmul_nbits(x, weight, name)
        else:
            y = self.op("MatMul", x, self.weight(f"{name}.weight", weight.T), name=f"{name}/matmul")
        if bias is None:
            return y
        return self.op("Add", y, self.weight(f"{name}.bias", bias), name=f"{name}/add")

    def layer_norm(self, x: str, scale: Array, bias: Array, eps: float, name: str) -> str:
        names = self.weight(f"{name}.weight", scale), self.weight(f"{name}.bias", bias)
        return self.op("LayerNormalization", x, *names, name=name, axis=-1, epsilon=eps)

    def attention(self, query: str, key: str, value: str, bias: Array | None, num_heads: int, name: str) -> str:
        """Unmasked multi-head attention; all (batch, tokens, hidden). `bias` (3 * hidden,) is added to q, k, v."""
        biases = () if bias is None else (self.weight(f"{name}.bias", bias),)
        return self.op("MultiHeadAttention", query, key, value, *biases, name=name, num_heads=num_heads)

    def seam(self) -> None:
        """Marks the end of a block or layer: `export.parity.segments` can run what lies between two seams by itself."""
        self._seams.append(len(self._nodes))

    def _matmul_nbits(self, x: str, weight: QuantizedWeight, name: str) -> str:
        blob, scales, zero_points = pack_matmul_nbits(weight)
        # the operator's scales have the activations' format; they are small, so their storage is not narrowed
        names = [
            self.constant(f"{name}.qweight", blob),
            self.constant(f"{name}.scales", scales.astype(self.precision.compute.numpy)),
        ]
        if zero_points is not None:
            names.append(self.constant(f"{name}.qzeros", zero_points))
        rows, columns = weight.codes.shape
        return self.op(
            "MatMulNBits",
            x,
            *names,
            name=f"{name}/matmul",
            N=rows,
            K=columns,
            bits=weight.bits,
            block_size=weight.group_size,
            accuracy_level=self.accuracy_level,
        )

    def _fresh(self, stem: str) -> str:
        self._counts[stem] = self._counts.get(stem, 0) + 1
        return f"{stem}_{self._counts[stem]}"

    # ---- the end ----

    def save(self) -> None:
        """Writes the graph, and makes sure that the weights are on disk."""
        self._data.flush()
        os.fsync(self._data.fileno())
        graph = helper.make_graph(
            self._nodes, self.path.stem, self._inputs, self._outputs, initializer=list(self._initializers.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="omnilmm-lite")
        if self._seams:
            helper.set_model_props(model, {SEAMS: " ".join(map(str, self._seams))})
        self.path.write_bytes(model.SerializeToString())


# Operators of onnxruntime's own domain. SimplifiedLayerNormalization lives, for history's sake, in the standard one.
CONTRIB_OPS = frozenset(
    {
        "BiasGelu",
        "GroupQueryAttention",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "MultiHeadAttention",
        "QuickGelu",
        "SkipSimplifiedLayerNormalization",
    }
)
