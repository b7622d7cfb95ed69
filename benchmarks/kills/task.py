"""The commands that are killed, and what must come out of each however often that happens."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "examples" / "tiny" / "checkpoint"
PICTURES = ROOT / "examples" / "pictures"
UNSAVED = ("timings",)  # of a caption's line: seconds
FEW = ("--samples", "4", "--answer-tokens", "0")  # quantizing at all is what takes long


@dataclass(frozen=True)
class Task:
    """A command by name. `words` come behind the program's name; {out} stands for the place that it writes to."""

    name: str
    words: Sequence[str]
    out: str  # its name, within a folder of its own

    def start(self, folder: Path, file_bytes: int | None = None) -> subprocess.Popen[str]:
        """The command in a process of its own, which writes into `folder`, files of at most `file_bytes`."""
        words = [word.format(out=folder / self.out) for word in self.words]
        limit = [] if file_bytes is None else ["prlimit", f"--fsize={file_bytes}"]
        command = [*limit, sys.executable, "-m", "cli", *words]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def result(self, folder: Path) -> dict[str, str]:
        """sha256 of what came out, file by file; of captions without their seconds."""
        out = folder / self.out
        if out.is_dir():
            paths = sorted(path for path in out.rglob("*") if path.is_file())
            return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        if out.suffix == ".jsonl":
            lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
            kept = [{name: value for name, value in line.items() if name not in UNSAVED} for line in lines]
            return {out.name: hashlib.sha256(json.dumps(kept).encode()).hexdigest()}
        return {out.name: hashlib.sha256(out.read_bytes()).hexdigest()}

    def leftovers(self, folder: Path) -> list[str]:
        """Files that nobody will ever use again, once the command has ended well."""
        endings = (".partial", ".lock", ".tmp")
        return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name.endswith(endings))


def convert(preset: str, *more: str) -> Task:
    words = ("convert", str(CHECKPOINT), "{out}", "--preset", preset, *more)
    return Task(" ".join(("convert", preset, *(word for word in more if word not in FEW))), words, "bundle")


TASKS = (
    Task("caption", ("caption", str(PICTURES), "-o", "{out}", "--greedy"), "out.jsonl"),
    convert("reference"),
    convert("cpu", *FEW),
    convert("cpu-small", *FEW),
    convert("24gb", *FEW),
    convert("16gb", *FEW),
    convert("12gb", *FEW),
    convert("8gb", *FEW),
    convert("cpu", *FEW, "--target-size", "2.6MB"),
    Task(
        "quality", ("quality", "tiny", "--against", str(CHECKPOINT), "--samples", "4", "--html", "{out}"), "report.html"
    ),
)
