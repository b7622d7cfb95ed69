"""`omnilmm-lite bench`: how fast a bundle runs here, and whether it computes the same as elsewhere."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from omnilmm_lite.bench.settings import (
    DEFAULT_DECODE_AT,
    DEFAULT_NEW_TOKENS,
    DEFAULT_PREFILL,
    DEFAULT_REPEAT,
    DEFAULT_TURNS,
    Settings,
    parse_lengths,
)
from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.options.machine import DEVICE_HELP, MODEL_HELP
from omnilmm_lite.errors import InputError, OmniLMMError

if TYPE_CHECKING:
    from omnilmm_lite.bundle.folder import Bundle


def add_bench(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measures loading, pictures, prompts, answers and memory, each several times after a warm-up. With --check, "
        "instead: whether this device computes what OTHER gives on the CPU. With --against, both in turns. With "
        "--vram: whether the bundle fits a smaller card, by the memory that it takes of this one."
    )
    parser.add_argument("--model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--device", metavar="auto|cpu|cuda|cuda:N", help=DEVICE_HELP)
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one a core that is worth it)")
    recorded = "record a token's step and replay it, on a CUDA card"
    parser.add_argument("--cuda-graph", action=argparse.BooleanOptionalAction, help=recorded)
    resident = "measure with all graphs packed and in memory, on a CPU"
    parser.add_argument("--resident", action=argparse.BooleanOptionalAction, help=resident)
    parser.add_argument("--json", action="store_true", help="print one JSON object with every sample")
    timing = parser.add_argument_group("timing")
    timing.add_argument("--prefill", default=DEFAULT_PREFILL, metavar="N,N", help=f"lengths ({DEFAULT_PREFILL})")
    timing.add_argument(
        "--decode-at", default=DEFAULT_DECODE_AT, metavar="N,N", help=f"tokens of context ({DEFAULT_DECODE_AT})"
    )
    timing.add_argument("--repeat", type=int, default=DEFAULT_REPEAT, metavar="N", help=f"runs ({DEFAULT_REPEAT})")
    timing.add_argument(
        "--new-tokens", type=int, default=DEFAULT_NEW_TOKENS, metavar="N", help=f"a decode run ({DEFAULT_NEW_TOKENS})"
    )
    timing.add_argument(
        "--bandwidth", type=float, metavar="GB/S", help="of the memory, for the floor (default: measured on the CPU)"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--check", metavar="OTHER", help="a bundle, perhaps the same one, that runs on the CPU: compare with it"
    )
    against = "a bundle to measure in turns with this one: how both stand to each other"
    other.add_argument("--against", metavar="OTHER", help=against)
    several = "how much several answers at once gain, such as 1,2,4,8, and what the last to come waits for"
    other.add_argument("--parallel", metavar="N,N", help=several)
    vram = "leave as much of the card's memory as one of 24, 16, 12 or 8 GB has, and say what is needed of it"
    other.add_argument("--vram", type=int, metavar="GB", help=vram)
    turns = f"with --vram, times that tower and decoder are loaded where they take turns ({DEFAULT_TURNS})"
    parser.add_argument("--turns", type=int, default=DEFAULT_TURNS, metavar="N", help=turns)
    parser.set_defaults(command=bench, decodes=True, model_words=("model", "check", "against"))


def bench(args: argparse.Namespace) -> None:
    """Measures, or compares, and prints what came out."""
    settings = Settings(
        prefill=parse_lengths("--prefill", args.prefill),
        decode_at=parse_lengths("--decode-at", args.decode_at),
        repeat=args.repeat,
        new_tokens=args.new_tokens,
        bandwidth=None if args.bandwidth is None else args.bandwidth * 1e9,
    )
    from omnilmm_lite.bundle.folder import Bundle

    bundle = Bundle.find(args.model)
    if args.resident and (args.check or args.against or args.vram):
        raise InputError("--resident: --check, --against and --vram go without it; give --no-resident")
    if args.check is not None:
        _check(bundle, Bundle.find(args.check), args)
    elif args.against is not None:
        _compare(bundle, Bundle.find(args.against), settings, args)
    elif args.vram is not None:
        _measure_fit(bundle, args)
    elif args.parallel is not None:
        _measure_parallel(bundle, settings, args)
    else:
        _measure(bundle, settings, args)
    tell_demonstration(args.model)


def _measure(bundle: Bundle, settings: Settings, args: argparse.Namespace) -> None:
    from omnilmm_lite.bench.measure import measure
    from omnilmm_lite.bench.table import print_result
    from omnilmm_lite.console import ConsoleProgress

    with ConsoleProgress() as progress:
        result = measure(
            bundle,
            args.device,
            args.threads,
            settings,
            progress,
            cuda_graph=args.cuda_graph,
            resident=args.resident,
        )
    if args.json:
        print(json.dumps(result.to_dict()))
    else:
        print_result(result)


def _compare(bundle: Bundle, other: Bundle, settings: Settings, args: argparse.Namespace) -> None:
    if settings.bandwidth is not None:
        raise InputError("--bandwidth: --against compares two bundles, not one with the memory; leave it out")
    from omnilmm_lite.bench.comparison.table import print_comparison
    from omnilmm_lite.bench.comparison.turns import compare
    from omnilmm_lite.console import ConsoleProgress

    with ConsoleProgress() as progress:
        found = compare(bundle, other, args.device, args.threads, settings, progress, cuda_graph=args.cuda_graph)
    if args.json:
        print(json.dumps(found.to_dict()))
    else:
        print_comparison(found)


def _measure_parallel(bundle: Bundle, settings: Settings, args: argparse.Namespace) -> None:
    from omnilmm_lite.bench.parallel.measure import measure_parallel
    from omnilmm_lite.bench.parallel.table import print_parallel
    from omnilmm_lite.console import ConsoleProgress

    answers, held = parse_lengths("--parallel", args.parallel), settings.decode_at[0]
    if args.cuda_graph:
        raise InputError("--cuda-graph: a recorded step is that of one answer; leave it out, or leave out --parallel")
    with ConsoleProgress() as progress:
        found = measure_parallel(
            bundle,
            args.device,
            args.threads,
            answers,
            held,
            settings.repeat,
            progress,
            resident=args.resident,
        )
    if args.json:
        print(json.dumps(found.to_dict()))
    else:
        print_parallel(found)


def _measure_fit(bundle: Bundle, args: argparse.Namespace) -> None:
    from omnilmm_lite.bench.card.measure_fit import measure_fit
    from omnilmm_lite.bench.card.table import print_fit
    from omnilmm_lite.console import ConsoleProgress

    with ConsoleProgress() as progress:
        fit = measure_fit(bundle, args.device, args.vram, args.turns, progress, cuda_graph=args.cuda_graph)
    if args.json:
        print(json.dumps(fit.to_dict()))
    else:
        print_fit(fit)
    if fit.failure is not None:
        raise OmniLMMError(f"doesn't fit a card of {fit.vram} GB: {fit.failure}")


def _check(bundle: Bundle, other: Bundle, args: argparse.Namespace) -> None:
    from omnilmm_lite.bench.check import check
    from omnilmm_lite.bench.check_table import print_check
    from omnilmm_lite.console import ConsoleProgress

    with ConsoleProgress() as progress:
        report = check(bundle, other, args.device, args.threads, progress, cuda_graph=args.cuda_graph)
    if args.json:
        print(json.dumps(report.to_dict()))
    else:
        print_check(report)
    if report.misses:
        raise OmniLMMError(f"the two differ by more than rounding explains: {report.misses[0]}")
