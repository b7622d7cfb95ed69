"""The measured part of docs/performance.md, from nothing:

    make bench-real                            # hours, and tens of GB on disk: it says how many before it starts
    make bench-real PEERS=peers/bin/python     # the decoder against llama.cpp and OpenVINO, too
    python -m benchmarks.real --work FOLDER --layers 2 --blocks 2     # the same in minutes

A synthetic checkpoint of OmniLMM-12B's shapes is made, its decoder rounded, and both converted, timed and compared with
what `plan` had said. Every step is a process of its own and leaves a JSON file in WORK/results; the same command goes
on where it was stopped. `--prepare` does all but the timing, which wants a machine that does nothing else. Tables go to
WORK/results.md, plots to docs/images at full size, else to WORK/images.

`benchmarks/peers/requirements.txt` is what the environment of PEERS has to have.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real import room
from benchmarks.real.child import ROOT
from benchmarks.real.settings import FULL, Run, Settings, claim
from benchmarks.real.stages import PRESETS, Stage, all_stages, preset_stages, remove_bundle
from benchmarks.real.tables import report
from omnilmm_lite.bench.settings import DEFAULT_DECODE_AT, DEFAULT_PREFILL, DEFAULT_REPEAT, parse_lengths
from omnilmm_lite.errors import InputError, OmniLMMError

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
PEER_PACKAGES = ("gguf", "llama_cpp", "openvino")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else a child would go on alone
    try:
        measure(parse_run(args), prepare_only=args.prepare, images=args.images)
    except InputError as error:
        return _complain(error, USAGE)
    except OmniLMMError as error:
        return _complain(error, FAILURE)
    except KeyboardInterrupt:
        return _complain("stopped; the same command goes on here", INTERRUPTED)
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.real", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="for everything that is made")
    parser.add_argument(
        "--layers", type=int, default=FULL.decoder.num_hidden_layers, help="of the decoder (%(default)s)"
    )
    parser.add_argument("--blocks", type=int, default=FULL.vision.num_hidden_layers, help="of the tower (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (%(default)s)")
    parser.add_argument("--prefill", default=DEFAULT_PREFILL, metavar="N,N", help="lengths (%(default)s)")
    parser.add_argument("--decode-at", default=DEFAULT_DECODE_AT, metavar="N,N", help="context (%(default)s)")
    parser.add_argument("--repeat", type=int, default=DEFAULT_REPEAT, help="runs, and rounds with peers (%(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a core that is worth it")
    parser.add_argument("--presets", metavar="P,P", help=f"which, in which order ({','.join(PRESETS)})")
    made = parser.add_argument_group("made earlier, to spare time and room")
    made.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="by benchmarks.make_checkpoint")
    made.add_argument("--gptq", type=Path, metavar="FOLDER", help="by benchmarks.round_decoder, of --checkpoint")
    made.add_argument("--gguf", type=Path, metavar="FILE", help="by benchmarks.peers.make_gguf")
    made.add_argument("--openvino", type=Path, metavar="FOLDER", help="by benchmarks.peers.make_openvino")
    parser.add_argument(
        "--peers", type=Path, metavar="PYTHON", help="of the peers' environment; without, they are skipped"
    )
    parser.add_argument("--prepare", action="store_true", help="do only what may run beside other work")
    parser.add_argument("--remove-bundles", action="store_true", help="each one once it has been measured")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="for the plots")
    return parser


def parse_run(args: argparse.Namespace) -> Run:
    """InputError for what can't be."""
    for option, value in (("--layers", args.layers), ("--blocks", args.blocks), ("--repeat", args.repeat)):
        if value < 1:
            raise InputError(f"{option}: {value} is out of range; give 1 or more")
    if args.threads is not None and args.threads < 1:
        raise InputError(f"--threads: {args.threads} is out of range; give 1 or more")
    for option, text in (("--prefill", args.prefill), ("--decode-at", args.decode_at)):
        parse_lengths(option, text)
    if args.gptq is not None and args.checkpoint is None:
        raise InputError("--gptq: name the --checkpoint, too, that it was made from")
    for option in ("checkpoint", "gptq", "gguf", "openvino"):
        path: Path | None = getattr(args, option)
        if path is not None and not path.exists():
            raise InputError(f"--{option}: {path}: there is no such file or folder; make it, or leave the option out")
    if args.peers is not None:
        _check_peers(args.peers)
    presets = () if args.presets is None else tuple(args.presets.split(","))
    if unknown := [name for name in presets if name not in PRESETS]:
        raise InputError(f"--presets: {unknown[0]!r} isn't measured here; choose of {', '.join(PRESETS)}")
    names = {field.name for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in vars(args).items() if name in names}
    for name in ("checkpoint", "gptq"):
        given[name] = None if given[name] is None else str(given[name].resolve())
    return Run(
        Settings(**given),
        work=args.work.resolve(),
        peers=None if args.peers is None else args.peers.absolute(),  # not resolved: a venv's python is a link
        gguf=None if args.gguf is None else args.gguf.resolve(),
        openvino=None if args.openvino is None else args.openvino.resolve(),
        presets=presets,
        remove_bundles=args.remove_bundles,
    )


