"""The options of a run on a Ray cluster, for every command that has such runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.cluster.options import ClusterOptions
    from omnilmm_lite.pipeline.parallel import Parallel

WAYS = ("path", "pull", "store")  # `Way`'s, whose module is not imported for --help
OWN = ("workers", "batch", "deliver", "pull")


def add_ray_options(parser: argparse.ArgumentParser, more: str, batch: str) -> None:
    """`more`: what --ray is for this command beside the cluster; `batch`: what one is, and how large by default."""
    cluster = parser.add_argument_group("on many machines (see docs/scale.md)")
    ray = f"on the Ray cluster at ADDRESS (default: one of this machine alone); {more}"
    cluster.add_argument("--ray", nargs="?", const="local", metavar="ADDRESS", help=ray)
    cluster.add_argument("--workers", type=int, metavar="N", help="models (default: one a card, or one a node)")
    cluster.add_argument("--batch", type=int, metavar="N", help=batch)
    deliver = "how the bundle comes to the nodes: it lies there under its path (default), is pulled, or Ray's store"
    cluster.add_argument("--deliver", choices=WAYS, help=deliver)
    cluster.add_argument("--pull", metavar="NAME", help="with --deliver pull: what the nodes pull; --model is the same")


def refuse_without_ray(args: argparse.Namespace) -> None:
    """InputError where an option is for a cluster, and there is none."""
    for name in OWN:
        if getattr(args, name) is not None:
            raise InputError(f"--{name}: it is for --ray; leave it out, or add that")


def cluster_options(args: argparse.Namespace, batch: int) -> ClusterOptions:
    """`batch`: where none is given. InputError where they don't fit each other."""
    from omnilmm_lite.cluster.delivery import Way
    from omnilmm_lite.cluster.options import ClusterOptions

    for name in ("workers", "batch"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise InputError(f"--{name} {value}: give 1 or more")
    way = Way(args.deliver or "path")
    if (way is Way.PULL) != (args.pull is not None):
        raise InputError("--deliver pull: it needs --pull NAME, as `omnilmm-lite pull` takes it, and --pull needs it")
    return ClusterOptions(args.ray, args.workers, args.batch or batch, way, args.pull)


def parallel_of_each(args: argparse.Namespace) -> Parallel:
    """What `--parallel` says for every model there is. Left to the machine, one where `--workers` may put several on a
    node: each would take all of its free memory for its own."""
    from omnilmm_lite.pipeline.parallel import Parallel

    parallel = Parallel.read(args.parallel)
    return Parallel(1) if parallel.answers is None and args.workers is not None else parallel
