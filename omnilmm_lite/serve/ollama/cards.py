"""What Ollama's API says of a model that it lists: there is one here, by its name and its aliases."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from typing import Any

from omnilmm_lite.serve.model.facts import ModelFacts
from omnilmm_lite.serve.request_checker import LATEST

FAMILY = "omnilmm"
# By their names in Ollama's Modelfile.
PARAMETERS = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p",
              "repetition_penalty": "repeat_penalty", "max_new_tokens": "num_predict"}  # fmt: skip
CAPABILITIES = ("completion", "vision", "tools")


def tagged(name: str) -> str:
    """Programs look for a tag behind each name."""
    return name if ":" in name else name + LATEST


def details(facts: ModelFacts) -> dict[str, Any]:
    """The short description, in every listing. `quantization_level` is free text there, and so it is here."""
    return {
        "parent_model": "",
        "format": "onnx" if facts.size_bytes else "safetensors",
        "family": FAMILY,
        "families": [FAMILY],
        "parameter_size": _rounded(facts.parameter_count),
        "quantization_level": facts.form,
    }


def card(facts: ModelFacts, name: str, started_at: int) -> dict[str, Any]:
    """An entry of `/api/tags`. `started_at`: seconds since 1970, for the date that Ollama has of a model's pull."""
    return {
        "name": tagged(name),
        "model": tagged(name),
        "modified_at": moment(started_at),
        "size": facts.size_bytes or 0,
        "digest": hashlib.sha256(facts.identity.encode()).hexdigest(),
        "details": details(facts),
    }


def description(facts: ModelFacts, started_at: int) -> dict[str, Any]:
    """The body of `/api/show`."""
    decoder = facts.config.decoder
    sampling = dataclasses.asdict(facts.sampling)
    return {
        "modelfile": "",
        "template": "",  # the prompt is made by code
        "parameters": "\n".join(f"{name:<30} {sampling[own]:g}" for own, name in PARAMETERS.items()),
        "modified_at": moment(started_at),
        "details": details(facts),
        "capabilities": list(CAPABILITIES),
        "model_info": {
            "general.architecture": FAMILY,
            "general.basename": facts.name,
            "general.parameter_count": facts.parameter_count,
            f"{FAMILY}.context_length": facts.context,
            f"{FAMILY}.embedding_length": decoder.hidden_size,
            f"{FAMILY}.block_count": decoder.num_hidden_layers,
            f"{FAMILY}.feed_forward_length": decoder.intermediate_size,
            f"{FAMILY}.attention.head_count": decoder.num_attention_heads,
            f"{FAMILY}.attention.head_count_kv": decoder.num_key_value_heads,
            f"{FAMILY}.vocab_size": decoder.vocab_size,
            f"{FAMILY}.vision.block_count": facts.config.vision.num_hidden_layers,
            f"{FAMILY}.vision.image_size": facts.config.vision.image_size,
        },
    }


def moment(seconds: float) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _rounded(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
