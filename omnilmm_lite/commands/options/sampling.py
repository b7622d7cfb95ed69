"""How an answer is drawn, as the commands that answer ask for it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnilmm_lite.sampling_params import SamplingOptions


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """The same options, with the same meaning, for every command that answers."""
    sampling = parser.add_argument_group("sampling (defaults: the bundle's, which are the reference's)")
    greedy = "always the likeliest token: the same answer each time"
    sampling.add_argument("--greedy", action=argparse.BooleanOptionalAction, help=greedy)
    sampling.add_argument("--temperature", type=float, metavar="T", help="higher is more varied; 0 is --greedy")
    sampling.add_argument("--top-p", type=float, metavar="P", help="the likeliest tokens that hold this share (1: all)")
    sampling.add_argument("--top-k", type=int, metavar="K", help="the K likeliest tokens (0: all)")
    sampling.add_argument("--min-p", type=float, metavar="P", help="tokens at least P times as likely as the best")
    repetition = "above 1: what the answer has said becomes less likely"
    sampling.add_argument("--repetition-penalty", type=float, metavar="R", help=repetition)
    presence = "taken once from the score of what the answer has said (0: off)"
    sampling.add_argument("--presence-penalty", type=float, metavar="A", help=presence)
    sampling.add_argument("--frequency-penalty", type=float, metavar="A", help="taken each time it was said (0: off)")
    sampling.add_argument("--seed", type=int, metavar="N", help="draw the same answer each time")
    sampling.add_argument("--max-new-tokens", type=int, metavar="N", help="the answer's greatest length")


def sampling_options(args: argparse.Namespace) -> SamplingOptions:
    """What the command line says about sampling, and nothing of what it leaves open."""
    from omnilmm_lite.sampling_params import SamplingOptions

    names = SamplingOptions.__annotations__
    given = {name: getattr(args, name) for name in names}
    # not `in (None, False)`: 0 equals False, and `--seed 0` or `--top-k 0` would be lost
    options: Any = {name: value for name, value in given.items() if value is not None and value is not False}
    return SamplingOptions(**options)  # type: ignore[typeddict-item]  # argparse gave the types