def _check_peers(python: Path) -> None:
    """InputError where that isn't the peers' environment: said now, not after hours."""
    command = [str(python.absolute()), "-c", f"import {', '.join(PEER_PACKAGES)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise InputError(f"--peers: {python} can't be run: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"--peers: {python}: {last}; install benchmarks/peers/requirements.txt there")


def measure(run: Run, *, prepare_only: bool, images: Path | None) -> None:
    """All stages that have no result yet; then tables and plots of those that have."""
    claim(run)
    stages = list(all_stages(run))
    todo = [stage for stage in stages if not stage.is_done(run) and not (prepare_only and stage.measures_speed)]
    _announce(run, stages, todo, prepare_only)
    for number, stage in enumerate(todo, start=1):
        _run_stage(stage, run, f"{number}/{len(todo)}")
        if run.remove_bundles:
            _remove_measured(run)
    render(run, stages, images)


def _announce(run: Run, stages: list[Stage], todo: list[Stage], prepare_only: bool) -> None:
    found = room.needs(run, todo)
    needed = room.peak(found, removed=run.remove_bundles and not prepare_only)
    say(f"{len(stages) - len(todo)} of {len(stages)} stages are done or left for later; now: "
        f"{', '.join(stage.name for stage in todo) or 'none'}")  # fmt: skip
    if run.peers is None:
        say("llama.cpp and OpenVINO are skipped: give --peers PYTHON, which has benchmarks/peers/requirements.txt")
    if found:
        parts = ", ".join(f"{need.name} {need.size / room.GB:.1f}" for need in found)
        say(f"disk, at most: {needed / room.GB:.1f} GB more in {run.work} ({parts})")
    room.check_room(run, needed)


def _run_stage(stage: Stage, run: Run, place: str) -> None:
    started = time.monotonic()
    say(f"[{place}] {stage.name}{': nothing else should run now' if stage.measures_speed else ''}")

    def show(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        say(f"    {minutes:3}:{seconds:02}  {line}")

    try:
        stage.run(run, show)
    except OmniLMMError as error:
        raise type(error)(f"{stage.name}: {error}") from None
    show("done")


def _remove_measured(run: Run) -> None:
    for preset in PRESETS:
        if all(stage.is_done(run) for stage in preset_stages(preset, run)) and remove_bundle(preset, run):
            say(f"    {run.bundle(preset)} is measured and removed")


def render(run: Run, stages: list[Stage], images: Path | None) -> None:
    """Tables and plots of all results there are."""
    results = {stage.name: found for stage in stages if (found := run.read(stage.name)) is not None}
    text = report(results, run.settings)
    file = run.work / "results.md"
    file.write_text(text, encoding="utf-8")
    print(text)
    say(f"tables: {file}")
    from benchmarks.real.images import draw

    folder = images or (ROOT / "docs" / "images" if run.settings.is_full_size else run.work / "images")
    for path in draw(results, folder):
        say(f"plot: {path}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _complain(error: object, code: int) -> int:
    say(f"benchmarks.real: {error}")
    return code


if __name__ == "__main__":
    sys.exit(main())
