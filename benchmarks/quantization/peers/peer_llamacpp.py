"""Quantizes a Llama GGUF with llama.cpp, for comparison, and gives back what the weights have become.

It runs in an environment of its own and imports nothing of this project (llama-cpp-python compiles llama.cpp: half an
hour on one core):

    python3.11 -m venv peers-llama && peers-llama/bin/pip install llama-cpp-python==0.3.36 gguf safetensors
    peers-llama/bin/python benchmarks/quantization/peers/peer_llamacpp.py --gguf MODEL.gguf --type Q4_K_M --out OUT

MODEL is dequantized to float32 first, whatever it holds. Embeddings and head stay in float32: only linear layers are
compared. OUT/model.safetensors holds these, dequantized, under Hugging Face's names. The one line on standard output
is JSON: version, seconds, the types that llama.cpp chose and the bits per weight that they come to.

Rows of SmolLM2's 576 columns are no multiples of 256, so llama.cpp replaces its K types there by larger ones. And all
its types have grids for 32 columns, like those that the package's weights were rounded to: it partly finds them again.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any

NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, required=True, help="the model, of Llama's architecture")
    parser.add_argument("--type", default="Q4_K_M", help="llama.cpp's name: Q4_0, Q4_K_M, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    original, quantized = args.out / "float32.gguf", args.out / f"{args.type}.gguf"
    write_float32(args.gguf, original)
    start = time.monotonic()
    quantize(original, quantized, args.type)
    seconds = time.monotonic() - start
    result = {"tool": f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}", "type": args.type}
    print(json.dumps(result | {"seconds": round(seconds, 1)} | dequantize(original, quantized, args.out)))
    original.unlink()


def write_float32(source: Path, target: Path) -> None:
    """The same GGUF with all tensors in float32."""
    import gguf

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        subtype = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=subtype)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source: Path, target: Path, type_name: str) -> None:
    import gguf
    import llama_cpp

    silent = llama_cpp.llama_log_callback(lambda *_: None)  # else it writes several lines a tensor
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{type_name}")
    params.token_embedding_type = params.output_tensor_type = int(gguf.GGMLQuantizationType.F32)
    params.nthread = 1
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    if code:
        raise RuntimeError(f"llama_model_quantize returned {code}")


def dequantize(original: Path, quantized: Path, out: Path) -> dict[str, Any]:
    """Writes OUT/model.safetensors; what the JSON line says of it. The error is squared, relative to the weights."""
    import gguf
    import numpy as np
    from safetensors.numpy import save_file

    reader = gguf.GGUFReader(quantized)
    before = {tensor.name: tensor for tensor in gguf.GGUFReader(original).tensors}
    heads = {
        "attn_q": int(reader.fields["llama.attention.head_count"].contents()),
        "attn_k": int(reader.fields["llama.attention.head_count_kv"].contents()),
    }
    tensors, types, size, elements, error, whole = {}, collections.Counter[str](), 0, 0, 0.0, 0.0
    for tensor in reader.tensors:
        block, _, part = tensor.name.removesuffix(".weight").rpartition(".")
        if part not in NAMES:
            continue
        types[f"{tensor.tensor_type.name} {int(tensor.shape[0])} columns"] += 1
        size, elements = size + int(tensor.n_bytes), elements + int(tensor.n_elements)
        weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        wanted = before[tensor.name].data.reshape(weight.shape)
        error, whole = error + float(np.square(weight - wanted).sum()), whole + float(np.square(wanted).sum())
        if part in heads:  # llama.cpp rotates neighbouring pairs, Hugging Face the two halves of a head
            pairs = weight.reshape(heads[part], -1, 2, weight.shape[1])
            weight = np.ascontiguousarray(pairs.transpose(0, 2, 1, 3)).reshape(weight.shape)
        tensors[f"model.layers.{block.removeprefix('blk.')}.{NAMES[part]}.weight"] = weight
    save_file(tensors, out / "model.safetensors")
    return {"bits_per_weight": round(8 * size / elements, 3), "error": error / whole, "types": dict(types)}


if __name__ == "__main__":
    main()
