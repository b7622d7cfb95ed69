"""Makes GPTQ folders for others to read, and compares their logits with ours.

    python -m benchmarks.interop.ours make WORK
    peers-gptqmodel/bin/python benchmarks/interop/theirs.py --ids WORK/ids.npy WORK/*/gptq [gptqmodel's FOLDER ...]
    python -m benchmarks.interop.ours compare WORK [the same FOLDERs ...]

The model is SmolLM2-135M-Instruct, rounded to the nearest: this is about formats, not about quality. `compare` reads
the folders with the code that `convert --gptq` reads with, and runs their dequantized weights in the reference model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quantization.smollm2 import CONFIG, SmolLM2
from benchmarks.quantization.wikipedia import token_windows
from export.checkpoint.safetensors_file import write_tensors
from export.reference.model import DecoderLayer, RMSNorm, causal_mask, rope_tables
from export.weights.weight import QuantizedWeight
from omnilmm_lite.keys import decoder_keys
from omnilmm_lite.quality.statistics import kl_divergence
from quantize.folder.packing import Layout
from quantize.folder.read import read_gptq_folder
from quantize.folder.tensors import LINEARS, linear_tensors
from quantize.folder.write import write_gptq_folder
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.settings import GPTQSettings

SEQUENCES, TOKENS = 2, 128
GROUP_SIZE = 64
# A layer or two of each kind otherwise than the rest.
MIXED = {
    **{f"model.layers.3.self_attn.{part}_proj": Layout(8, 32) for part in "qkv"},
    **{f"model.layers.4.mlp.{part}_proj": Layout(4, 32) for part in ("gate", "up")},
    **{f"model.layers.{index}.mlp.down_proj": Layout(8, 128) for index in (5, 15)},
}
FOLDERS: Mapping[str, tuple[bool, Mapping[str, Layout]]] = {
    "symmetric": (True, {}),
    "asymmetric": (False, {}),
    "mixed": (False, MIXED),
}
ENGINES = {
    "dequantized": "the weights that gptqmodel {gptqmodel} dequantizes, float32",
    "transformers": "transformers {transformers} with gptqmodel's torch kernel, fp16",
    "gptqmodel": "gptqmodel {gptqmodel}'s own loader and torch kernel, fp16",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("make", "compare"))
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("others", type=Path, nargs="*", metavar="FOLDER", help="GPTQ folders of SmolLM2 by others")
    args = parser.parse_args()
    if args.step == "make":
        make(args.work)
        return
    print("| folder | read by | largest difference | same likeliest token | mean KLD |\n|---|---|---|---|---|")
    for folder in (*(args.work / name / "gptq" for name in FOLDERS), *args.others):
        for line in compare(folder, np.load(args.work / "ids.npy")):
            print(line)


def make(work: Path) -> None:
    """Writes the folders, and the ids that everybody runs."""
    model = SmolLM2.open(work / "smollm2")
    _, evaluation = token_windows(model.tokenizer(), SEQUENCES, TOKENS)
    np.save(work / "ids.npy", evaluation)
    for name, (sym, layouts) in FOLDERS.items():
        tensors: dict[str, NDArray[Any]] = {}
        for key in decoder_keys(CONFIG.decoder):
            layer = key.removesuffix(".weight")
            if layer.endswith(LINEARS):
                layout = layouts.get(layer, Layout(4, GROUP_SIZE))
                weight = round_to_nearest(model.tensor(key), bits=layout.bits, group_size=layout.group_size, sym=sym)
                tensors |= linear_tensors(layer, weight)
            else:
                tensors[key] = model.tensor(key).half().numpy()
        shard = work / name / "shard.safetensors"
        shard.parent.mkdir(exist_ok=True)
        write_tensors(shard, tensors)
        settings = GPTQSettings(group_size=GROUP_SIZE, sym=sym)
        tokenizer = [model.folder / file for file in ("tokenizer.json", "tokenizer_config.json")]
        write_gptq_folder(work / name / "gptq", [shard], CONFIG.decoder, CONFIG.tokens, settings, {}, tokenizer)


def compare(folder: Path, ids: NDArray[np.int64]) -> list[str]:
    """A line of the table for each engine; differences are relative to our largest logit."""
    ours = logits(folder, ids)
    facts = json.loads((folder / "interop.json").read_text())
    lines = []
    for engine, description in ENGINES.items():
        label = f"| {folder.parent.name if folder.name == 'gptq' else folder.name} | {description.format(**facts)} |"
        if engine == "transformers" and "refused" in facts:
            lines.append(f"{label} refused | | |")
            continue
        theirs = torch.from_numpy(np.load(folder / f"logits-{engine}.npy"))
        difference = float((theirs - ours).abs().max() / ours.abs().max())
        agreement = float((theirs.argmax(-1) == ours.argmax(-1)).double().mean())
        kld = float(kl_divergence(ours.float().numpy(), theirs.float().numpy()).mean())
        lines.append(f"{label} {difference:.1e} | {agreement:.1%} | {kld:.1e} |")
    return lines


@torch.inference_mode()
def logits(folder: Path, ids: NDArray[np.int64]) -> torch.Tensor:
    """The reference decoder with the folder's dequantized weights: (sequences, tokens, vocab)."""
    config, weights = CONFIG.decoder, read_gptq_folder(folder, CONFIG.decoder)

    def dense(name: str) -> torch.Tensor:
        stem = name.removesuffix(".weight")
        if not stem.endswith((*LINEARS, "lm_head")):
            return torch.from_numpy(weights.array(name))
        weight = weights.linear(stem)
        return torch.from_numpy(weight.dequantize() if isinstance(weight, QuantizedWeight) else weight)

    x = torch.nn.functional.embedding(torch.from_numpy(ids), dense("model.embed_tokens.weight"))
    tokens = ids.shape[1]
    cos, sin = rope_tables(config, torch.arange(tokens))
    mask = causal_mask(tokens, config.sliding_window)
    for index in range(config.num_hidden_layers):
        layer = DecoderLayer(config)
        layer.load_state_dict({name: dense(f"model.layers.{index}.{name}") for name in layer.state_dict()})
        x = layer(x, cos, sin, mask)
    norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
    norm.load_state_dict({"weight": dense("model.norm.weight")})
    result: torch.Tensor = norm(x) @ dense("lm_head.weight").T
    return result


if __name__ == "__main__":
    main()
