"""The logits that transformers and gptqmodel compute from GPTQ folders: `python theirs.py --help`.

It runs in an environment of its own and imports nothing of this project:

    python3.11 -m venv peers && peers/bin/pip install torch==2.14.1 gptqmodel==7.7.0 optimum==2.3.0
    peers-gptqmodel/bin/python benchmarks/interop/theirs.py --ids WORK/ids.npy FOLDER ...

Beside the weights of each FOLDER it writes logits of the whole sequences, float32 (sequences, tokens, vocab):
logits-gptqmodel.npy by gptqmodel's own loader and its torch kernel in fp16; logits-dequantized.npy by the same model
in float32, with the weights that the kernel dequantizes: this shows every wrong bit; logits-transformers.npy by
transformers' AutoModelForCausalLM with the same kernel. interop.json says what ran, and what transformers refused.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

PACKAGES = ("gptqmodel", "transformers", "optimum", "torch")
KERNEL = "gptq_torch"  # the one that shows its dequantized weights; the faster ones compile for minutes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--ids", type=Path, required=True, help="token ids, int64 .npy (sequences, tokens)")
    args = parser.parse_args()
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # its default is more threads than two cores bear
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # compiling its kernel takes longer than running it

    import numpy as np

    ids = np.load(args.ids)
    for folder in args.folders:
        facts = {name: importlib.metadata.version(name) for name in PACKAGES}
        model = load_with_gptqmodel(folder)
        np.save(folder / "logits-gptqmodel.npy", logits(model, ids))
        dequantize(model)
        np.save(folder / "logits-dequantized.npy", logits(model.float(), ids))
        del model
        try:
            np.save(folder / "logits-transformers.npy", logits(load_with_transformers(folder), ids))
        except RuntimeError as error:  # it knows no layers that differ from the rest
            facts["refused"] = str(error).splitlines()[0]
        (folder / "interop.json").write_text(json.dumps(facts))
        print(f"{folder}: {facts}", flush=True)


def load_with_transformers(folder: Path) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    config.quantization_config["backend"] = KERNEL
    return AutoModelForCausalLM.from_pretrained(folder, config=config, device_map="cpu", dtype=torch.float16)


def load_with_gptqmodel(folder: Path) -> Any:
    import torch
    from gptqmodel import BACKEND, GPTQModel

    return GPTQModel.load(str(folder), device="cpu", backend=BACKEND(KERNEL), dtype=torch.float16).model


def dequantize(model: Any) -> None:
    """Puts plain linear layers in the place of the quantized ones."""
    import torch

    for name, module in list(model.named_modules()):
        if hasattr(module, "dequantize_weight"):
            module.scales = module.scales.float()  # its arithmetic then has no rounding
            weight = module.dequantize_weight().T.float().contiguous()  # (out, in)
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight = torch.nn.Parameter(weight, requires_grad=False)
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, linear)


def logits(model: Any, ids: Any) -> Any:
    import torch

    with torch.inference_mode():
        rows = [model(input_ids=torch.from_numpy(row)[None]).logits.float() for row in ids]
    return torch.cat(rows).numpy()


if __name__ == "__main__":
    main()
