"""What the command line offers about quantization. Imports nothing heavy: `--help` reads it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite.bundle.packing import FLOAT_BITS, Packing
from omnilmm_lite.errors import InputError
from quantize.gptq.group_sizes import GROUP_SIZES

if TYPE_CHECKING:
    from omnilmm_lite.bundle.presets import Preset
    from quantize.decoder.options import DecoderOptions

UNITS = {"": 1, "B": 1, "MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}

SETTINGS = ("group_size", "sym", "desc_act", "damp", "image_weight")  # of GPTQSettings
# All that says how the decoder is quantized; None where it is left open.
QUANTIZING = ("calibration", "samples", "answer_tokens", "target_size", *SETTINGS)


def add_quantization_options(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("calibration")
    source = "a folder of pictures, a JSONL of {image, question, answer}, or a text (default: some built-in chats)"
    data.add_argument("--calibration", type=Path, metavar="PATH", help=source)
    data.add_argument("--samples", type=int, metavar="N", help="sequences at most (128)")
    answers = "length of the answers that the model writes first where the data has none (48; 0: none are written)"
    data.add_argument("--answer-tokens", type=int, metavar="N", help=answers)
    weight = "how much a token of a picture counts against one of text (1)"
    data.add_argument("--image-weight", type=float, metavar="X", help=weight)

    gptq = parser.add_argument_group("quantization")
    target = "size of the decoder, such as 4.2GB: more bits for the layers that need them most, as far as it reaches"
    gptq.add_argument("--target-size", metavar="SIZE", help=target)
    size = "weights that share a scale (128)"
    gptq.add_argument("--group-size", type=int, choices=GROUP_SIZES, metavar="G", help=size)
    sym = "grids without zero points: smaller, less exact"
    gptq.add_argument("--sym", action="store_true", default=None, help=sym)
    order = "quantize the most active columns first, in groups fixed beforehand (default: yes)"
    gptq.add_argument("--desc-act", action=argparse.BooleanOptionalAction, help=order)
    gptq.add_argument("--damp", type=float, metavar="D", help="share of the Hessian's mean diagonal (0.01)")
    head = "the last layer's bits, rounded: 8 is smaller and faster (default: the preset's, 8 but for 24gb)"
    gptq.add_argument("--lm-head-bits", type=int, choices=(8, 16), help=head)
    packings = "fpa-intb: for a card's fast kernels, groups of 32, no zero points; see docs/gpu-kernels.md (blockwise)"
    choices = [packing.value for packing in Packing]
    gptq.add_argument("--packing", choices=choices, default=Packing.BLOCKWISE.value, help=packings)
    device = "where torch computes: what is quantized, and the reference it is held against (default: auto)"
    gptq.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N", help=device)
    gptq.add_argument("--vram", metavar="SIZE", help="how much of a card's memory that may take, such as 8GB (all)")
    taken = "take the decoder from a GPTQ folder that gptqmodel, AutoGPTQ or `convert` made, instead of quantizing it"
    gptq.add_argument("--gptq", type=Path, metavar="FOLDER", help=taken)
    gptq.add_argument("--work-dir", type=Path, metavar="W", help="where finished layers are kept (default: OUT.work)")


def given_options(args: argparse.Namespace) -> list[str]:
    """The options of QUANTIZING that the user has set, as they are written."""
    return [f"--{name.replace('_', '-')}" for name in QUANTIZING if getattr(args, name) is not None]


def parse_options(args: argparse.Namespace, preset: Preset) -> DecoderOptions:
    """How the decoder is to be quantized; InputError, naming the option, for what is out of range."""
    from quantize.calibration.token_sequences import CalibrationLimits
    from quantize.decoder.options import DecoderOptions
    from quantize.gptq.settings import GPTQSettings

    _check_range(args, "samples", 1, 1_000_000)
    _check_range(args, "answer_tokens", 0, 400)
    _check_range(args, "image_weight", 0.0, 1000.0)
    _check_range(args, "damp", 0.0, 10.0)

    def given(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(args, name)) is not None}

    settings = given(*SETTINGS)
    if preset.packing is Packing.FPA_INTB:
        settings |= {"group_size": preset.packing.group_size, "sym": True}
    return DecoderOptions(
        source=args.calibration,
        limits=CalibrationLimits(**given("samples")),
        settings=GPTQSettings(**settings),
        preset=preset,
        target_size=None if args.target_size is None else parse_size(args.target_size),
        **given("answer_tokens"),
    )


def check_packing_options(args: argparse.Namespace, packing: Packing) -> None:
    """InputError, naming the option, for one that asks for another format than the packing's."""
    if packing is Packing.BLOCKWISE:
        return
    contrary = {
        f"--group-size {args.group_size}": args.group_size not in (None, packing.group_size),
        f"--lm-head-bits {args.lm_head_bits}": args.lm_head_bits == FLOAT_BITS,
        "--target-size": args.target_size is not None,
    }
    for option, is_contrary in contrary.items():
        if is_contrary:
            raise InputError(
                f"{option}: --packing {packing.value} means 4 bits in groups of {packing.group_size} without zero "
                "points, and the last layer in 8; leave out one of the two"
            )


def parse_size(text: str, option: str = "--target-size") -> int:
    """A size in bytes: "4.2GB" is 4,200,000,000, "4GiB" 4 x 2^30. InputError, naming `option`, for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MG]?i?B?)", text.strip(), re.IGNORECASE)
    unit = match and UNITS.get(match[2].upper())
    if not match or not unit:
        raise InputError(f"{option}: {text!r} is no size; write it like 4.2GB or 4GiB")
    return int(float(match[1]) * unit)


def _check_range(args: argparse.Namespace, name: str, low: float, high: float) -> None:
    value = getattr(args, name)
    if value is not None and not low <= value <= high:
        option = f"--{name.replace('_', '-')}"
        raise InputError(f"{option}: {value} is out of range; give {low} to {high}")
