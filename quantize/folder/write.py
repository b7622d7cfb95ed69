"""Writes the standard GPTQ checkpoint: a folder that transformers, vLLM and gptqmodel load as a MistralForCausalLM.

It holds the decoder only: packed linear layers, and embeddings, norms and lm_head in fp16. config.json says how it was
quantized (`quantization_config`), and so does quantize_config.json for older loaders. Layers that are quantized more
or less finely than the rest stand in its `dynamic`, in gptqmodel's format.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omnilmm_lite.config import DecoderConfig, TokenIds
from omnilmm_lite.files.durable_file import durable_folder, link_or_copy, write_json
from omnilmm_lite.version import __version__
from quantize.folder.packing import Layout, ZeroFormat
from quantize.folder.read import INDEX_FILE
from quantize.folder.tensors import PRODUCTS, StoredTensor, stored_layouts, stored_tensors
from quantize.gptq.settings import GPTQSettings

REPORT_FILE = "quantization_report.json"
# gptqmodel's loader takes asymmetric folders with zero points of the first format from nobody but itself, since older
# tools got them wrong. Beside who made the folder, this names the first version that stores them as we do.
ZEROS_OF = "gptqmodel:0.9.0"


def write_gptq_folder(
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
            stored |= stored_tensors(partial / f"model-{number:05}-of-{len(files):05}.safetensors")
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
    layouts = stored_layouts(stored)
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
