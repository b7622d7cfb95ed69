"""Makes the GPTQ folders in tests/golden/gptqmodel, with gptqmodel, and the logits that it computes from them.

It runs in the environment of theirs.py: peers-gptqmodel/bin/python -m benchmarks.interop.samples OUT
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

SAMPLES: dict[str, dict[str, Any]] = {
    "aware": {},  # act_group_aware is its default
    "second-format": {"format": "gptq_v2", "desc_act": True, "static_groups": True},
    "scattered": {
        "dynamic": {
            r"+:.*\.down_proj": {"desc_act": True, "act_group_aware": False},
            r"+:.*\.(gate|up)_proj": {"bits": 8, "group_size": 16},
        }
    },
}
PARTS = ("model.safetensors", "config.json")


def main() -> None:
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    import gptqmodel
    import numpy as np
    import torch
    import transformers

    from benchmarks.interop.theirs import dequantize, load_with_gptqmodel, logits

    out = Path(sys.argv[1])
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
    )
    model = transformers.MistralForCausalLM(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:  # columns of very different size: act-order then has something to do
            parameter.data = torch.randn_like(parameter) * torch.rand(parameter.shape[1]) / parameter.shape[1] ** 0.5
        if name.endswith("gate_proj.weight"):
            parameter.data[0] = parameter.data[0].abs()  # asymmetric grids get a zero point of 0 here
        parameter.data = parameter.data.half().float()  # what isn't quantized is loaded in fp16
    ids = (64 * torch.rand(32, 64) ** 2).long()
    with tempfile.TemporaryDirectory() as work:
        model.save_pretrained(work)
        write_tokenizer(Path(work))
        for name, options in SAMPLES.items():
            settings = gptqmodel.QuantizeConfig(bits=4, group_size=32, sym=False, offload_to_disk=False, **options)
            quantized = gptqmodel.GPTQModel.load(work, settings, device="cpu", dtype=torch.float32)
            quantized.quantize([{"input_ids": row, "attention_mask": torch.ones_like(row)} for row in ids])
            quantized.save(str(Path(work) / name))
            theirs = load_with_gptqmodel(Path(work) / name)
            dequantize(theirs)
            (out / name).mkdir(parents=True, exist_ok=True)
            np.savez(out / name / "expected.npz", ids=ids[:1], logits=logits(theirs.float(), ids[:1].numpy()))
            for part in PARTS:
                (out / name / part).write_bytes((Path(work) / name / part).read_bytes())


def write_tokenizer(folder: Path) -> None:
    """gptqmodel opens no model without one."""
    import tokenizers
    import transformers

    vocab = {f"t{index}": index for index in range(64)}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="t0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="t2", pad_token="t2").save_pretrained(folder)


if __name__ == "__main__":
    main()
