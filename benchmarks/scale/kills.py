"""What a cluster's run is worth when its processes die: `python -m benchmarks.scale.kills`, in an environment with Ray.

Two nodes on this machine describe drawn pictures with the built-in model. Three times a worker is killed in mid-batch
(SIGKILL), once the driver, and at last a whole node; the same command goes on each time. Then the rows are held against
those of one process without Ray. The exit code is 1 where one is missing, is there twice, or says something else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.scale.drawn import draw
from benchmarks.scale.local_cluster import PATIENCE_S, kill_worker, local_cluster

PROGRAM = [sys.executable, "-P", "-m", "cli"]
OPTIONS = ["-p", "What is this?", "--greedy", "--model", "tiny"]
ONE_THREAD = ["--threads", "1"]
Row = tuple[str, str, str, str]


def rows(folder: Path) -> Counter[Row]:
    found: Counter[Row] = Counter()
    for part in [folder] if folder.suffix else folder.glob("part-*.jsonl"):  # of a folder that may not be there yet
        for text in part.read_text(encoding="utf-8").splitlines(keepends=True):
            if not text.endswith("\n"):  # it is being written
                break
            line = json.loads(text)
            found[line["path"], line["sha256"], line.get("text", ""), line.get("error", "")] += 1
    return found


class Trial:
    """One output, and how often what was killed while it grew."""

    def __init__(self, pictures: Path, output: Path, address: str, count: int) -> None:
        self._command = [*PROGRAM, "caption", str(pictures), "--ray", address, *OPTIONS, *ONE_THREAD, "--workers", "2"]
        self._command += ["--batch", "32", "-o", str(output)]
        self._output, self._count = output, count
        self._chance = random.Random(25)
        self._driver: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        self._driver = subprocess.Popen(self._command)
        return self._driver

    def close(self) -> None:
        """Leaves no driver behind."""
        if self._driver is not None:
            self._driver.kill()
            self._driver.wait()

    def wait_for(self, done: float, driver: subprocess.Popen[bytes]) -> None:
        """Until that share of the rows is written, and a little longer: in mid-batch."""
        until = time.monotonic() + PATIENCE_S
        while rows(self._output).total() < done * self._count:
            if driver.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the run ended, or stood still, before {done:.0%} were written")
            time.sleep(0.2)
        time.sleep(self._chance.random() / 5)

    def kill_worker(self, driver: subprocess.Popen[bytes], done: float) -> None:
        self.wait_for(done, driver)
        pid = kill_worker("CaptionWorker", self._chance)
        print(f"killed worker {pid} at {rows(self._output).total()} rows", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000, metavar="N")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where files go (default: one that is removed)")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        return _run(work, args.pictures)
    finally:
        if args.work is None:
            shutil.rmtree(work)


def _run(work: Path, count: int) -> int:
    pictures, output, alone = work / "pictures", work / "out", work / "alone.jsonl"
    draw(pictures, count)
    subprocess.run([*PROGRAM, "caption", str(pictures), *OPTIONS, *ONE_THREAD, "-o", str(alone)], check=True)
    shutil.rmtree(output, ignore_errors=True)
    with local_cluster(2) as cluster, contextlib.ExitStack() as stack:
        trial = Trial(pictures, output, cluster.address, count)
        stack.callback(trial.close)
        driver = trial.start()
        for done in (0.05, 0.15, 0.25):
            trial.kill_worker(driver, done)
        trial.wait_for(0.4, driver)
        driver.kill()
        driver.wait()
        print(f"killed the driver at {rows(output).total()} rows", flush=True)
        driver = trial.start()
        trial.wait_for(0.6, driver)
        node = next(iter(cluster.worker_nodes))
        cluster.remove_node(node, allow_graceful=False)
        print(f"killed a node at {rows(output).total()} rows", flush=True)
        cluster.add_node(num_cpus=1, object_store_memory=200 * 2**20)
        if driver.wait(PATIENCE_S) != 0:
            return 1
        again = trial.start().wait(PATIENCE_S)
    return _judged(rows(output), rows(alone), again)


def _judged(found: Counter[Row], wanted: Counter[Row], again: int) -> int:
    report: dict[str, Any] = {
        "rows": found.total(),
        "missing": len(wanted - found),
        "doubles": found.total() - len({row[:2] for row in found}),
        "others": len(found - wanted),
        "exit code of a run with nothing to do": again,
    }
    print(json.dumps(report))
    return int(found != wanted or again != 0)


if __name__ == "__main__":
    sys.exit(main())
