"""Fuzzes the parsers of foreign bytes, each for some minutes. Exit code 1 where one did wrong.

python -m tests.fuzz                                  all targets, ten minutes each
python -m tests.fuzz manifest picture --seconds 60    two of them
python -m tests.fuzz manifest --file FILE             one input again, with what comes of it
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from tests.fuzz.attempt import attempt
from tests.fuzz.campaign import fuzz
from tests.fuzz.findings import Findings
from tests.fuzz.fuzz_target import load_target, target_modules

SECONDS = int(os.environ.get("FUZZ_SECONDS", "600"))
FOLDER = Path("benchmark-work") / "fuzz"


def main() -> int:
    args = _arguments()
    if args.file is not None:
        return _again(args.targets[0], args.file)
    wrong = 0
    for name in args.targets or target_modules():
        folder = args.folder.absolute() / name
        result = fuzz(name, folder, args.seconds, args.seed, plain=args.plain)
        print(f"{name}: {result.inputs:,} inputs, {len(result.findings)} findings; --seed {args.seed}", flush=True)
        for file in result.findings:
            print(
                f"  {Findings(file.parent).kind(file)}\n    python -m tests.fuzz {name} --file {shlex.quote(str(file))}"
            )
        wrong += len(result.findings)
    return 1 if wrong else 0


def _again(name: str, file: Path) -> int:
    finding = attempt(load_target(name), file.read_bytes())
    print("nothing is wrong with it" if finding is None else f"{finding.kind}\n{finding.trace}")
    return 0 if finding is None else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(target_modules())}")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target (%(default)s, or FUZZ_SECONDS)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (%(default)s)")
    parser.add_argument("--plain", action="store_true", help="not guided by coverage, also where atheris is installed")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for findings and corpora (%(default)s)")
    parser.add_argument("--file", type=Path, help="try this input and nothing else")
    args = parser.parse_args()
    if unknown := {*args.targets} - target_modules().keys():
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if args.file is not None and len(args.targets) != 1:
        parser.error("--file goes with one target")
    return args


if __name__ == "__main__":
    sys.exit(main())
