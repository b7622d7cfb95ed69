"""`omnilmm-lite`: parses the command line and hands over to the packages.

Commands that need more than the runtime stand here, the others in omnilmm_lite/commands.

Heavy imports happen inside the command that needs them, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite import __version__
from omnilmm_lite.commands.bench import add_bench
from omnilmm_lite.commands.caption import add_caption
from omnilmm_lite.commands.doctor import add_doctor
from omnilmm_lite.commands.inspect import add_inspect
from omnilmm_lite.commands.plan import add_plan
from omnilmm_lite.commands.run import add_run
from omnilmm_lite.commands.serve import add_serve
from omnilmm_lite.engine.huge_pages import start_again_with_huge_pages
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.quality.options import add_quality_options
from quantize.options import add_quantization_options, given_options, parse_options

if TYPE_CHECKING:
    from export.checkpoint.checkpoint import Checkpoint
    from omnilmm_lite.bundle.presets import Preset
    from omnilmm_lite.config import OmniLMMConfig
    from omnilmm_lite.console import ConsoleProgress
    from omnilmm_lite.model import Model
    from omnilmm_lite.quality.measure import Measurement
    from omnilmm_lite.quality.subject import Subject
    from quantize.decoder.run import Options
    from quantize.disk import ConversionNeed
    from quantize.folder.gptq_folder import GPTQFolder

FAILURE, USAGE, INTERRUPTED = 1, 2, 130

DESCRIPTION = """\
Talk to pictures with OmniLMM-12B, quantized to 4 bits, on your own machine.

  omnilmm-lite run cat.jpg -p "What is this?"
      one answer, from the built-in demonstration model
  omnilmm-lite run cat.jpg --model BUNDLE
      a conversation with your own model
  omnilmm-lite convert CHECKPOINT BUNDLE
      make that model from a download of openbmb/OmniLMM-12B
  omnilmm-lite inspect BUNDLE --verify
      what is in it, and whether it is whole"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit code is 0, 1 for a failure, 2 for wrong usage or input, 130 after Ctrl-C."""
    _set_up_streams()
    args = build_parser().parse_args(argv)
    if argv is None and vars(args).get("decodes") and args.model is not None:  # tiny gains nothing by it
        start_again_with_huge_pages()
    try:
        args.command(args)
        sys.stdout.flush()
    except InputError as error:
        return _complain(error, USAGE)
    except OmniLMMError as error:
        return _complain(error, FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `omnilmm-lite ... | head` has read enough
        _discard_stdout()
        return FAILURE
    except OSError as error:
        _discard_stdout()  # it may be what is full
        if sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None:
            return FAILURE  # how a reader that has left is said there
        return _complain(f"{error.filename or 'system'}: {error.strerror or error}", FAILURE)
    except MemoryError:
        return _complain("the memory is not enough: close other programs, or give a smaller --context", FAILURE)
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="omnilmm-lite", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"omnilmm-lite {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_run(commands.add_parser("run", help="answer a question about a picture, or chat about it"))
    add_caption(commands.add_parser("caption", help="describe every picture of a folder, a line of JSON each"))
    add_serve(commands.add_parser("serve", help="answer other programs, and a page in the browser"))
    _add_convert(commands.add_parser("convert", help="make a bundle from a Hugging Face checkpoint"))
    add_inspect(commands.add_parser("inspect", help="show what is in a bundle"))
    add_plan(commands.add_parser("plan", help="say what a model will need, before it is downloaded"), checkpoint_config)
    add_doctor(commands.add_parser("doctor", help="say what this machine has, and which device is used and why"))
    add_bench(commands.add_parser("bench", help="measure speed and memory, or check a device against the CPU"))
    measuring = commands.add_parser("quality", help="measure how far a bundle is from the model it was made from")
    add_quality_options(measuring)
    measuring.set_defaults(command=quality)
    return parser


def _set_up_streams() -> None:
    """Text that this terminal has no letters for is no error; on Windows, pipes and files hold UTF-8 as elsewhere."""
    encoding = "utf-8" if sys.platform == "win32" else None  # None: as it is
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="replace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=encoding)


def _discard_stdout() -> None:
    """Lets what is still unwritten go nowhere: at exit, Python would try again and complain."""
    with contextlib.suppress(OSError):  # a stand-in for stdout has no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: object, code: int) -> int:
    print(f"omnilmm-lite: {error}", file=sys.stderr)
    return code


# ---- convert ----


def _add_convert(parser: argparse.ArgumentParser) -> None:
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
    _check_convert_installed("conversion")
    limit_torch_threads()
    from export.checkpoint.checkpoint import Checkpoint
    from export.convert import check_target, write_bundle
    from export.graphs.decoder import CheckpointWeights, DecoderWeights
    from omnilmm_lite.bundle.presets import find_preset
    from omnilmm_lite.bundle.target import Device
    from omnilmm_lite.commands.bundle_report import print_conversion
    from omnilmm_lite.console import ConsoleProgress
    from omnilmm_lite.proof import check_operators
    from quantize.folder.origin import take_folder
    from quantize.head import RoundedHead
    from quantize.memory import check_memory
    from quantize.tower.run import check_tower, quantized_tower

    args.out = args.out.resolve()  # `.` and `..` have no name of their own
    preset = find_preset(args.preset)
    if not preset.quantized:
        _check_nothing_given(args, preset)
    if args.lm_head_bits is not None:
        preset = replace(preset, lm_head_bits=args.lm_head_bits)
    if args.gptq is not None:
        _check_gptq_alone(args, preset)
    check_target(args.out)
    options = parse_options(args, preset) if preset.quantized and args.gptq is None else None
    checkpoint = Checkpoint.open(args.checkpoint)
    work_dir = _work_dir(args)
    need = _conversion_need(checkpoint.config, preset, options, args.gptq)
    need.check(args.out, work_dir)
    if options is not None:
        check_memory(checkpoint.config.decoder)
    check_tower(checkpoint, preset, args.calibration, work_dir)
    if preset.target is Device.CPU:
        check_operators()
    with ConsoleProgress() as progress:
        progress.note(need.describe(args.out, work_dir))
        weights: DecoderWeights = CheckpointWeights(checkpoint)
        quantization = None
        if args.gptq is not None:
            weights, quantization = take_folder(args.gptq, checkpoint, progress)
        elif options is not None:
            weights, quantization = _quantize(checkpoint, options, work_dir, progress)
        if preset.quantized and preset.lm_head_bits == 8:
            weights = RoundedHead(weights)
        tower, report = quantized_tower(checkpoint, preset, args.calibration, work_dir, progress)
        if report is not None:
            quantization = {**(quantization or {}), "tower": report}
        manifest = write_bundle(checkpoint, weights, preset, args.out, progress, quantization, tower)
    if args.json:
        print(json.dumps({"bundle": str(args.out), "preset": preset.name, "parity": manifest.parity}))
    else:
        print_conversion(manifest, args.out)


def _check_convert_installed(what: str) -> None:
    try:
        import onnx  # noqa: F401
        import safetensors  # noqa: F401
        import sentencepiece  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError(f"{what} needs the package {error.name}: install omnilmm-lite[cpu,convert]") from None


def limit_torch_threads() -> None:
    """torch takes a thread for every core that it sees: it knows of no quota, nor of slow cores."""
    import torch

    from omnilmm_lite.machine.threads import default_threads

    threads = default_threads()
    if threads is not None and threads < torch.get_num_threads():
        torch.set_num_threads(threads)


def _check_gptq_alone(args: argparse.Namespace, preset: Preset) -> None:
    from omnilmm_lite.formats import LinearFormat

    of_tower = {"--calibration"} if preset.tower is LinearFormat.INT8 else set()  # its pictures
    if given := [option for option in given_options(args) if option not in of_tower]:
        raise InputError(f"--gptq: {args.gptq} is quantized already; leave out {', '.join(given)}")


def _check_nothing_given(args: argparse.Namespace, preset: Preset) -> None:
    """InputError for whatever a preset that quantizes nothing can't honour."""
    others = {"--gptq": args.gptq, "--lm-head-bits": args.lm_head_bits}
    given = [option for option, value in others.items() if value is not None] + given_options(args)
    if given:
        raise InputError(f"{given[0]}: the preset {preset.name} quantizes nothing; leave it out, or take cpu")


def _conversion_need(
    config: OmniLMMConfig, preset: Preset, options: Options | None, gptq: Path | None
) -> ConversionNeed:
    from quantize.disk import ConversionNeed, used_bytes

    decoder = None
    if options is not None:
        decoder = options.checkpoint_bytes(config.decoder)
    elif gptq is not None:
        decoder = used_bytes(gptq)
    return ConversionNeed.of(config, preset, decoder, is_there=gptq is not None)


def _quantize(
    checkpoint: Checkpoint, options: Options, work_dir: Path, progress: ConsoleProgress
) -> tuple[GPTQFolder, dict[str, Any]]:
    """The decoder's GPTQ checkpoint, made or completed in the work folder, and the report on it."""
    from quantize.decoder.run import quantize_checkpoint

    folder, report = quantize_checkpoint(checkpoint, options, work_dir, progress)
    progress.note(f"GPTQ checkpoint: {folder.folder}")
    return folder, report


def _work_dir(args: argparse.Namespace) -> Path:
    work_dir: Path = args.work_dir or args.out.with_name(f"{args.out.name}.work")
    if work_dir.resolve().is_relative_to(args.out.resolve()):
        raise InputError(f"{work_dir}: the work folder can't lie in the bundle; name one outside {args.out}")
    return work_dir


# ---- plan ----


def checkpoint_config(folder: Path) -> OmniLMMConfig:
    """The model's config from config.json, and from the weights where they are there: they know the tower's shape.

    InputError where config.json is no OmniLMM's.
    """
    from export.checkpoint.hf_config import model_config, read_config

    fields = read_config(folder)
    if not any((*folder.glob("*.safetensors"), *folder.glob("*.bin"))):
        return model_config(folder, fields, {})
    try:
        from export.checkpoint.checkpoint import Checkpoint

        return Checkpoint.open(folder).config
    except InputError as error:  # a download that isn't finished
        reason = str(error)
    except ImportError as error:
        reason = f"that needs the package {error.name}"
    print(f"the weights were not looked at, sizes follow from config.json alone: {reason}", file=sys.stderr)
    return model_config(folder, fields, {})


# ---- quality ----


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
    model = _load_compared(args.bundle, args, "device")
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


def _find_original(args: argparse.Namespace) -> Callable[[], Subject]:
    """What a bundle is held against, another bundle or a checkpoint: checked now, a bundle is loaded when called."""
    from omnilmm_lite.bundle.folder import BUILTIN_NAME, Bundle
    from omnilmm_lite.bundle.manifest import MANIFEST
    from omnilmm_lite.quality.subject import BundleSubject

    folder = Path(args.against)
    if (folder / MANIFEST).is_file() or (args.against == BUILTIN_NAME and not folder.exists()):
        Bundle.find(args.against)
        return lambda: BundleSubject(_load_compared(args.against, args, "the original's device"))
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: neither a bundle ({MANIFEST}) nor a checkpoint (config.json) is there; name one")
    _check_convert_installed("a checkpoint")
    limit_torch_threads()
    from export.checkpoint.checkpoint import Checkpoint
    from export.parity.subject import CheckpointSubject

    subject = CheckpointSubject(Checkpoint.open(folder))
    return lambda: subject


def _load_compared(bundle: str, args: argparse.Namespace, device: str) -> Model:
    """A bundle on the device that was asked for, or with a word about the one it is on instead."""
    from omnilmm_lite.model import load

    model = load(bundle, device=args.device, threads=args.threads)
    if model.device.is_fallback:
        print(f"{device}: {model.device.device.value} ({model.device.reason})", file=sys.stderr)
    return model


if __name__ == "__main__":
    sys.exit(main())
