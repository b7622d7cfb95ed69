"""Which model runs and where, as every command that loads one asks for it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from omnilmm_lite.model_source import DEFAULT_WEIGHTS, MachineOptions, find_source
from omnilmm_lite.weights import Weights

if TYPE_CHECKING:
    from omnilmm_lite.model_source import ModelSource, OpenCheckpoint

MODEL_HELP = "a model's name, or folder (default: `omnilmm-lite models default`, else the built-in tiny)"
DEVICE_HELP = (
    "where to run (default: auto); cuda:1 is the second card, cuda:0,cuda:1 takes one for pictures, one for text"
)


def add_machine_options(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    """The arguments of `omnilmm_lite.load`: model, weights, device, context, threads, drafts, CUDA graph.

    `open_checkpoint` knows checkpoints, which the runtime does not.
    `decodes` in what is parsed says that the command writes answers, for which memory matters.
    """
    machine = parser.add_argument_group("model and machine")
    machine.add_argument("--model", metavar="MODEL", help=MODEL_HELP)
    add_weights(machine)
    machine.add_argument("--device", metavar="auto|cpu|cuda|cuda:N", help=DEVICE_HELP)
    machine.add_argument("--context", type=int, metavar="N", help="tokens that prompt and answers may have together")
    machine.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one a core that is worth it)")
    drafts = "guess ahead from what was said before: faster where it repeats itself, and sums are rounded otherwise"
    machine.add_argument("--drafts", action=argparse.BooleanOptionalAction, help=drafts)
    recorded = "record a token's step and replay it, on a CUDA card: see docs/gpu.md"
    machine.add_argument("--cuda-graph", action=argparse.BooleanOptionalAction, help=recorded)
    resident = (
        "on a CPU: keep all graphs in memory, packed for the processor, none taking turns: faster pictures and prompts "
        "for several GB more (see docs/memory.md)"
    )
    machine.add_argument("--resident", action=argparse.BooleanOptionalAction, help=resident)
    parser.set_defaults(decodes=True, model_words=("model",), open_checkpoint=open_checkpoint)


def add_parallel(parser: argparse.ArgumentParser, default: str) -> None:
    """The argument `parallel`, for `Parallel.read`."""
    text = "answers at once, or auto: what gives the most here, of as many as free memory has room for (8 at most)"
    parser.add_argument("--parallel", metavar="N|auto", default=default, help=f"{text} (default: {default})")


def add_weights(options: argparse._ActionsContainer) -> None:
    """The argument `weights`, None where it isn't given: see `chosen_weights`."""
    words = [weights.value for weights in Weights]
    options.add_argument(
        "--weights", choices=words, help=f"what a checkpoint's decoder is kept in (default: {DEFAULT_WEIGHTS.value})"
    )


def chosen_weights(args: argparse.Namespace) -> Weights | None:
    return None if args.weights is None else Weights(args.weights)


def model_source(args: argparse.Namespace) -> ModelSource:
    """What --model and --weights name, not loaded yet. InputError where there is no such model."""
    return find_source(args.model, chosen_weights(args), args.open_checkpoint)


def machine_options(args: argparse.Namespace) -> MachineOptions:
    """What the command line says about the machine, or the settings where it leaves that open."""
    return MachineOptions(
        device=args.device,
        context=args.context,
        threads=args.threads,
        drafts=args.drafts,
        cuda_graph=args.cuda_graph,
        resident=args.resident,
    )
