"""`omnilmm-lite convert`: its options, what they may be together, and what is printed at the end.

Heavy imports happen inside: the parser is built for every command.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.torch_setup import check_convert_installed, limit_torch_threads
from omnilmm_lite.errors import InputError
from quantize.options import (
    add_quantization_options,
    check_packing_options,
    given_options,
    parse_options,
    parse_size,
)

if TYPE_CHECKING:
    from omnilmm_lite.bundle.presets import Preset
    from quantize.request import ConversionRequest


def add_convert(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Reads a Hugging Face folder of OmniLMM-12B or RLAIF-V-12B, quantizes the decoder where the preset says so, "
        "and writes a bundle. May be stopped and started again: finished decoder layers are kept in the work folder."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder with config.json and the weights")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    targets = "target: reference, cpu (default), cpu-small, 24gb, 16gb, 12gb, 8gb"
    parser.add_argument("--preset", default="cpu", help=targets)
    add_quantization_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object about the finished bundle")
    parser.set_defaults(command=convert)


def convert(args: argparse.Namespace) -> None:
    """Checkpoint -> (GPTQ checkpoint ->) bundle."""
    check_convert_installed("conversion")
    limit_torch_threads()
    from omnilmm_lite.commands.bundle_report import print_conversion
    from omnilmm_lite.console import ConsoleProgress
    from quantize.conversion import convert_checkpoint

    request = parse_request(args)
    request.device.prepare()
    with request.device.full_memory_said("the conversion"):  # where nothing nearer says more
        manifest = convert_checkpoint(request, ConsoleProgress())
    if args.json:
        print(json.dumps({"bundle": str(request.out), "preset": manifest.preset, "parity": manifest.parity}))
    else:
        print_conversion(manifest, request.out)


def parse_request(args: argparse.Namespace) -> ConversionRequest:
    """InputError, naming the option, for one that is out of range or that can't be given beside another."""
    from export.torch_device import TorchDevice
    from omnilmm_lite.bundle.packing import Packing
    from omnilmm_lite.bundle.presets import find_preset
    from quantize.request import ConversionRequest

    preset = find_preset(args.preset)
    if not preset.quantized:
        _check_nothing_given(args, preset)
    if args.lm_head_bits is not None:
        preset = replace(preset, lm_head_bits=args.lm_head_bits)
    packing = Packing(args.packing)
    preset = preset.packed(packing)
    check_packing_options(args, packing)
    if args.gptq is not None:
        _check_gptq_alone(args)
    out = args.out.resolve()  # `.` and `..` have no name of their own
    return ConversionRequest(
        checkpoint=args.checkpoint,
        out=out,
        work_dir=_work_dir(args.work_dir, out),
        preset=preset,
        options=parse_options(args, preset) if preset.quantized and args.gptq is None else None,
        gptq=args.gptq,
        calibration=args.calibration,
        device=TorchDevice.find(args.device, None if args.vram is None else parse_size(args.vram, "--vram")),
    )


def _check_gptq_alone(args: argparse.Namespace) -> None:
    others = {"--calibration"}  # its pictures: the tower's, and what fp16 has to hold is measured on them
    if given := [option for option in given_options(args) if option not in others]:
        raise InputError(f"--gptq: {args.gptq} is quantized already; leave out {', '.join(given)}")


def _check_nothing_given(args: argparse.Namespace, preset: Preset) -> None:
    """InputError for whatever a preset that quantizes nothing can't honour."""
    others = {"--gptq": args.gptq, "--lm-head-bits": args.lm_head_bits}
    given = [option for option, value in others.items() if value is not None] + given_options(args)
    if given:
        raise InputError(f"{given[0]}: the preset {preset.name} quantizes nothing; leave it out, or take cpu")


def _work_dir(given: Path | None, out: Path) -> Path:
    work_dir = given or out.with_name(f"{out.name}.work")
    if work_dir.resolve().is_relative_to(out):
        raise InputError(f"{work_dir}: the work folder can't lie in the bundle; name one outside {out}")
    return work_dir
