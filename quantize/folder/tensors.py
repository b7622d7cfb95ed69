"""The tensors of a GPTQ checkpoint: which stand for a linear layer, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from export.weights.weight import QuantizedWeight
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.files.regular_file import check_regular
from quantize.folder.packing import PARTS, Layout, PackedLinear, pack, packed_layout, unpack

LINEARS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
# Linear layers with the same input, which are computed as one product.
PRODUCTS = (
    ("self_attn.qkv_proj", LINEARS[:3]),
    ("mlp.gate_up_proj", LINEARS[4:6]),
)
DOWN = LINEARS[6]


def linear_tensors(name: str, weight: QuantizedWeight) -> dict[str, NDArray[Any]]:
    """The tensors that stand for the linear layer `name`, such as "model.layers.0.mlp.up_proj"."""
    packed = pack(weight)
    return {f"{name}.{part}": getattr(packed, part) for part in PARTS}


def linear_from_tensors(name: str, tensors: Mapping[str, NDArray[Any]]) -> QuantizedWeight:
    """The inverse of `linear_tensors`. InputError where the tensors don't fit each other."""
    try:
        return unpack(packed_linear(name, tensors))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def packed_linear(name: str, tensors: Mapping[str, NDArray[Any]]) -> PackedLinear:
    """The four tensors of the linear layer `name`, as they stand in the file. KeyError where one is missing."""
    return PackedLinear(**{part: tensors[f"{name}.{part}"] for part in PARTS})


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and what the file's header says about it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str  # safetensors' word for it


def stored_tensors(file: Path) -> dict[str, StoredTensor]:
    """All tensors of a safetensors file, by their names; reads its header only. InputError where it is none."""
    with _open(file) as tensors:
        slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118  # it's no mapping
        return {name: StoredTensor(file, tuple(view.get_shape()), view.get_dtype()) for name, view in slices.items()}


def stored_layouts(stored: Mapping[str, StoredTensor]) -> dict[str, Layout]:
    """Bits and group size of every linear layer that is quantized, as its tensors' shapes say. InputError where they
    are no GPTQ linear layer's."""
    layouts = {}
    for name in (name.removesuffix(".qweight") for name in stored if name.endswith(".qweight")):
        parts = {part: stored[f"{name}.{part}"] for part in PARTS}
        for part in ("qweight", "qzeros", "g_idx"):
            if parts[part].dtype != "I32":
                raise InputError(f"{name}.{part} is {parts[part].dtype}; pack_dtype int32 (I32) is needed")
        try:
            layouts[name] = packed_layout({part: tensor.shape for part, tensor in parts.items()})
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    return layouts


def read_tensor(stored: Mapping[str, StoredTensor], name: str) -> NDArray[Any]:
    """A tensor's values as numpy has them: bfloat16 becomes float32. KeyError for an unknown name."""
    with _open(stored[name].file) as tensors:
        tensor = tensors.get_tensor(name)
        array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        return array


def _open(file: Path) -> Any:
    """A context manager over a safetensors file, which the library leaves untyped."""
    try:
        check_regular(file)
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} can't be read as safetensors ({printable(str(error))})") from error
