"""The standard GPTQ checkpoint: a folder that transformers, vLLM and gptqmodel load as a MistralForCausalLM.

It holds the decoder only: packed linear layers, and embeddings, norms and lm_head in fp16. config.json says how it was
quantized (`quantization_config`), and so does quantize_config.json for older loaders. Layers that are quantized more
or less finely than the rest stand in its `dynamic`, in gptqmodel's format; when reading, their tensors' shapes say it.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from export.weights.weight import QuantizedWeight
from omnilmm_lite import __version__
from omnilmm_lite.config import DecoderConfig, TokenIds
from omnilmm_lite.durable import durable_folder, link_or_copy, write_json
from omnilmm_lite.errors import InputError
from omnilmm_lite.json_file import printable, read_json, shown
from omnilmm_lite.keys import decoder_keys, is_harmless_extra
from quantize.folder.packing import (
    PARTS,
    SUPPORTED_BITS,
    Layout,
    PackedLinear,
    ZeroFormat,
    contiguous_order,
    cut_groups,
    pack,
    packed_layout,
    unpack,
)
from quantize.gptq.settings import GPTQSettings

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
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
REPORT_FILE = "quantization_report.json"
LISTED_NAMES = 10
# gptqmodel's loader takes asymmetric folders with zero points of the first format from nobody but itself, since older
# tools got them wrong. Beside who made the folder, this names the first version that stores them as we do.
ZEROS_OF = "gptqmodel:0.9.0"


# ---- writing ----


def linear_tensors(name: str, weight: QuantizedWeight) -> dict[str, NDArray[Any]]:
    """The tensors that stand for the linear layer `name`, such as "model.layers.0.mlp.up_proj"."""
    packed = pack(weight)
    return {f"{name}.{part}": getattr(packed, part) for part in PARTS}


def linear_from_tensors(name: str, tensors: Mapping[str, NDArray[Any]]) -> QuantizedWeight:
    """The inverse of `linear_tensors`. InputError where the tensors don't fit each other."""
    try:
        return unpack(_packed(name, tensors))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _packed(name: str, tensors: Mapping[str, NDArray[Any]]) -> PackedLinear:
    return PackedLinear(**{part: tensors[f"{name}.{part}"] for part in PARTS})


def write(
    folder: Path,
    shards: Iterable[Path],
    config: DecoderConfig,
    tokens: TokenIds,
    settings: GPTQSettings,
    report: Mapping[str, Any],
    tokenizer_files: Iterable[Path] = (),
) -> None:
    """Makes a folder of safetensors files that hold all tensors between them; `folder` must not exist yet.

    The files are linked to where that's possible, so the folder takes no further room. It appears whole or not at all.
    gptqmodel opens no folder without a tokenizer: tokenizer.json is enough.
    Which linear layers are quantized, and which of them otherwise than `settings` say, is seen from their tensors.
    """
    files = list(shards)

    with durable_folder(folder) as partial:
        for file in tokenizer_files:
            shutil.copyfile(file, partial / file.name)
        stored: dict[str, StoredTensor] = {}
        for number, file in enumerate(files, start=1):
            link_or_copy(file, partial / f"model-{number:05}-of-{len(files):05}.safetensors")
            stored |= _stored_tensors(partial / f"model-{number:05}-of-{len(files):05}.safetensors")
        index = {
            "metadata": {"total_size": sum(file.stat().st_size for file in files)},
            "weight_map": {name: tensor.file.name for name, tensor in stored.items()},
        }
        write_json(partial / INDEX_FILE, index)
        quantization = _quantization_config(settings, stored)
        write_json(partial / "config.json", _config_json(config, tokens) | {"quantization_config": quantization})
        write_json(partial / "quantize_config.json", quantization | {"model_name_or_path": None})
        write_json(partial / REPORT_FILE, report)


def _quantization_config(settings: GPTQSettings, stored: Mapping[str, StoredTensor]) -> dict[str, Any]:
    layouts = _layouts(stored)
    quantization: dict[str, Any] = {
        "quant_method": "gptq",
        "checkpoint_format": ZeroFormat.V1.value,
        "bits": settings.bits,
        "group_size": settings.group_size,
        "sym": settings.sym,
        # For a reader this says whether g_idx is out of order, and with static groups it never is: fast kernels
        # refuse or slow down where it's true. The order in which columns were quantized stands below.
        "desc_act": False,
        "static_groups": settings.desc_act,
        "true_sequential": True,
        "damp_percent": settings.damp,
        "lm_head": "lm_head" in layouts,
        "pack_dtype": "int32",
        "meta": {"quantizer": [f"omnilmm-lite:{__version__}", ZEROS_OF], "settings": settings.to_dict()},
    }
    dynamic: dict[str, dict[str, int]] = {}
    for name, layout in layouts.items():
        (columns,) = stored[f"{name}.g_idx"].shape
        group_size = columns if settings.group_size == -1 else settings.group_size
        if layout != Layout(settings.bits, group_size):
            dynamic[_pattern(name)] = {"bits": layout.bits, "group_size": layout.group_size}
    return quantization | ({"dynamic": dynamic} if dynamic else {})


