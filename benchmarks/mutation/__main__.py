"""Makes each mistake in a temporary copy of the tree, runs its tests there, and prints which were noticed.

`python -m benchmarks.mutation [WORD ...]`: those alone whose file's name holds one of the words. One process, tens of
minutes for all of them on two cores. Ends with 1 where a mutant survived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from benchmarks.mutation import conversion_mutants, runtime_mutants
from benchmarks.mutation.mutant import Mutant
from omnilmm_lite.errors import InputError, OmniLMMError

MUTANTS = (*runtime_mutants.MUTANTS, *conversion_mutants.MUTANTS)
ROOT = Path(__file__).parents[2]
LEFT_OUT = (".*", "__pycache__", "build", "dist", "*.egg-info", "shared", "benchmark-work")
LIMIT_S = 300  # a mutant that hangs is noticed as well


class Fate(Enum):
    KILLED = "killed"
    SURVIVED = "SURVIVED"


def pass_tests(root: Path, tests: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    # compiled files are told apart by seconds and sizes, which a mutant may share with the code
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def fate(root: Path, mutant: Mutant) -> Fate:
    text = mutant.apply(root)
    try:
        return Fate.SURVIVED if pass_tests(root, mutant.tests) else Fate.KILLED
    finally:
        mutant.undo(root, text)


def main(words: Sequence[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.file for word in words)]
    if not chosen:
        raise InputError(f"{' '.join(words)}: no mutant's file has that in its name; leave it out for all of them")
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        for mutant in chosen:  # one that is out of date says so now, not in half an hour
            mutant.undo(root, mutant.apply(root))
        for tests in dict.fromkeys(mutant.tests for mutant in chosen):
            if not pass_tests(root, tests):  # then a failure would say nothing
                raise OmniLMMError(f"{tests}: these tests fail on the code as it is; see `python -m pytest {tests}`")
        for number, mutant in enumerate(chosen, 1):
            found = fate(root, mutant)
            survived += found is Fate.SURVIVED
            print(f"{number}/{len(chosen)} {found.value}: {mutant}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutants were killed")
    return 1 if survived else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OmniLMMError as error:
        sys.exit(str(error))
