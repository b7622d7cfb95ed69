"""`omnilmm-lite`: parses the command line and hands over to the packages.

Heavy imports happen inside the command that needs them, so that `--help` is instant.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite import __version__
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.quality.options import add_quality_options
from quantize.options import add_quantization_options, given_options, parse_options

if TYPE_CHECKING:
    from PIL import Image

    from export.checkpoint import Checkpoint
    from export.presets import Preset
    from omnilmm_lite.chat import SamplingOptions
    from omnilmm_lite.console import ConsoleProgress
    from omnilmm_lite.model import Model
    from omnilmm_lite.quality.subject import Subject
    from quantize.gptq_folder import GPTQFolder

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an answer or a path may hold what this terminal has no letter for
    args = build_parser().parse_args(argv)
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
    _add_run(commands.add_parser("run", help="answer a question about a picture, or chat about it"))
    _add_convert(commands.add_parser("convert", help="make a bundle from a Hugging Face checkpoint"))
    _add_inspect(commands.add_parser("inspect", help="show what is in a bundle"))
    measuring = commands.add_parser("quality", help="measure how far a bundle is from the model it was made from")
    add_quality_options(measuring)
    measuring.set_defaults(command=quality)
    return parser


def _discard_stdout() -> None:
    """Lets what is still unwritten go nowhere: at exit, Python would try again and complain."""
    with contextlib.suppress(OSError):  # a stand-in for stdout has no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: object, code: int) -> int:
    print(f"omnilmm-lite: {error}", file=sys.stderr)
    return code


# ---- run ----


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = "With -p (or text on standard input): one answer a picture. Without: an interactive chat."
    parser.add_argument("images", metavar="IMAGE", nargs="*", help="picture to talk about; none for text only")
    parser.add_argument("-p", "--prompt", help="the question")
    parser.add_argument("--system", metavar="TEXT", help="replaces the model's own system text")
    parser.add_argument("--json", action="store_true", help="print one JSON object with the answer and its timings")
    sampling = parser.add_argument_group("sampling (defaults: the bundle's, which are the reference's)")
    sampling.add_argument("--greedy", action="store_true", help="always the likeliest token: the same answer each time")
    sampling.add_argument("--temperature", type=float, metavar="T", help="higher is more varied; 0 is --greedy")
    sampling.add_argument("--top-p", type=float, metavar="P", help="the likeliest tokens that hold this share (1: all)")
    sampling.add_argument("--top-k", type=int, metavar="K", help="the K likeliest tokens (0: all)")
    sampling.add_argument("--min-p", type=float, metavar="P", help="tokens at least P times as likely as the best")
    repetition = "above 1: what the answer has said becomes less likely"
    sampling.add_argument("--repetition-penalty", type=float, metavar="R", help=repetition)
    sampling.add_argument("--seed", type=int, metavar="N", help="draw the same answer each time")
    sampling.add_argument("--max-new-tokens", type=int, metavar="N", help="the answer's greatest length")
    machine = parser.add_argument_group("model and machine")
    machine.add_argument("--model", metavar="BUNDLE", help="folder that `convert` made (default: the built-in tiny)")
    machine.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="where to run (default: auto)")
    machine.add_argument("--context", type=int, metavar="N", help="tokens that prompt and answers may have together")
    machine.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one a physical core)")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> None:
    """Answers the prompt about each picture, or starts the chat."""
    from omnilmm_lite.image import load_image
    from omnilmm_lite.model import load

    prompt = args.prompt if args.prompt is not None else _piped_prompt()
    if prompt is not None and not prompt.strip():
        raise InputError("the prompt is empty: give a question after -p or on standard input")
    if prompt is None and args.json:
        raise InputError("--json needs a prompt: give a question after -p or on standard input")
    if prompt is None and len(args.images) > 1:
        raise InputError(f"a chat is about one picture, {len(args.images)} were given: name one, or ask with -p")
    # a bad picture is said before the model is loaded
    pictures: list[Image.Image | None] = [load_image(path) for path in args.images] or [None]

    model = load(args.model, device=args.device, context=args.context, threads=args.threads)
    if model.device.is_fallback:
        print(f"device: {model.device.device.value} ({model.device.reason})", file=sys.stderr)
    if prompt is None:
        from omnilmm_lite.repl import Repl

        Repl(model, pictures[0], args.system, _sampling_options(args)).run()
    elif args.json:
        answers = [_answer(model, picture, prompt, args, stream=False) for picture in pictures]
        print(json.dumps(answers[0] if len(answers) == 1 else {"answers": answers}, ensure_ascii=False))
    else:
        for path, picture in zip(args.images or [None], pictures, strict=True):
            if len(pictures) > 1:
                print(f"{path}: ", end="", flush=True)
            _answer(model, picture, prompt, args, stream=True)


def _piped_prompt() -> str | None:
    """What standard input holds, without the line's end that `echo` adds; None where it is a terminal."""
    if sys.stdin is None:  # closed
        return ""
    if sys.stdin.isatty():
        return None
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise InputError("standard input: the prompt is not UTF-8 text; convert it first") from None


