"""The commands that are killed, and what must come out of each however often that happens."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import easy_vqa

from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import PRESETS

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "examples" / "tiny" / "checkpoint"
PICTURES = ROOT / "examples" / "pictures"
UNSAVED = ("timings",)  # of a caption's line: seconds
FEW = ("--samples", "4", "--answer-tokens", "0")  # quantizing at all is what takes long
ENDINGS = (".partial", ".lock", ".tmp")  # of files that nobody uses once the command has ended well


@dataclass(frozen=True)
class Task:
    """A command by name. In `words`, which come behind the program's name, {out} stands for the place that it writes
    to, {folder} for the folder of that, and {gptq} for a GPTQ folder that is there."""

    name: str
    words: Sequence[str]
    out: str  # its name, within a folder of its own

    def start(self, folder: Path, gptq: Path, file_bytes: int | None = None) -> subprocess.Popen[str]:
        """The command in a process of its own, which writes into `folder`, files of at most `file_bytes`."""
        places = {"out": folder / self.out, "folder": folder, "gptq": gptq}
        words = [word.format(**places) for word in self.words]
        limit = [] if file_bytes is None else ["prlimit", f"--fsize={file_bytes}"]
        command = [*limit, sys.executable, "-m", "cli", *words]
        # what a command remembers between its runs is not to pass from one trial to another
        environment = {**os.environ, "OMNILMM_HOME": str(folder / "home")}
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def result(self, folder: Path) -> dict[str, str]:
        """sha256 of what came out, file by file; of captions without their seconds. Empty where nothing did."""
        out = folder / self.out
        if out.is_dir():
            paths = sorted(path for path in out.rglob("*") if path.is_file())
            return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        if not out.exists():
            return {}
        if out.suffix == ".jsonl":
            lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
            kept = [{name: value for name, value in line.items() if name not in UNSAVED} for line in lines]
            return {out.name: hashlib.sha256(json.dumps(kept).encode()).hexdigest()}
        return {out.name: hashlib.sha256(out.read_bytes()).hexdigest()}

    def at(self, out: str, *more: str) -> Task:
        """The same command with another place to write to, and more words."""
        return replace(self, words=(*self.words, *more), out=out)


def leftovers(folder: Path) -> list[str]:
    """Files that nobody will ever use again, once each command that wrote there has ended well."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name.endswith(ENDINGS))


@dataclass(frozen=True)
class Pair:
    """Two different commands that are run at once. Where they write to one place, the one that comes first has it;
    where they only share a work folder, whoever was turned away gets its own result by coming again."""

    name: str
    first: Task
    second: Task

    @property
    def share_out(self) -> bool:
        return self.first.out == self.second.out


def convert(preset: str, *more: str, few: Sequence[str] = FEW) -> Task:
    """`few`: the options that keep it short, where it quantizes at all; the task's name leaves them out."""
    quantizes = PRESETS[preset].quantized and "--gptq" not in more
    words = ("convert", str(CHECKPOINT), "{out}", "--preset", preset, *more, *(few if quantizes else ()))
    return Task(" ".join(("convert", preset, *(word for word in more if word != "{gptq}"))), words, "bundle")


CAPTION = Task("caption", ("caption", str(PICTURES), "-o", "{out}", "--greedy"), "out.jsonl")
QUALITY = Task(
    "quality",
    ("quality", "tiny", "--against", str(CHECKPOINT), "--samples", "4", "--html", "{out}"),
    "report.html",
)
EASY_VQA = Path(easy_vqa.__file__).parent / "data" / "test"
EVAL = Task("eval", ("eval", "easyvqa", "--data", str(EASY_VQA), "-o", "{out}", "--limit", "1000"), "run")
FPA_INTB = Packing.FPA_INTB.value

# `bench` writes no file.
TASKS = (
    *map(convert, PRESETS),
    convert("24gb", "--packing", FPA_INTB),
    convert("cpu", "--target-size", "2.6MB"),
    convert("cpu-small", "--gptq", "{gptq}"),
    convert("cpu-small", "--answer-tokens", "4", few=FEW[:2]),
    CAPTION,
    QUALITY,
    EVAL,
)
PAIRS = (
    Pair("`convert cpu-small` and `24gb`, one OUT", convert("cpu-small"), convert("24gb")),
    Pair(
        "`convert cpu-small` and `24gb`, one work folder",
        convert("cpu-small").at("bundle", "--work-dir", "{folder}/work"),
        convert("24gb").at("other", "--work-dir", "{folder}/work"),
    ),
    Pair("two prompts of `caption`, one OUT", CAPTION, CAPTION.at(CAPTION.out, "-p", "What is this?")),
)
