"""`omnilmm-lite caption SOURCE --ray [ADDRESS]`: the same on a cluster, into a folder of parts."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.options.cluster import add_ray_options, cluster_options, parallel_of_each
from omnilmm_lite.commands.options.sampling import sampling_options
from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    from omnilmm_lite.caption.scale.cluster.run import ClusterRun

LINE_S = 10.0  # between two lines of progress
OTHERS = (
    "txt", "xmp", "embed", "watch", "shard", "prefix", "suffix", "weights", "drafts", "cuda_graph", "resident",
    "overwrite",
)  # fmt: skip
BATCH = 64


def add_ray_caption(parser: argparse.ArgumentParser) -> None:
    add_ray_options(
        parser,
        "FOLDER may also be a list (.txt), a table (.parquet, .tsv), an archive (.tar) or an address such as "
        "s3://..., and OUT is a folder of parts",
        f"pictures a part has, and a worker is given ({BATCH})",
    )


def ray_caption(args: argparse.Namespace, source: str, prompt: str) -> None:
    """Runs it. KeyboardInterrupt, after a word about how to go on, where Ctrl-C ended it."""
    from omnilmm_lite.files.owner_lock import sole_owner

    run = _run(args, source, prompt)
    with contextlib.ExitStack() as locks:
        if "://" not in run.output:
            place = Path(run.output)
            place.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(sole_owner(place, lambda line: print(line, file=sys.stderr)))
        _follow(run)
    tell_demonstration(args.model)


def _follow(run: ClusterRun) -> None:
    rows = errors = 0
    last = time.monotonic()
    parts = run.run(lambda count: print(f"files to look at: {count}", file=sys.stderr))
    try:
        for written in parts:
            rows, errors = rows + written.rows, errors + written.errors
            if time.monotonic() - last >= LINE_S:
                last = time.monotonic()
                print(f"{rows} pictures", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"stopped: {rows} rows are in {run.output}, and the same command goes on", file=sys.stderr)
        raise
    print(f"{run.output}: {rows - errors} described, {errors} could not be read", file=sys.stderr)


def _run(args: argparse.Namespace, source: str, prompt: str) -> ClusterRun:
    """Everything that can be checked before the cluster is asked."""
    from omnilmm_lite.bundle.folder import Bundle
    from omnilmm_lite.caption.scale.cluster.run import ClusterRun
    from omnilmm_lite.picture.listing import Filter
    from omnilmm_lite.sampling_params import sampling_params

    for name in OTHERS:
        if getattr(args, name):
            raise InputError(f"--{name.replace('_', '-')}: it doesn't go with --ray; leave one of them out")
    output = args.output or ""
    if output in ("", "-") or args.format == "csv":
        raise InputError("--ray: name a folder for the parts after -o; --format is jsonl or parquet")
    cluster = cluster_options(args, BATCH)
    bundle = Bundle.find(args.model)
    options: Any = sampling_options(args)
    params = sampling_params(bundle.manifest.sampling, options)
    settings: dict[str, Any] = {"model": bundle.identity, "prompt": prompt, **dataclasses.asdict(params)}
    for name in ("tags", "ignore_colour_profile"):
        if getattr(args, name):
            settings[name] = True
    captioner = {
        "prompt": prompt,
        "tags": args.tags,
        "device": args.device or "auto",
        "context": args.context,
        "threads": args.threads,
        "parallel": parallel_of_each(args).answers,
        "ignore_colour_profile": args.ignore_colour_profile,
        **options,
    }
    return ClusterRun(
        source,
        output,
        f".{args.format or 'jsonl'}",
        cluster,
        bundle,
        args.model,
        captioner,
        settings,
        Filter(args.include, args.exclude, args.recursive),
        args.retry_errors,
    )