def _answer(
    model: Model, picture: Image.Image | None, prompt: str, args: argparse.Namespace, *, stream: bool
) -> dict[str, Any]:
    """Runs one answer, printing it as it comes if `stream`; the object that --json prints."""
    from omnilmm_lite.chat import sampling_params
    from omnilmm_lite.memory import peak_rss_bytes

    chat = model.chat(picture, args.system)
    answer = chat.answer(prompt, sampling_params(model.sampling, _sampling_options(args)))
    for piece in chat.follow(prompt, answer):
        if stream:
            print(piece, end="", flush=True)
    if stream:
        print()
    timings = answer.timings
    return {
        "text": answer.text,
        "tokens": answer.tokens,
        "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
        "timings": {
            "load_s": round(model.load_s, 4),
            "vision_s": round(chat.vision_s, 4),
            "prefill_s": round(timings.prefill_s, 4),
            "decode_s": round(timings.decode_s, 4),
            "prompt_tokens": timings.prompt_tokens,
            "new_tokens": timings.new_tokens,
            "tokens_per_s": round(timings.tokens_per_s, 2),
        },
        "device": model.device.device.value,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def _sampling_options(args: argparse.Namespace) -> SamplingOptions:
    """What the command line says about sampling, and nothing of what it leaves open."""
    from omnilmm_lite.chat import SamplingOptions

    names = SamplingOptions.__annotations__
    given = {name: getattr(args, name) for name in names}
    # not `in (None, False)`: 0 equals False, and `--seed 0` or `--top-k 0` would be lost
    options: Any = {name: value for name, value in given.items() if value is not None and value is not False}
    return SamplingOptions(**options)  # type: ignore[typeddict-item]  # argparse gave the types


# ---- convert ----


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Reads a Hugging Face folder of OmniLMM-12B or RLAIF-V-12B, quantizes the decoder where the preset says so, "
        "and writes a bundle. May be stopped and started again: finished decoder layers are kept in the work folder."
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder with config.json and the weights")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    parser.add_argument("--preset", default="cpu", help="target: reference, cpu (default) or 24gb")
    add_quantization_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object about the finished bundle")
    parser.set_defaults(command=convert)


def convert(args: argparse.Namespace) -> None:
    """Checkpoint -> (GPTQ checkpoint ->) bundle."""
    _check_convert_installed("conversion")
    from export.checkpoint import Checkpoint
    from export.convert import CheckpointWeights, check_target, write_bundle
    from export.decoder import DecoderWeights
    from export.presets import find_preset
    from omnilmm_lite.console import ConsoleProgress, print_conversion
    from quantize.gptq_origin import take_folder
    from quantize.head import RoundedHead

    args.out = args.out.resolve()  # `.` and `..` have no name of their own
    preset = find_preset(args.preset)
    if args.lm_head_bits is not None:
        if not preset.quantized:
            raise InputError(f"--lm-head-bits: the preset {preset.name} quantizes nothing; take another, such as cpu")
        preset = replace(preset, lm_head_bits=args.lm_head_bits)
    if args.gptq is not None:
        _check_gptq_alone(args, preset)
    check_target(args.out)
    checkpoint = Checkpoint.open(args.checkpoint)
    with ConsoleProgress() as progress:
        weights: DecoderWeights = CheckpointWeights(checkpoint)
        quantization = None
        if args.gptq is not None:
            weights, quantization = take_folder(args.gptq, checkpoint, progress)
        elif preset.quantized:
            weights, quantization = _quantize(checkpoint, preset, args, progress)
        if preset.quantized and preset.lm_head_bits == 8:
            weights = RoundedHead(weights)
        manifest = write_bundle(checkpoint, weights, preset, args.out, progress, quantization)
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


def _check_gptq_alone(args: argparse.Namespace, preset: Preset) -> None:
    if not preset.quantized:
        raise InputError(f"--gptq: the preset {preset.name} keeps the decoder as it is; take another, such as cpu")
    if given := given_options(args):
        raise InputError(f"--gptq: {args.gptq} is quantized already; leave out {', '.join(given)}")


def _quantize(
    checkpoint: Checkpoint, preset: Preset, args: argparse.Namespace, progress: ConsoleProgress
) -> tuple[GPTQFolder, dict[str, Any]]:
    """The decoder's GPTQ checkpoint, made or completed in the work folder, and the report on it."""
    from quantize.run import quantize_checkpoint

    options = parse_options(args, preset)
    work_dir = args.work_dir or args.out.with_name(f"{args.out.name}.work")
    if work_dir.resolve().is_relative_to(args.out.resolve()):
        raise InputError(f"{work_dir}: the work folder can't lie in the bundle; name one outside {args.out}")
    folder, report = quantize_checkpoint(checkpoint, options, work_dir, progress)
    progress.note(f"GPTQ checkpoint: {folder.folder}")
    return folder, report


# ---- inspect ----


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.description = "Shows what a bundle holds. Opening it checks that every file is there and has its size."
    parser.add_argument("bundle", metavar="BUNDLE", help="folder that `convert` made, or `tiny` for the built-in one")
    parser.add_argument("--verify", action="store_true", help="also hash every file")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    parser.set_defaults(command=inspect)


def inspect(args: argparse.Namespace) -> None:
    """Prints a bundle's contents, verified if asked for."""
    from omnilmm_lite.bundle import Bundle

    bundle = Bundle.find(args.bundle)
    if args.verify:
        shown = sys.stderr.isatty()  # else the one line there is the complaint
        bundle.verify(lambda entry: print(f"hashing {entry.path}", file=sys.stderr) if shown else None)
    if args.json:
        print(json.dumps(json.loads(bundle.manifest.to_json()), ensure_ascii=False))
        return
    from omnilmm_lite.console import print_manifest

    print_manifest(bundle.manifest, verified=args.verify)


# ---- quality ----


def quality(args: argparse.Namespace) -> None:
    """Compares a bundle with the model it was made from."""
    if args.samples < 1:
        raise InputError(f"--samples: {args.samples} is out of range; give 1 or more")
    if args.html is not None and (args.html.is_dir() or not args.html.absolute().parent.is_dir()):
        raise InputError(f"--html: {args.html} can't be written; name a file in a folder that exists")
    from omnilmm_lite.console import ConsoleProgress
    from omnilmm_lite.model import load
    from omnilmm_lite.quality.data import read_data
    from omnilmm_lite.quality.measure import measure
    from omnilmm_lite.quality.page import build_page
    from omnilmm_lite.quality.report import print_report

    data = read_data(args.data, args.samples)
    model = load(args.bundle, device=args.device, threads=args.threads)
    original = _original(args)
    with ConsoleProgress() as progress:
        measured = measure(model, original, data, args.data, args.samples, progress)
    if args.html is not None:
        args.html.write_text(build_page(measured), encoding="utf-8")
    if args.json:
        print(measured.report.to_json())
    else:
        print_report(measured.report)


def _original(args: argparse.Namespace) -> Subject:
    """What a bundle is held against: another bundle, or a checkpoint."""
    from omnilmm_lite.bundle import BUILTIN_NAME
    from omnilmm_lite.manifest import MANIFEST
    from omnilmm_lite.model import load
    from omnilmm_lite.quality.subject import BundleSubject

    folder = Path(args.against)
    if (folder / MANIFEST).is_file() or (args.against == BUILTIN_NAME and not folder.exists()):
        return BundleSubject(load(args.against, device=args.device, threads=args.threads))
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: neither a bundle ({MANIFEST}) nor a checkpoint (config.json) is there; name one")
    _check_convert_installed("a checkpoint")
    from export.checkpoint import Checkpoint
    from export.subject import CheckpointSubject

    return CheckpointSubject(Checkpoint.open(folder))


if __name__ == "__main__":
    sys.exit(main())
