"""Writes a Mistral-7B of random weights for llama.cpp: `python -m benchmarks.peers.make_gguf --out FILE.gguf`.

The types are those that llama.cpp's own Q4_0 files have: Q4_0, with Q6_K for the last layer and F32 for norms. Every
weight is different. Tokens have texts, made up, as llama-server wants one for each that comes out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.random_weights import STANDARD_DEVIATION, STEP_4BIT, packed_bytes, scales
from omnilmm_lite.config import DecoderConfig

Bytes = NDArray[np.uint8]

UNKNOWN, BOS, EOS = 0, 1, 2
BYTES = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .gguf file to make")
    parser.add_argument("--layers", type=int, default=32, help="fewer for a quick test (32)")
    args = parser.parse_args()
    write_gguf(args.out, DecoderConfig(num_hidden_layers=args.layers))


def write_gguf(out: Path, config: DecoderConfig) -> None:
    """Tensors are described first and made one at a time as they are written."""
    import gguf

    writer = gguf.GGUFWriter(out, "llama")
    _add_config(writer, config)
    kinds = gguf.GGMLQuantizationType
    for name, shape in tensors(config):
        kind = {"output.weight": kinds.Q6_K}.get(name, kinds.F32 if len(shape) == 1 else kinds.Q4_0)
        size = 4 * shape[0] if kind is kinds.F32 else int(np.prod(gguf.quant_shape_to_byte_shape(shape, kind)))
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(0)
    for name, shape in tensors(config):
        if len(shape) == 1:
            writer.write_tensor_data(np.ones(shape, np.float32))
        else:
            make = q6_k if name == "output.weight" else q4_0
            writer.write_tensor_data(make(random, *shape))
    writer.close()


def tensors(config: DecoderConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes (out, in)."""
    hidden, intermediate = config.hidden_size, config.intermediate_size
    yield "token_embd.weight", (config.vocab_size, hidden)
    for layer in range(config.num_hidden_layers):
        shapes: dict[str, tuple[int, ...]] = {
            "attn_norm": (hidden,),
            "attn_q": (config.q_dim, hidden),
            "attn_k": (config.kv_dim, hidden),
            "attn_v": (config.kv_dim, hidden),
            "attn_output": (hidden, config.q_dim),
            "ffn_norm": (hidden,),
            "ffn_gate": (intermediate, hidden),
            "ffn_up": (intermediate, hidden),
            "ffn_down": (hidden, intermediate),
        }
        for name, shape in shapes.items():
            yield f"blk.{layer}.{name}.weight", shape
    yield "output_norm.weight", (hidden,)
    yield "output.weight", (config.vocab_size, hidden)


def q4_0(random: np.random.Generator, rows: int, columns: int) -> Bytes:
    """Blocks of 32: an fp16 step, then 16 bytes of values. (rows, bytes)."""
    blocks = columns // 32
    values = packed_bytes(random, rows, blocks, 16)
    steps = scales(random, STEP_4BIT, rows, blocks, 1).view(np.uint8)
    packed: Bytes = np.concatenate([steps, values], axis=-1).reshape(rows, -1)
    return packed


def q6_k(random: np.random.Generator, rows: int, columns: int) -> Bytes:
    """Blocks of 256: 128 bytes of low bits, 64 of high ones, 16 int8 scales, an fp16 step. (rows, bytes)."""
    blocks = columns // 256
    values = packed_bytes(random, rows, blocks, 128 + 64)
    inner = random.integers(16, 64, (rows, blocks, 16), dtype=np.uint8)
    steps = scales(random, STANDARD_DEVIATION / 18.5 / 40, rows, blocks, 1).view(np.uint8)
    packed: Bytes = np.concatenate([values, inner, steps], axis=-1).reshape(rows, -1)
    return packed


def _add_config(writer: object, config: DecoderConfig) -> None:
    import gguf

    assert isinstance(writer, gguf.GGUFWriter)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    kinds = gguf.TokenType
    types = {kinds.UNKNOWN: [UNKNOWN], kinds.CONTROL: [BOS, EOS], kinds.BYTE: range(EOS + 1, EOS + 1 + BYTES)}
    by_id = {number: kind for kind, numbers in types.items() for number in numbers}
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary(config.vocab_size))
    writer.add_token_scores([0.0] * config.vocab_size)
    writer.add_token_types([by_id.get(number, kinds.NORMAL) for number in range(config.vocab_size)])
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)


def vocabulary(size: int) -> list[str]:
    """Texts of tokens in the order that Llama's tokenizer has: three special ones, all bytes, words."""
    bytes_ = [f"<0x{number:02X}>" for number in range(BYTES)]
    words = [f"\u2581w{number}" for number in range(size - EOS - 1 - BYTES)]
    return ["<unk>", "<s>", "</s>", *bytes_, *words]


if __name__ == "__main__":
    main()
