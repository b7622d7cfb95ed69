"""Quantizes a Hugging Face folder with gptqmodel, for comparison: `python peer_gptqmodel.py --help`.

It runs in an environment of its own and imports nothing of this project (gptqmodel needs torch >= 2.14.1, whose
PyPI build takes 6 GB with CUDA's libraries; a C++ compiler must be there):

    python3.11 -m venv peers-gptqmodel && peers-gptqmodel/bin/pip install torch==2.14.1 gptqmodel==7.7.0
    peers-gptqmodel/bin/python benchmarks/quantization/peers/peer_gptqmodel.py --model M --calibration IDS.npy --out OUT

Everything is computed in float32 on the CPU. The one line on standard output is JSON: version, arguments, seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    args = build_parser().parse_args()
    # Its default is more threads than two cores bear: the process then dies.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    with contextlib.redirect_stdout(sys.stderr):  # it logs there
        result = quantize(args)
    print(json.dumps(result))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--calibration", type=Path, required=True, help="token ids, int64 .npy (sequences, tokens)")
    parser.add_argument("--out", type=Path, required=True, help="GPTQ folder to make")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--group-size", type=int, default=64)
    parser.add_argument("--sym", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--desc-act", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--static-groups", action=argparse.BooleanOptionalAction, default=False)
    group_aware = "gptqmodel's own default is yes, and that --desc-act turns it off"
    parser.add_argument("--act-group-aware", action=argparse.BooleanOptionalAction, help=group_aware)
    parser.add_argument("--mse", type=float, default=0.0, help="exponent of its search for grids; 0: min-max")
    parser.add_argument("--damp", type=float, help="gptqmodel's own default is 0.05")
    parser.add_argument("--gptaq", type=float, metavar="ALPHA", help="GPTAQ (GPTQv2); its default alpha is 0.25")
    parser.add_argument("--foem", type=float, nargs=2, metavar=("ALPHA", "BETA"), help="FOEM; its defaults are 0 0.2")
    parser.add_argument("--format", default="gptq", choices=("gptq", "gptq_v2"), help="of zero points on disk")
    return parser


def quantize(args: argparse.Namespace) -> dict[str, Any]:
    """Writes the folder at `args.out`; what the JSON line says."""
    import gptqmodel
    import numpy as np
    import torch
    from gptqmodel.quantization.config import FOEMConfig, GPTAQConfig

    config = gptqmodel.QuantizeConfig(
        bits=args.bits,
        group_size=args.group_size,
        sym=args.sym,
        desc_act=args.desc_act,
        static_groups=args.static_groups,
        act_group_aware=args.act_group_aware,
        mse=args.mse,
        damp_percent=args.damp,
        gptaq=None if args.gptaq is None else GPTAQConfig(alpha=args.gptaq),
        foem=None if args.foem is None else FOEMConfig(alpha=args.foem[0], beta=args.foem[1]),
        format=args.format,
        offload_to_disk=False,
    )
    sequences = [
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        for ids in torch.from_numpy(np.load(args.calibration))
    ]
    model = gptqmodel.GPTQModel.load(str(args.model), config, device="cpu", dtype=torch.float32)
    start = time.monotonic()
    model.quantize(sequences, batch_size=1)
    seconds = time.monotonic() - start
    model.save(str(args.out))
    return {
        "tool": f"gptqmodel {gptqmodel.__version__}",
        "torch": torch.__version__,
        "arguments": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
