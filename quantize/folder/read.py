"""Reads GPTQ checkpoints of the decoder, ours and those of gptqmodel and AutoGPTQ.

How finely a layer is quantized is seen from its tensors' shapes, not from `quantization_config`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.weights.weight import QuantizedWeight
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_file import read_json, shown
from omnilmm_lite.files.printable import printable
from omnilmm_lite.keys import LISTED, decoder_keys, is_harmless_extra
from quantize.folder.packing import (
    PARTS,
    SUPPORTED_BITS,
    Layout,
    ZeroFormat,
    contiguous_order,
    cut_groups,
    none_stored,
    unpack,
)
from quantize.folder.tensors import (
    DOWN,
    LINEARS,
    PRODUCTS,
    StoredTensor,
    packed_linear,
    read_tensor,
    stored_layouts,
    stored_tensors,
)

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True)
class GPTQFolder:
    """An opened GPTQ checkpoint; every tensor is read when it's asked for. It can feed the decoder's graph.

    Where act-order scattered the groups of a down projection, its inputs are put in another order, and with them the
    rows of the two layers before it: the decoder computes the same.
    """

    folder: Path
    zero_format: ZeroFormat
    quantization: Mapping[str, Any]  # `quantization_config`, as it stands
    layouts: Mapping[str, Layout]  # of the linear layers that are quantized
    input_orders: Mapping[str, NDArray[np.int64]]  # of those projections: column i is what column order[i] was
    files: tuple[Path, ...]  # that hold the tensors
    _shapes: Mapping[str, tuple[int, ...]]  # of the plain decoder's tensors
    _stored: Mapping[str, StoredTensor]

    def linear(self, name: str) -> QuantizedWeight | NDArray[np.float32]:
        """The weight (out, in) of a linear layer, such as "model.layers.0.mlp.up_proj"; plain ones as float32.

        KeyError for an unknown name, InputError where its tensors don't fit the decoder or each other.
        """
        weight = self.stored(name)
        order = self.input_orders.get(_behind(name))
        if order is None:
            return weight
        if not isinstance(weight, QuantizedWeight):
            return weight[order]
        return dataclasses.replace(
            weight, codes=weight.codes[order], scales=weight.scales[order], zeros=weight.zeros[order]
        )

    def array(self, name: str) -> NDArray[np.float32]:
        """A plain tensor as float32. KeyError for an unknown name, InputError for a wrong shape."""
        array: NDArray[np.float32] = read_tensor(self._stored, name).astype(np.float32)
        if array.shape != self._shapes[name]:
            raise InputError(f"{self.folder}: {name} has the shape {array.shape}, not {self._shapes[name]}")
        return array

    def has_zero_points(self, name: str) -> bool:
        """Whether any group of a quantized layer has another than the middle of its range, which is none."""
        layout = self.layouts[name]
        words = read_tensor(self._stored, f"{name}.qzeros")
        return bool((words != none_stored(layout.bits, self.zero_format)).any())

    def stored(self, name: str) -> QuantizedWeight | NDArray[np.float32]:
        """The same with the outputs as the checkpoint has them, and the inputs as `input_orders` says."""
        if name not in self.layouts:
            return self.array(f"{name}.weight")
        packed = packed_linear(name, {f"{name}.{part}": read_tensor(self._stored, f"{name}.{part}") for part in PARTS})
        try:
            packed = dataclasses.replace(packed, scales=_half(packed.scales))
            weight = cut_groups(unpack(packed, zero_format=self.zero_format, order=self.input_orders.get(name)))
        except InputError as error:
            raise InputError(f"{self.folder}: {name}: {error}") from error
        if weight.shape != self._shapes[f"{name}.weight"]:
            wanted = self._shapes[f"{name}.weight"]
            raise InputError(f"{self.folder}: {name} has the shape {weight.shape}, but the decoder needs {wanted}")
        return weight


def read_gptq_folder(folder: str | Path, config: DecoderConfig) -> GPTQFolder:
    """Opens a GPTQ checkpoint of the decoder that `config` describes; reads headers and group indices only.

    InputError where it is no GPTQ folder of a kind that can be used, or where tensors are missing or too many.
    """
    folder = Path(folder)
    quantization = _read_quantization_config(folder)
    bits = quantization.get("bits")
    if bits not in SUPPORTED_BITS:
        raise InputError(f"{folder} is quantized to {shown(bits)} bits; 4 or 8 can be used")
    stated = quantization.get("checkpoint_format", ZeroFormat.V1.value)
    if stated not in [known.value for known in ZeroFormat]:
        raise InputError(f"{folder}: checkpoint_format is {printable(str(stated))}; gptq and gptq_v2 can be used")
    if quantization.get("adapter"):
        raise InputError(f"{folder} needs a LoRA adapter beside its weights, which can't be used; quantize without one")
    shapes = decoder_keys(config)
    files = _weight_files(folder)
    stored = {name: tensor for file in files for name, tensor in stored_tensors(file).items()}
    stored = {name: tensor for name, tensor in stored.items() if not is_harmless_extra(name)}
    _check_names(folder, stored, shapes)
    try:
        layouts = stored_layouts(stored)
        _check_products(layouts, shapes)
        orders = _input_orders(layouts, stored)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return GPTQFolder(folder, ZeroFormat(stated), quantization, layouts, orders, files, shapes, stored)


def _read_quantization_config(folder: Path) -> dict[str, Any]:
    """From config.json; AutoGPTQ has it in a file of its own, where older versions name no method."""
    quantization = read_json(folder / "config.json").get("quantization_config")
    if quantization is None and (folder / "quantize_config.json").is_file():
        quantization = {"quant_method": "gptq"} | read_json(folder / "quantize_config.json")
    if not isinstance(quantization, dict) or quantization.get("quant_method") != "gptq":
        raise InputError(f"{folder / 'config.json'} has no quantization_config of method gptq; give a GPTQ folder")
    return quantization


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """The folder's safetensors files. What an index says about single tensors isn't needed: files say it themselves."""
    if (folder / SINGLE_FILE).is_file():
        return (folder / SINGLE_FILE,)
    if not (folder / INDEX_FILE).is_file():
        files = tuple(folder.glob("*.safetensors"))
        if len(files) != 1:
            raise InputError(
                f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}; give a folder of safetensors files"
            )
        return files  # AutoGPTQ names it after the bits and the group size
    weight_map = read_json(folder / INDEX_FILE).get("weight_map")
    shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    return tuple(folder / Path(str(shard)).name for shard in sorted(shards, key=str))


def _check_names(folder: Path, stored: Mapping[str, StoredTensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    expected: set[str] = set()
    for name in shapes:
        stem = name.removesuffix(".weight")
        # lm_head is plain, usually; a linear layer may have been left plain.
        packed = f"{stem}.qweight" in stored or (stem.endswith(LINEARS) and name not in stored)
        expected.update([f"{stem}.{part}" for part in PARTS] if packed else [name])
    for problem, names in (("lacks", expected - stored.keys()), ("holds unexpected", stored.keys() - expected)):
        if names:
            listed = ", ".join(printable(name) for name in sorted(names)[:LISTED])
            raise InputError(
                f"{folder} {problem} {len(names)} tensors of this decoder: {listed}; give one made from it"
            )


def _check_products(layouts: Mapping[str, Layout], shapes: Mapping[str, tuple[int, ...]]) -> None:
    if not layouts:
        raise InputError("none of its layers is quantized; give a GPTQ folder, or convert without --gptq")
    for first in (name.removesuffix(".weight") for name in shapes):
        for _, parts in PRODUCTS:
            if first.endswith(parts[0]):
                names = [first.removesuffix(parts[0]) + part for part in parts]
                if len({layouts.get(name) for name in names}) > 1:
                    raise InputError(f"{', '.join(names)} are one product: quantize them to the same bits and groups")


def _input_orders(layouts: Mapping[str, Layout], stored: Mapping[str, StoredTensor]) -> dict[str, NDArray[np.int64]]:
    """By down projection, the order of inputs that makes its groups contiguous; those that need none are left out."""
    orders = {}
    for name in layouts:
        order = contiguous_order(read_tensor(stored, f"{name}.g_idx"))
        if order is None:
            continue
        if not name.endswith(DOWN):
            raise InputError(
                f"{name}: desc_act=true scattered its groups over all inputs (g_idx), which no kernel here reads; "
                "quantize with desc_act=false and act_group_aware=true, or with static_groups=true"
            )
        orders[name] = order
    return orders


def _behind(name: str) -> str:
    """The down projection that reads what the layer `name` puts out; "" if none does."""
    return next((name.removesuffix(part) + DOWN for part in PRODUCTS[1][1] if name.endswith(part)), "")


def _half(scales: NDArray[np.floating]) -> NDArray[np.float16]:
    """Scales as float16, in which kernels take them; some tools store bf16 or fp32. InputError where that loses any."""
    with np.errstate(over="ignore"):
        half = scales.astype(np.float16)
    # Half of fp16's smallest step: what is lost below it is nothing beside any other weight.
    same = np.allclose(half.astype(np.float32), scales.astype(np.float32), rtol=2**-10, atol=2**-25)
    if not same or not np.isfinite(half).all():
        raise InputError("its scales are NaN or beyond fp16, which can't be used")
    return half
