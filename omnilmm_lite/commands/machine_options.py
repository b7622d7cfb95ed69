"""Which model runs and where, as every command that loads one asks for it."""

from __future__ import annotations

import argparse
from typing import TypedDict

DEVICE_HELP = (
    "where to run (default: auto); cuda:1 is the second card, cuda:0,cuda:1 takes one for pictures, one for text"
)


class MachineOptions(TypedDict):
    """The arguments of `omnilmm_lite.load` beside the model."""

    device: str
    context: int | None
    threads: int | None
    drafts: bool
    cuda_graph: bool


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of `omnilmm_lite.load`: model, device, context, threads, drafts, CUDA graph.

    `decodes` in what is parsed says that the command writes answers, for which memory matters.
    """
    machine = parser.add_argument_group("model and machine")
    machine.add_argument("--model", metavar="BUNDLE", help="folder that `convert` made (default: the built-in tiny)")
    machine.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N", help=DEVICE_HELP)
    machine.add_argument("--context", type=int, metavar="N", help="tokens that prompt and answers may have together")
    machine.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one a core that is worth it)")
    drafts = "guess ahead from what was said before: faster where it repeats itself, and sums are rounded otherwise"
    machine.add_argument("--drafts", action="store_true", help=drafts)
    recorded = "record a token's step and replay it, on a CUDA card: see docs/gpu.md"
    machine.add_argument("--cuda-graph", action="store_true", help=recorded)
    parser.set_defaults(decodes=True)


def machine_options(args: argparse.Namespace) -> MachineOptions:
    """What the command line says about the machine."""
    return MachineOptions(
        device=args.device,
        context=args.context,
        threads=args.threads,
        drafts=args.drafts,
        cuda_graph=args.cuda_graph,
    )
