"""The decoder against llama.cpp and OpenVINO, interleaved on one machine.

    python3.11 -m venv peers && peers/bin/pip install -r benchmarks/peers/requirements.txt
    peers/bin/python -m benchmarks.peers.make_gguf --out FILE.gguf
    peers/bin/python -m benchmarks.peers.make_openvino --out FOLDER
    python -m benchmarks.peers --ours BUNDLE --llama FILE.gguf --openvino FOLDER --python peers/bin/python

All have the decoder's real shapes and 4-bit weights; theirs are random. In every round each engine gets a process of
its own, one after another: it loads, warms up with the very shapes that are timed, measures once and ends. Nothing
else should run meanwhile. The JSON is printed last; progress and the table go to standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.report import markdown, summarize
from benchmarks.peers.task import Measurement, Task, add_task_options, parse_task
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.processor import instruction_sets, processor_name

ROOT = Path(__file__).parent.parent.parent
REPEAT = 5
USAGE = 2


@dataclass(frozen=True)
class Worker:
    """How to run an engine: with which interpreter, which module, on which model."""

    python: str
    module: str
    model: Path

    def run(self, task: Task) -> Measurement:
        """One round's measurement. InputError shows the end of what the engine said when it failed."""
        command = [
            str(Path(shutil.which(self.python) or self.python).absolute()),
            "-m",
            self.module,
            "--model",
            str(self.model.resolve()),
            *task.arguments(),
        ]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        except OSError as error:
            raise InputError(f"{self.python}: it can't be run: {error.strerror}") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise InputError(f"{self.module} failed on {self.model}: {last}")
        return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def run_rounds(workers: Sequence[Worker], task: Task, repeat: int) -> list[list[Measurement]]:
    """Every worker once a round, in turn."""
    rounds = []
    for number in range(1, repeat + 1):
        measurements = []
        for worker in workers:
            found = worker.run(task)
            measurements.append(found)
            print(
                f"round {number}/{repeat}, {found.engine}: prefill {found.prefill_tokens_per_s:.1f} tok/s, decode "
                f"{found.decode_tokens_per_s:.2f} tok/s, loaded in {found.load_s:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        rounds.append(measurements)
    return rounds


def main() -> int:
    """The exit code: 2 where an engine can't be run."""
    args = build_parser().parse_args()
    try:
        compare(args)
    except InputError as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return USAGE
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, required=True, metavar="BUNDLE", help="made by convert, for the CPU")
    parser.add_argument("--llama", type=Path, metavar="FILE", help="made by make_gguf")
    parser.add_argument("--openvino", type=Path, metavar="FOLDER", help="made by make_openvino")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the peers' packages")
    parser.add_argument(
        "--openvino-python", metavar="PYTHON", help="OpenVINO's, where it has an environment of its own"
    )
    parser.add_argument("--repeat", type=int, default=REPEAT, help=f"rounds ({REPEAT})")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    parser.add_argument("--table", type=Path, help="also write the markdown table to this file")
    add_task_options(parser)
    return parser


def compare(args: argparse.Namespace) -> None:
    """All rounds; the JSON, and the table."""
    workers = [Worker(sys.executable, "benchmarks.peers.ours", args.ours)]
    if args.llama:
        workers.append(Worker(args.python, "benchmarks.peers.llama", args.llama))
    if args.openvino:
        workers.append(Worker(args.openvino_python or args.python, "benchmarks.peers.openvino_cpu", args.openvino))
    task = parse_task(args)
    rounds = run_rounds(workers, task, args.repeat)
    lines = summarize(rounds)
    processor = f"{processor_name()} ({', '.join(instruction_sets()) or 'instruction sets unknown'})"
    table = markdown(lines, task, args.repeat, processor)
    print(table, file=sys.stderr)
    found = {
        "task": dataclasses.asdict(task),
        "processor": processor,
        "summary": [dataclasses.asdict(line) for line in lines],
        "rounds": [[dataclasses.asdict(each) for each in measurements] for measurements in rounds],
    }
    print(json.dumps(found))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")
    if args.table:
        args.table.write_text(table)


if __name__ == "__main__":
    sys.exit(main())
