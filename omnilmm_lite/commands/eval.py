"""`omnilmm-lite eval`: the model card's benchmarks, offline, on the user's own data files."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omnilmm_lite.commands.home.in_use import tell_demonstration
from omnilmm_lite.commands.options.cluster import add_ray_options, cluster_options, parallel_of_each, refuse_without_ray
from omnilmm_lite.commands.options.machine import (
    add_machine_options,
    add_parallel,
    machine_options,
    model_source,
)
from omnilmm_lite.commands.options.sampling import add_sampling_options, sampling_options
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.evaluation.benchmark import REQUIREMENTS, Benchmark, Profile
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.weights import Weights

if TYPE_CHECKING:
    from omnilmm_lite.cluster.options import ClusterOptions
    from omnilmm_lite.evaluation.running.whole import Request, Run
    from omnilmm_lite.model_source import ModelSource, OpenCheckpoint

BATCH = 16
LIST, ALL, NO_JUDGE = "list", "all", "none"
NAMES, PROFILES = [each.value for each in Benchmark], [each.value for each in Profile]


def add_eval(parser: argparse.ArgumentParser, open_checkpoint: OpenCheckpoint) -> None:
    parser.description = (
        "Scores a model on the benchmarks of OmniLMM-12B's card, from data files that you have: greedy answers, scored "
        "by the rules of those who published them. May be stopped at any time: the same command goes on. "
        "`eval list` says what each benchmark is and needs."
    )
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help=f"{', '.join(NAMES)}; {ALL}, or {LIST} to describe them"
    )
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help="the benchmark's file or folder, or a folder of several"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="folder to fill, or to go on in")
    profile = "whose prompts and rules: VLMEvalKit's of February 2024, as on the card, or the authors' own"
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0], help=f"{profile} (default: {PROFILES[0]})")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N questions of each benchmark")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="the I-th of N shares, for several machines")
    parser.add_argument("--check", action="store_true", help="check the data, pictures too, and ask nothing")
    parser.add_argument("--retry-errors", action="store_true", help="ask again what could not be asked before")
    against = "another bundle or checkpoint to hold the model against, question by question"
    parser.add_argument("--against", metavar="MODEL", help=against)
    speed = f"with {LIST}: what `bench --json` has printed, to compute how long each benchmark takes"
    parser.add_argument("--bench", type=Path, metavar="FILE", help=speed)
    parser.add_argument("--against-weights", choices=[each.value for each in Weights], help="that checkpoint's weights")
    add_parallel(parser, "1")
    judge = parser.add_argument_group("judge", "A model that reads what rules can't: all of mmhal and llavabench.")
    what = "the URL of an OpenAI-compatible server, or a batch file of replies (default: none)"
    judge.add_argument("--judge", default=NO_JUDGE, metavar="none|URL|FILE", help=what)
    judge.add_argument("--judge-model", default="gpt-4", metavar="NAME", help="the judge's name there (default: gpt-4)")
    judge.add_argument("--export-judge-requests", type=Path, metavar="FILE", help="write what a judge is to be asked")
    add_sampling_options(parser)
    add_machine_options(parser, open_checkpoint)
    add_ray_options(parser, "the data is read here", f"pictures that a worker is given with their questions ({BATCH})")
    fixed = ("greedy", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
             "frequency_penalty", "seed", "max_new_tokens")  # fmt: skip
    parser.set_defaults(command=evaluate, model_words=("model", "against"), fixed_words=fixed)


def evaluate(args: argparse.Namespace) -> None:
    """Answers, scores and reports. KeyboardInterrupt, after a word about how to go on, where Ctrl-C ended it."""
    if LIST in args.names:
        _list(args)
        return
    if args.bench is not None:
        raise InputError(f"--bench: only `eval {LIST}` reads it; leave it out")
    benchmarks = _benchmarks(args)
    if args.data is None:
        raise InputError("--data is missing: give the benchmark's file or folder; `omnilmm-lite eval list` says which")
    if args.check:
        _check(args, benchmarks)
        return
    if args.output is None:
        raise InputError("-o is missing: name a folder for answers and reports")
    from omnilmm_lite.files.owner_lock import sole_owner

    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"-o: {args.output} is no folder; name another place")
    # before the folder is looked into, since what another run adds to it behind that would be missed
    with sole_owner(args.output, lambda line: print(line, file=sys.stderr)):
        _run(args, benchmarks)


def _list(args: argparse.Namespace) -> None:
    from omnilmm_lite.evaluation.duration import measured_machine
    from omnilmm_lite.evaluation.report.listing import print_list

    if args.names != [LIST]:
        raise InputError(f"{LIST} describes every benchmark; give no other name with it")
    print_list(None if args.bench is None else measured_machine(args.bench))


def _benchmarks(args: argparse.Namespace) -> list[Benchmark]:
    for name in args.names:
        if name not in (*NAMES, ALL):
            raise InputError(f"{name}: there is no such benchmark; give one of {', '.join(NAMES)}, {ALL} or {LIST}")
    return list(Benchmark) if ALL in args.names else list(dict.fromkeys(map(Benchmark, args.names)))


def _run(args: argparse.Namespace, benchmarks: list[Benchmark]) -> None:
    from omnilmm_lite.console import ConsoleProgress
    from omnilmm_lite.evaluation.report.files import write_files
    from omnilmm_lite.evaluation.report.terminal import print_report
    from omnilmm_lite.evaluation.running.whole import Run

    request = _request(args, benchmarks)
    try:
        with ConsoleProgress() as progress:
            run = Run(request, progress)
            report = run.answer_and_score()
            progress.stage("reports", 1)
            write_files(report, args.output)
            progress.step("")
    except KeyboardInterrupt:
        print(f"stopped: {args.output} keeps what was answered, and the same command goes on", file=sys.stderr)
        raise
    except BrokenPipeError:  # whoever read what is printed has gone
        raise
    except OSError as error:  # such as a full disk
        raise OmniLMMError(
            f"{args.output} can't be filled: {error.strerror}; it keeps what was answered, and the same command goes on"
        ) from error
    print_report(report)
    print(f"{args.output}: report.html, report.md, report.json{_speed(run)}", file=sys.stderr)
    tell_demonstration(args.model)


def _speed(run: Run) -> str:
    return f"; {run.pace}" if run.pace.done else ""


def _request(args: argparse.Namespace, benchmarks: list[Benchmark]) -> Request:
    """Everything that can be checked before a model is loaded."""
    from omnilmm_lite.evaluation.judge.client import KEY_VARIABLE
    from omnilmm_lite.evaluation.prompts import DECODING
    from omnilmm_lite.evaluation.running.session import Part, parse_shard
    from omnilmm_lite.evaluation.running.whole import Request
    from omnilmm_lite.sampling_params import sampling_params

    params = sampling_params(DECODING, sampling_options(args))
    if not params.is_greedy and params.seed is None:
        raise InputError("--temperature without --seed would answer differently each time; give a --seed, or neither")
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit: {args.limit} is out of range; give 1 or more")
    return Request(
        benchmarks=_places(args, benchmarks),
        folder=args.output,
        profile=Profile(args.profile),
        part=Part(args.limit, parse_shard(args.shard)),
        params=params,
        model=model_source(args),
        base=_base(args),
        machine=machine_options(args),
        parallel=parallel_of_each(args),
        judge=args.judge,
        judge_model=args.judge_model,
        judge_key=os.environ.get(KEY_VARIABLE),
        export=args.export_judge_requests,
        retry_errors=args.retry_errors,
        cluster=_cluster(args),
    )


def _cluster(args: argparse.Namespace) -> ClusterOptions | None:
    if args.ray is None:
        refuse_without_ray(args)
        return None
    from omnilmm_lite.cluster.connection import check_installed

    options = cluster_options(args, BATCH)
    if args.ray.startswith("ray://"):  # whose driver would be another machine than the one with the data
        raise InputError(
            f"--ray {args.ray}: make this machine a node (`ray start`), and give host:port, without ray://"
        )
    if args.against is not None and args.pull is not None:
        raise InputError("--against: nodes pull one model; give --deliver path or store")
    check_installed()
    return options


def _base(args: argparse.Namespace) -> ModelSource | None:
    from omnilmm_lite.model_source import find_source

    weights = None if args.against_weights is None else Weights(args.against_weights)
    if args.against is not None:
        return find_source(args.against, weights, args.open_checkpoint)
    if weights is not None:
        raise InputError("--against-weights: there is no --against that it could be for")
    return None


def _places(args: argparse.Namespace, benchmarks: list[Benchmark]) -> dict[Benchmark, Path]:
    """Where each one's data lies; of `all`, those whose data is there."""
    from omnilmm_lite.evaluation.data.places import find_data

    found = {each: find_data(each, args.data, alone=len(benchmarks) == 1) for each in benchmarks}
    missing = [each for each, path in found.items() if path is None]
    if missing and ALL not in args.names:
        raise InputError(f"--data: {args.data} has no {missing[0]}: {REQUIREMENTS[missing[0]].data}")
    if len(missing) == len(found):
        raise InputError(
            f"--data: {args.data} has none of the benchmarks; `omnilmm-lite eval list` says what to put there"
        )
    if missing:
        print(f"not in {args.data}, so left out: {', '.join(missing)}", file=sys.stderr)
    return {each: path for each, path in found.items() if path is not None}


def _check(args: argparse.Namespace, benchmarks: list[Benchmark]) -> None:
    """OmniLMMError, behind a line on each, where there are problems."""
    from omnilmm_lite.evaluation.checks import check, check_pictures
    from omnilmm_lite.evaluation.data.opening import open_data

    total = 0
    for benchmark, path in _places(args, benchmarks).items():
        data = open_data(benchmark, path)
        count = 0
        for problem in (*check(data), *check_pictures(data.items)):
            print(f"{benchmark}: {problem}")
            count += 1
        print(f"{benchmark}: {counted(len(data.items), 'row')}, {counted(count, 'problem')}")
        total += count
    if total:
        raise OmniLMMError(
            f"--check: {counted(total, 'problem')}, named above; take the data as its authors publish it"
        )
