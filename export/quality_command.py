"""`omnilmm-lite quality`: holds a bundle against the checkpoint it was made from, or against another bundle.

Heavy imports happen inside: the parser is built for every command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from export.open_checkpoint import open_checkpoint
from export.torch_setup import check_convert_installed, limit_torch_threads
from omnilmm_lite.commands.options.machine import add_weights, chosen_weights
from omnilmm_lite.errors import InputError
from omnilmm_lite.quality.options import add_quality_options

if TYPE_CHECKING:
    from export.torch_device import TorchDevice
    from omnilmm_lite.model import Model
    from omnilmm_lite.quality.compared_model import ComparedModel
    from omnilmm_lite.quality.measure import Measurement
    from omnilmm_lite.weights import Weights


def add_quality(parser: argparse.ArgumentParser) -> None:
    add_quality_options(parser)
    add_weights(parser)
    parser.set_defaults(command=quality, model_words=("bundle", "against"))


def quality(args: argparse.Namespace) -> None:
    """Compares a bundle with the model it was made from. What can be checked is checked before anything is loaded."""
    if args.samples < 1:
        raise InputError(f"--samples: {args.samples} is out of range; give 1 or more")
    from omnilmm_lite.console import ConsoleProgress
    from omnilmm_lite.quality.data import read_data
    from omnilmm_lite.quality.measure import measure
    from omnilmm_lite.quality.page_file import check_page

    if args.html is not None:
        check_page(args.html)
    open_original = _find_original(args)
    data = read_data(args.data, args.samples)
    model = _load_compared(args.bundle, args, "device", chosen_weights(args))
    original = open_original()
    with ConsoleProgress() as progress:
        measured = measure(model, original, data, args.data, args.samples, progress)
    _show_measurement(measured, args)


def _show_measurement(measured: Measurement, args: argparse.Namespace) -> None:
    """Prints, then writes the page: neither is lost because the other can't be. It may have taken hours."""
    from omnilmm_lite.quality.page import build_page
    from omnilmm_lite.quality.page_file import write_page
    from omnilmm_lite.quality.report import print_report

    try:
        if args.json:
            print(measured.report.to_json(), flush=True)
        else:
            print_report(measured.report)
    finally:
        if args.html is not None:
            write_page(args.html, build_page(measured))


def _find_original(args: argparse.Namespace) -> Callable[[], ComparedModel]:
    """What a bundle is held against, another bundle or a checkpoint: checked now, a bundle is loaded when called."""
    from omnilmm_lite.bundle.folder import BUILTIN_NAME, Bundle
    from omnilmm_lite.bundle.manifest import MANIFEST
    from omnilmm_lite.quality.compared_model import ComparedBundle

    folder = Path(args.against)
    if (folder / MANIFEST).is_file() or (args.against == BUILTIN_NAME and not folder.exists()):
        Bundle.find(args.against)
        return lambda: ComparedBundle(_load_compared(args.against, args, "the original's device"))
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: neither a bundle ({MANIFEST}) nor a checkpoint (config.json) is there; name one")
    check_convert_installed("a checkpoint")
    limit_torch_threads()
    from export.checkpoint.checkpoint import Checkpoint
    from export.parity.checkpoint_model import CheckpointModel

    subject = CheckpointModel(Checkpoint.open(folder), _reference_device(args.device))
    return lambda: subject


def _reference_device(name: str) -> TorchDevice:
    """Where a checkpoint runs: where decoders do, or, with a word about it, on the CPU where torch sees no card."""
    import torch

    from export.torch_device import TorchDevice

    try:
        device = TorchDevice.find(name.rpartition(",")[2])
    except InputError as error:
        if torch.cuda.is_available() or not name.startswith("cuda"):
            raise
        print(f"the original's device: cpu ({error})", file=sys.stderr)
        return TorchDevice()
    device.prepare()
    return device


def _load_compared(bundle: str, args: argparse.Namespace, device: str, weights: Weights | None = None) -> Model:
    """A bundle, or a checkpoint by torch, on the device that was asked for, or with a word about the one it is on."""
    from omnilmm_lite.model_source import MachineOptions, find_source

    machine = MachineOptions(device=args.device, context=None, threads=args.threads, drafts=False, cuda_graph=False)
    model = find_source(bundle, weights, open_checkpoint).load(machine)
    if model.device.is_fallback:
        print(f"{device}: {model.device.placement} ({model.device.reason})", file=sys.stderr)
    return model