def _pattern(name: str) -> str:
    """A key of `dynamic`: a regular expression for the layer, and for the product that vLLM makes of it."""
    for product, parts in PRODUCTS:
        if part := next((part for part in parts if name.endswith(part)), None):
            names = "|".join(re.escape(alternative) for alternative in (part, product))
            return f"+:{re.escape(name.removesuffix(part))}({names})$"
    return f"+:{re.escape(name)}$"


def _config_json(config: DecoderConfig, tokens: TokenIds) -> dict[str, Any]:
    return {
        "architectures": ["MistralForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": tokens.bos,
        "eos_token_id": tokens.eos,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "model_type": "mistral",
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "sliding_window": config.sliding_window,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }


# ---- reading ----


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and what the file's header says about it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str  # safetensors' word for it


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
        array: NDArray[np.float32] = _read(self._stored, name).astype(np.float32)
        if array.shape != self._shapes[name]:
            raise InputError(f"{self.folder}: {name} has the shape {array.shape}, not {self._shapes[name]}")
        return array

    def stored(self, name: str) -> QuantizedWeight | NDArray[np.float32]:
        """The same with the outputs as the checkpoint has them, and the inputs as `input_orders` says."""
        if name not in self.layouts:
            return self.array(f"{name}.weight")
        packed = _packed(name, {f"{name}.{part}": _read(self._stored, f"{name}.{part}") for part in PARTS})
        try:
            packed = dataclasses.replace(packed, scales=_half(packed.scales))
            weight = cut_groups(unpack(packed, zero_format=self.zero_format, order=self.input_orders.get(name)))
        except InputError as error:
            raise InputError(f"{self.folder}: {name}: {error}") from error
        if weight.shape != self._shapes[f"{name}.weight"]:
            wanted = self._shapes[f"{name}.weight"]
            raise InputError(f"{self.folder}: {name} has the shape {weight.shape}, but the decoder needs {wanted}")
        return weight


def read(folder: str | Path, config: DecoderConfig) -> GPTQFolder:
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
    stored = {name: tensor for file in files for name, tensor in _stored_tensors(file).items()}
    stored = {name: tensor for name, tensor in stored.items() if not is_harmless_extra(name)}
    _check_names(folder, stored, shapes)
    try:
        layouts = _layouts(stored)
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
    """What an index says about single tensors is not needed, as the files say it themselves."""
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


def _stored_tensors(file: Path) -> dict[str, StoredTensor]:
    with _open(file) as tensors:
        slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118  # it's no mapping
        return {name: StoredTensor(file, tuple(view.get_shape()), view.get_dtype()) for name, view in slices.items()}


def _check_names(folder: Path, stored: Mapping[str, StoredTensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    expected: set[str] = set()
    for name in shapes:
        stem = name.removesuffix(".weight")
        # lm_head is plain, usually; a linear layer may have been left plain.
        packed = f"{stem}.qweight" in stored or (stem.endswith(LINEARS) and name not in stored)
        expected.update([f"{stem}.{part}" for part in PARTS] if packed else [name])
    for problem, names in (("lacks", expected - stored.keys()), ("holds unexpected", stored.keys() - expected)):
        if names:
            listed = ", ".join(printable(name) for name in sorted(names)[:LISTED_NAMES])
            raise InputError(
                f"{folder} {problem} {len(names)} tensors of this decoder: {listed}; give one made from it"
            )


def _layouts(stored: Mapping[str, StoredTensor]) -> dict[str, Layout]:
    """Of every linear layer that is quantized."""
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
    """The new order of inputs of the down projections that need one."""
    orders = {}
    for name in layouts:
        order = contiguous_order(_read(stored, f"{name}.g_idx"))
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
    """Scales in the format in which they are computed with; some tools store bf16 or fp32."""
    with np.errstate(over="ignore"):
        half = scales.astype(np.float16)
    # Half of fp16's smallest step: what is lost below it is nothing beside any other weight.
    same = np.allclose(half.astype(np.float32), scales.astype(np.float32), rtol=2**-10, atol=2**-25)
    if not same or not np.isfinite(half).all():
        raise InputError("its scales are NaN or beyond fp16, which can't be used")
    return half


def _read(stored: Mapping[str, StoredTensor], name: str) -> NDArray[Any]:
    """As numpy has it: bfloat16 becomes float32."""
    with _open(stored[name].file) as tensors:
        tensor = tensors.get_tensor(name)
        array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        return array


def _open(file: Path) -> Any:
    """A context manager over a safetensors file, which the library leaves untyped."""
    try:
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} can't be read as safetensors ({printable(str(error))})") from error
