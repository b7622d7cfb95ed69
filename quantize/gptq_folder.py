"""The standard GPTQ checkpoint: a folder that transformers, vLLM and gptqmodel load as a MistralForCausalLM.

It holds the decoder only: packed linear layers, and embeddings, norms and lm_head in fp16. config.json says how it was
quantized (`quantization_config`), and so does quantize_config.json for older loaders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from export.durable import durable_folder, link_or_copy, write_json
from export.json_file import printable, read_json
from export.keys import decoder_keys, is_harmless_extra
from omnilmm_lite.config import DecoderConfig, TokenIds
from omnilmm_lite.errors import InputError
from quantize.packing import PackedLinear, ZeroFormat, pack, unpack
from quantize.settings import GPTQSettings
from quantize.weight import QuantizedWeight

LINEARS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
PARTS = ("qweight", "qzeros", "scales", "g_idx")
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
REPORT_FILE = "quantization_report.json"
LISTED_NAMES = 10


# ---- writing ----


def linear_tensors(name: str, weight: QuantizedWeight) -> dict[str, NDArray[Any]]:
    """The tensors that stand for the linear layer `name`, such as "model.layers.0.mlp.up_proj"."""
    packed = pack(weight)
    return {f"{name}.{part}": getattr(packed, part) for part in PARTS}


def linear_from_tensors(
    name: str, tensors: Mapping[str, NDArray[Any]], bits: int, zero_format: ZeroFormat = ZeroFormat.V1
) -> QuantizedWeight:
    """The inverse of `linear_tensors`. InputError where the tensors don't fit each other."""
    packed = PackedLinear(**{part: tensors[f"{name}.{part}"] for part in PARTS})
    try:
        return unpack(packed, bits, zero_format)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def write(
    folder: Path,
    shards: Iterable[Path],
    config: DecoderConfig,
    tokens: TokenIds,
    settings: GPTQSettings,
    report: Mapping[str, Any],
) -> None:
    """Makes a folder of safetensors files that hold all tensors between them; `folder` must not exist yet.

    The files are linked to where that's possible, so the folder takes no further room. It appears whole or not at all.
    """
    files = list(shards)

    with durable_folder(folder) as partial:
        weight_map: dict[str, str] = {}
        total = 0
        for number, file in enumerate(files, start=1):
            name = f"model-{number:05}-of-{len(files):05}.safetensors"
            link_or_copy(file, partial / name)
            total += file.stat().st_size
            with _open(file) as tensors:
                weight_map |= dict.fromkeys(tensors.keys(), name)
        write_json(partial / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})
        write_json(partial / "config.json", _config_json(config, tokens, settings))
        write_json(partial / "quantize_config.json", _quantization_config(settings) | {"model_name_or_path": None})
        write_json(partial / REPORT_FILE, report)


def _quantization_config(settings: GPTQSettings) -> dict[str, Any]:
    return {
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
        "lm_head": False,
        "pack_dtype": "int32",
        "meta": {"quantizer": ["omnilmm-lite"], "settings": settings.to_dict()},
    }


