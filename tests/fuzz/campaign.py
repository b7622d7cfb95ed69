"""Fuzzes a target for some time, in processes of its own: one that dies or hangs is a finding, too."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.attempt import Finding
from tests.fuzz.findings import Findings
from tests.fuzz.last_input import LAST_INPUT, read_last_input
from tests.fuzz.scratch import VARIABLE, new_scratch
from tests.paths import ROOT

PATIENCE = 120  # seconds for a process that hangs where no alarm reaches it
BEGINNING = 600  # until its first input: torch is imported, and the machine may be busy
MOST_DEATHS = 10


@dataclass(frozen=True)
class Result:
    inputs: int
    findings: tuple[Path, ...]


def fuzz(name: str, folder: Path, seconds: int, seed: int, *, plain: bool) -> Result:
    """Tries the target `name` for so long. `folder` keeps what reached new lines, if that is known, and findings."""
    folder.mkdir(parents=True, exist_ok=True)
    findings, inputs = Findings(folder / "findings"), 0
    end = time.monotonic() + seconds
    for death in range(MOST_DEATHS):
        left = round(end - time.monotonic())
        if left <= 0:
            break
        scratch = new_scratch()
        try:
            end_of_it = _run(name, folder, scratch, left, seed + death, plain)
            tried, data = read_last_input(scratch / LAST_INPUT)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        inputs += tried
        if not end_of_it:
            break
        tail = (folder / "log").read_bytes()[-2000:].decode("utf-8", "replace")
        findings.add(data, Finding(end_of_it, tail))
    return Result(inputs, tuple(findings.files()))


def _run(name: str, folder: Path, scratch: Path, seconds: int, seed: int, plain: bool) -> str:
    """How a worker ended, in words; nothing where all went well."""
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(folder), f"--seconds={seconds}", f"--seed={seed}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command + ["--plain"] * plain,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env=os.environ | {VARIABLE: str(scratch), "OMP_NUM_THREADS": "1"},
        )
        try:
            if _hangs(process, scratch / LAST_INPUT):
                return "hangs where no alarm reaches it"
            return _said(process.wait())
        finally:
            process.kill()
            process.wait()


def _hangs(process: subprocess.Popen[bytes], last: Path) -> bool:
    """Waits for the process's end, or until it has taken too long for an input."""
    begun = time.time()
    while process.poll() is None:
        time.sleep(0.2)
        if time.time() > (last.stat().st_mtime + PATIENCE if last.is_file() else begun + BEGINNING):
            return True
    return False


def _said(code: int) -> str:
    if code < 0:
        return f"dies of {signal.Signals(-code).name}"
    return f"ends with code {code}" if code else ""
