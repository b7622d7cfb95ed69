"""What nobody has seen of the CUDA path, settled by one command:

    make check-card                                                   # installs what it needs, then as below
    python -m benchmarks.card --work benchmark-work/card              # about eight minutes
    python -m benchmarks.card --work FOLDER --device cpu --small      # tries every stage's code without a card

Each stage is a process of its own with its own limit of time. One that has a result isn't run again, unless the card,
the driver or a version has changed since; so the same command goes on where it was stopped, or where its budget ended.
The report is printed at the end, and lies as report.md and report.json in OUT, with all logs. Without a card, only what
needs none is run, at small size, on the CPU.

Exit codes: 0; 1 where a stage failed or the card answers otherwise than the CPU; 2 for wrong usage; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.card import child
from benchmarks.card.background import building, describe, lacks_room, missing_bytes
from benchmarks.card.card import made_with
from benchmarks.card.report.report import Report
from benchmarks.card.result import Result
from benchmarks.card.run import SHARED_MEMORY, Run, bundle_folder
from benchmarks.card.stage import STAGES, Stage
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.durable_file import write_text
from omnilmm_lite.files.json_file import read_json
from omnilmm_lite.machine.card import read_cards

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
BUDGET_S = 480.0
LEAST_S = 15.0  # that a stage is begun with


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else a child would go on alone
    try:
        return check(args)
    except InputError as error:
        return _complain(error, USAGE)
    except OmniLMMError as error:
        return _complain(error, FAILURE)
    except KeyboardInterrupt:
        return _complain("stopped; the same command goes on here", INTERRUPTED)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="for results and logs")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the report (default: WORK)")
    parser.add_argument("--bundles", type=Path, metavar="FOLDER", help="for 26 GB of bundles (default: shared memory "
                        "where it has the room, else WORK)")  # fmt: skip
    parser.add_argument("--budget", type=float, default=BUDGET_S, metavar="S", help="seconds for all (%(default)s)")
    names = ",".join(stage.name for stage in STAGES)
    parser.add_argument("--stages", default=names, metavar="A,B", help="which, in which order (%(default)s)")
    parser.add_argument("--device", choices=[device.value for device in Device], default=Device.CUDA.value)
    parser.add_argument("--small", action="store_true", help="two layers and two blocks, and small products")
    return parser


def check(args: argparse.Namespace) -> int:
    """Runs what has no result yet, and reports. InputError for a stage that there isn't."""
    stages = parse_stages(args.stages)
    if args.budget <= 0:
        raise InputError(f"--budget: {args.budget:g} is out of range; give seconds above 0")
    cards, device, small = read_cards(), Device(args.device), args.small
    skipped: dict[str, str] = {}
    if device is Device.CUDA and not cards.found:
        say(f"no card was checked ({cards.reason}): what needs none runs at small size, on the CPU")
        device, small = Device.CPU, True
        skipped = {stage.name: "it needs a card" for stage in stages if not stage.alone}
    work = args.work.resolve()
    bundles = args.bundles.resolve() if args.bundles else bundle_folder(work)
    run = Run(work, bundles, device, small=small)
    run.save()
    made = made_with(cards, device, run.size)
    measure(run, [stage for stage in stages if stage.name not in skipped], made, args.budget, skipped)
    code = publish(run, stages, made, skipped, args.out.resolve() if args.out else work)
    tidy(run, made)
    return code


def parse_stages(text: str) -> list[Stage]:
    """InputError, which lists them, for a name that isn't one."""
    known = {stage.name: stage for stage in STAGES}
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"--stages: {unknown[0]!r} is unknown; choose of {','.join(known)}")
    return [known[name] for name in names]


def measure(run: Run, stages: Sequence[Stage], made: dict[str, str], budget_s: float, skipped: dict[str, str]) -> None:
    """All that have no result that counts, until the budget ends. `skipped` gets those that weren't run, and why."""
    ends = time.monotonic() + budget_s
    todo = [stage for stage in stages if not is_done(run, stage, made)]
    if missing := missing_bytes(run, todo):
        if why := lacks_room(run, missing):
            skipped |= {stage.name: why for stage in todo if stage.needs_build}
            todo = [stage for stage in todo if not stage.needs_build]
        else:
            say(describe(run, missing))
    with building(run, todo):
        for number, stage in enumerate(todo, start=1):
            left = ends - time.monotonic()
            if left < min(LEAST_S, stage.limit(run)):
                skipped[stage.name] = f"the budget of {budget_s:.0f} s had ended: the same command goes on here"
                continue
            say(f"[{number}/{len(todo)}] {stage.name}: {min(left, stage.limit(run)):.0f} s at most")
            result = run_stage(run, stage, made, min(left, stage.limit(run)))
            say(f"    {result.seconds:.1f} s{'' if result.failure is None else f': {result.failure}'}")


def is_done(run: Run, stage: Stage, made: dict[str, str]) -> bool:
    """Whether its result counts: made with the same card and versions."""
    found = Result.read(run.result(stage.name))
    return found is not None and found.counts(made)


def run_stage(run: Run, stage: Stage, made: dict[str, str], limit_s: float) -> Result:
    """In a process of its own. Its result, which is kept also where it failed, with what it had saved until then."""
    run.partial(stage.name).unlink(missing_ok=True)
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.card.stages", stage.name, run.work]
    ended = child.run(command, run.log(stage.name), limit_s)
    data = {}
    with contextlib.suppress(InputError):  # it may have saved nothing
        data = read_json(run.partial(stage.name))
    result = Result(stage.name, made, at, round(ended.seconds, 1), ended.failure, data)
    result.write(run.result(stage.name))
    return result


def publish(run: Run, stages: Sequence[Stage], made: dict[str, str], skipped: dict[str, str], out: Path) -> int:
    """Writes and prints the report; the exit code."""
    found = {stage.name: Result.read(run.result(stage.name)) for stage in stages if stage.name not in skipped}
    results = {name: each for name, each in found.items() if each is not None and each.made_with == made}
    report = Report(made, results, skipped)
    out.mkdir(parents=True, exist_ok=True)
    text = report.markdown()
    write_text(out / "report.md", text)
    write_text(out / "report.json", json.dumps(report.to_dict(), indent=1) + "\n")
    logs = sorted((run.work / "logs").glob("*.log"))
    joined = "".join(f"==== {log.name}\n{log.read_text(encoding='utf-8', errors='replace')}\n" for log in logs)
    write_text(out / "logs.txt", joined)
    print(text, end="")
    say(f"report: {out / 'report.md'}")
    return FAILURE if report.is_wrong else 0


def tidy(run: Run, made: dict[str, str]) -> None:
    """Bundles in shared memory are gone once no stage is left that needs them; until then it is said where they are."""
    if not run.bundles.is_relative_to(SHARED_MEMORY):
        return
    if all(is_done(run, stage, made) for stage in STAGES if stage.needs_build):
        shutil.rmtree(run.bundles)
    else:
        say(f"{run.bundles} takes memory until it is removed: it is kept for the stages that are left")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _complain(error: object, code: int) -> int:
    say(f"benchmarks.card: {error}")
    return code


if __name__ == "__main__":
    sys.exit(main())