def _config_json(config: DecoderConfig, tokens: TokenIds, settings: GPTQSettings) -> dict[str, Any]:
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
        "quantization_config": _quantization_config(settings),
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
class GPTQFolder:
    """An opened GPTQ checkpoint; every tensor is read when it's asked for. It can feed the decoder's graph."""

    folder: Path
    bits: int
    zero_format: ZeroFormat
    quantization: Mapping[str, Any]  # `quantization_config`, as it stands
    _shapes: Mapping[str, tuple[int, ...]]  # of the plain decoder's tensors
    _files: Mapping[str, Path]  # which file holds each tensor

    def linear(self, name: str) -> QuantizedWeight | NDArray[np.float32]:
        """The weight (out, in) of a linear layer, such as "model.layers.0.mlp.up_proj"; plain ones as float32.

        KeyError for an unknown name, InputError where its tensors don't fit the decoder or each other.
        """
        if f"{name}.qweight" not in self._files:
            return self.array(f"{name}.weight")
        tensors = {f"{name}.{part}": self._read(f"{name}.{part}") for part in PARTS}
        try:
            weight = linear_from_tensors(name, tensors, self.bits, self.zero_format)
        except InputError as error:
            raise InputError(f"{self.folder}: {error}") from error
        if weight.shape != self._shapes[f"{name}.weight"]:
            wanted = self._shapes[f"{name}.weight"]
            raise InputError(f"{self.folder}: {name} has the shape {weight.shape}, but the decoder needs {wanted}")
        return weight

    def array(self, name: str) -> NDArray[np.float32]:
        """A plain tensor as float32. KeyError for an unknown name, InputError for a wrong shape."""
        array: NDArray[np.float32] = self._read(name).astype(np.float32)
        if array.shape != self._shapes[name]:
            raise InputError(f"{self.folder}: {name} has the shape {array.shape}, not {self._shapes[name]}")
        return array

    def _read(self, name: str) -> NDArray[Any]:
        with _open(self._files[name]) as tensors:
            tensor = tensors.get_tensor(name)
            # numpy has no bfloat16, in which other tools leave plain tensors
            array: NDArray[Any] = (tensor.float() if name.endswith(".weight") else tensor).numpy()
            return array


def read(folder: str | Path, config: DecoderConfig) -> GPTQFolder:
    """Opens a GPTQ checkpoint of the decoder that `config` describes; reads headers only.

    InputError where it is no GPTQ folder of a kind that can be used, or where tensors are missing or too many.
    """
    folder = Path(folder)
    quantization = read_json(folder / "config.json").get("quantization_config")
    if not isinstance(quantization, dict) or quantization.get("quant_method") != "gptq":
        raise InputError(f"{folder / 'config.json'} has no quantization_config of method gptq; give a GPTQ folder")
    bits = quantization.get("bits")
    if bits not in (4, 8):
        raise InputError(f"{folder} is quantized to {printable(str(bits))} bits; 4 or 8 can be used")
    stated = quantization.get("checkpoint_format", ZeroFormat.V1.value)
    if stated not in [known.value for known in ZeroFormat]:
        raise InputError(f"{folder}: checkpoint_format is {printable(str(stated))}; gptq and gptq_v2 can be used")
    shapes = decoder_keys(config)
    files = _locate(folder)
    _check_names(folder, files, shapes)
    return GPTQFolder(folder, bits, ZeroFormat(stated), quantization, shapes, files)


def _locate(folder: Path) -> dict[str, Path]:
    """Which file holds each tensor; what the index says is not needed, as the files say it themselves."""
    if (folder / SINGLE_FILE).is_file():
        files = [folder / SINGLE_FILE]
    else:
        weight_map = read_json(folder / INDEX_FILE).get("weight_map")
        shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
        files = [folder / Path(str(shard)).name for shard in sorted(shards, key=str)]
    located: dict[str, Path] = {}
    for file in files:
        with _open(file) as tensors:
            located |= dict.fromkeys(tensors.keys(), file)
    return {name: file for name, file in located.items() if not is_harmless_extra(name)}


def _check_names(folder: Path, found: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> None:
    expected: set[str] = set()
    for name in shapes:
        stem = name.removesuffix(".weight")
        expected.update([f"{stem}.{part}" for part in PARTS] if stem.endswith(LINEARS) else [name])
    found = set(found)
    for problem, names in (("lacks", expected - found), ("holds unexpected", found - expected)):
        if names:
            listed = ", ".join(printable(name) for name in sorted(names)[:LISTED_NAMES])
            raise InputError(
                f"{folder} {problem} {len(names)} tensors of this decoder: {listed}; give one made from it"
            )


def _open(file: Path) -> Any:
    """A context manager over a safetensors file, which the library leaves untyped."""
    try:
        return safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} can't be read as safetensors ({printable(str(error))})") from error
