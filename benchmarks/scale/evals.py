"""`eval --ray` when processes die: `python -m benchmarks.scale.evals --dev PYTHON`, in an environment with Ray.

The tests' small data files of every benchmark, drawn by PYTHON (an environment with the tests' packages), are answered
by the built-in model on two nodes on this machine. Twice a worker is killed (SIGKILL), once the driver, after which the
same command goes on. Then every file is held against those of a run without Ray. The exit code is 1 where a byte
differs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.scale.local_cluster import PATIENCE_S, kill_worker, local_cluster

PROGRAM = [sys.executable, "-P", "-m", "cli", "eval", "all", "--model", "tiny", "--max-new-tokens", "16"]
ONE_THREAD = ["--threads", "1"]
CLUSTER = ["--workers", "2", "--batch", "2"]


def answers(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*.jsonl"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def wait_for(folder: Path, count: int, driver: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while answers(folder) < count:
        if driver.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"the run ended, or stood still, before {count} questions were answered")
        time.sleep(0.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", required=True, metavar="PYTHON", help="of an environment with the tests' packages")
    parser.add_argument("--seed", type=int, default=25, metavar="N", help="of which worker is killed, and when")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evals-") as folder:
        work = Path(folder)
        data, alone, out = work / "data", work / "alone", work / "out"
        data.mkdir()
        subprocess.run([args.dev, "-m", "tests.evaluation.mini_sets", str(data)], check=True)
        subprocess.run([*PROGRAM, "--data", str(data), "-o", str(alone), *ONE_THREAD], check=True, capture_output=True)
        return _run(data, out, contents(alone), random.Random(args.seed))


def _run(data: Path, out: Path, wanted: dict[str, bytes], chance: random.Random) -> int:
    total = sum(content.count(b"\n") for name, content in wanted.items() if name.endswith(".jsonl"))
    with local_cluster(2) as cluster:
        command = [*PROGRAM, "--data", str(data), "-o", str(out), *ONE_THREAD, "--ray", cluster.address, *CLUSTER]
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _kill(out, round(total * chance.uniform(0.02, 0.2)), driver, chance)
            wait_for(out, round(total * chance.uniform(0.3, 0.5)), driver)
            driver.kill()
            driver.wait()
            print(f"killed the driver at {answers(out)} of {total} answers", flush=True)
            driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _kill(out, round(total * chance.uniform(0.6, 0.8)), driver, chance)
            code = driver.wait(PATIENCE_S)
        finally:
            driver.kill()
            driver.wait()
        again = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    found = contents(out)
    others = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    report = {"answers": answers(out), "wanted": total, "files that differ": others, "exit codes": [code, again]}
    print(json.dumps(report))
    return int(bool(others) or code != 0 or again != 0)


def _kill(out: Path, count: int, driver: subprocess.Popen[bytes], chance: random.Random) -> None:
    wait_for(out, count, driver)
    pid = kill_worker("EvalWorker", chance)
    print(f"killed worker {pid} at {answers(out)} answers", flush=True)


if __name__ == "__main__":
    sys.exit(main())
