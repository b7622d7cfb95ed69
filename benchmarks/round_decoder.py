"""A GPTQ folder whose weights are merely rounded: `python -m benchmarks.round_decoder CHECKPOINT OUT`.

Minutes instead of the hours that GPTQ takes at full size, and as fast to run: for measuring speed and memory, with
`omnilmm-lite convert --gptq OUT`. Each layer is a file beside OUT until the end; a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_tensors
from omnilmm_lite.console import ConsoleProgress
from quantize.decoder.report import report_json
from quantize.folder.tensors import LINEARS, linear_tensors
from quantize.folder.write import write_gptq_folder
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.grid import GridMethod
from quantize.gptq.settings import GPTQSettings

SETTINGS = replace(GPTQSettings(), desc_act=False, grid=GridMethod.MIN_MAX, error_correction=False)
NORMS = ("input_layernorm", "post_attention_layernorm")
PLAIN = ("model.embed_tokens", "model.norm", "lm_head")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, help="folder to make")
    args = parser.parse_args()
    checkpoint = Checkpoint.open(args.checkpoint)
    config = checkpoint.config.decoder
    parts = args.out.with_name(f"{args.out.name}.layers")
    parts.mkdir(parents=True, exist_ok=True)
    files = [parts / f"layer-{index:03}.safetensors" for index in range(config.num_hidden_layers)]
    with ConsoleProgress() as progress:
        progress.stage("rounding", len(files) + 1)
        for index, file in enumerate(files):
            if not file.is_file():
                round_layer(checkpoint, f"model.layers.{index}", file)
            progress.step(file.name)
        plain = parts / "plain.safetensors"
        halves = {f"{name}.weight": checkpoint.tensor(f"{name}.weight").half().numpy() for name in PLAIN}
        write_tensors(plain, halves)
        report = report_json([], SETTINGS.to_dict())
        write_gptq_folder(args.out, [plain, *files], config, checkpoint.config.tokens, SETTINGS, report)
        progress.step(str(args.out))


def round_layer(checkpoint: Checkpoint, name: str, file: Path) -> None:
    tensors = {f"{name}.{norm}.weight": checkpoint.array(f"{name}.{norm}.weight").astype(np.float16) for norm in NORMS}
    for part in LINEARS:
        weight = checkpoint.array(f"{name}.{part}.weight")
        rounded = round_to_nearest(weight, bits=SETTINGS.bits, group_size=SETTINGS.group_size, sym=SETTINGS.sym)
        tensors |= linear_tensors(f"{name}.{part}", rounded)
    write_tensors(file, tensors)


if __name__ == "__main__":
    main()
