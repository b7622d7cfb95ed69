"""Writes tiny as a Hugging Face folder with OmniLMM's names: config.json, model.safetensors in bf16, the tokenizer."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from examples.tiny.network import CONFIG, new_model
from export.reference.model import OmniLMM


def hf_config() -> dict[str, object]:
    """config.json: the published keys, and the tower's shape, which they can't tell."""
    decoder, vision = CONFIG.decoder, CONFIG.vision
    return {
        "architectures": ["OmniLMMForCausalLM"],
        "model_type": "omnilmm",
        "bos_token_id": CONFIG.tokens.bos,
        "eos_token_id": CONFIG.tokens.eos,
        "pad_token_id": CONFIG.tokens.eos,
        "hidden_act": "silu",
        "hidden_size": decoder.hidden_size,
        "image_size": vision.image_size,
        "intermediate_size": decoder.intermediate_size,
        "max_position_embeddings": decoder.max_position_embeddings,
        "mm_use_im_start_end": True,
        "mm_vision_tower": "tiny",
        "num_attention_heads": decoder.num_attention_heads,
        "num_hidden_layers": decoder.num_hidden_layers,
        "num_key_value_heads": decoder.num_key_value_heads,
        "num_query": CONFIG.resampler.num_queries,
        "rms_norm_eps": decoder.rms_norm_eps,
        "rope_theta": decoder.rope_theta,
        "sliding_window": decoder.sliding_window,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "tune_CLIP": True,
        "use_cache": False,
        "use_mm_proj": True,
        "vision_config": {
            "embed_dim": vision.hidden_size,
            "depth": vision.num_hidden_layers,
            "num_heads": vision.num_attention_heads,
            "mlp_hidden": vision.intermediate_size,
            "patch_size": vision.patch_size,
            "position_grid": vision.position_grid,
        },
        "vocab_size": decoder.vocab_size,
    }


def trained(state: Path) -> OmniLMM:
    """The model of a training state, its weights rounded to bf16."""
    model = new_model()
    model.load_state_dict(torch.load(state, weights_only=True)["modules"]["model"])
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return model.requires_grad_(False)


def write(model: OmniLMM, folder: Path) -> None:
    """Everything but the tokenizer's files, which training needed before."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(hf_config(), indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.bfloat16().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path, help="training state of the second stage")
    parser.add_argument("folder", type=Path, help="folder that holds the tokenizer's files")
    args = parser.parse_args()
    write(trained(args.state), args.folder)


if __name__ == "__main__":
    main()
