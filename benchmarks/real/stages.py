"""The stages, in their order. Each one's result is a file, and a stage that has one isn't run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.real import child
from benchmarks.real.settings import Run
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_json

Json = dict[str, Any]
Show = Callable[[str], None]

MEASURED = ("cpu", "cpu-small")
CONVERTED_ONLY = ("24gb", "8gb")  # there is no card to run them on
PRESETS = (*MEASURED, *CONVERTED_ONLY)
AGAINST_PEERS = "cpu"

PICTURE = Path("examples/pictures/owl-on-a-photo.jpg")
# About 60 tokens, what a plan counts with.
QUESTION = (
    "Look at this picture and tell me what you see in it, from left to right: which people and things are there, what "
    "they look like and what they may be doing, what time of day it is, and whether anything is unusual about them."
)
ANSWER_TOKENS = 16


@dataclass(frozen=True)
class Stage:
    """`measures_speed`: nothing else should run on the machine meanwhile."""

    name: str
    action: Callable[[Run, Show], Json]
    measures_speed: bool = False

    def is_done(self, run: Run) -> bool:
        return run.result(self.name).is_file()

    def run(self, run: Run, show: Show) -> None:
        """`resumed` in the result: an earlier go was interrupted and may have done a part, which no figure counts."""
        begun = run.begun(self.name)
        resumed = begun.is_file()
        begun.touch()
        write_json(run.result(self.name), self.action(run, show) | {"resumed": resumed})
        begun.unlink()


def all_stages(run: Run) -> Iterator[Stage]:
    if run.settings.checkpoint is None:
        yield Stage("checkpoint", make_checkpoint)
    if run.settings.gptq is None:
        yield Stage("gptq", round_decoder)
    for preset in run.presets or PRESETS:
        yield from preset_stages(preset, run)


def preset_stages(preset: str, run: Run) -> Iterator[Stage]:
    yield Stage(f"convert-{preset}", partial(convert, preset))
    yield Stage(f"plan-{preset}", partial(plan, preset))
    if preset in MEASURED:
        yield Stage(f"run-{preset}", partial(answer, preset))
        yield Stage(f"bench-{preset}", partial(bench, preset), measures_speed=True)
    if preset == AGAINST_PEERS and run.peers is not None:
        if run.gguf is None:
            yield Stage("gguf", partial(make_peer, "benchmarks.peers.make_gguf", run.gguf_file))
        if run.openvino is None:
            yield Stage("openvino", partial(make_peer, "benchmarks.peers.make_openvino", run.openvino_folder))
        yield Stage("peers", compare, measures_speed=True)


# ---- what to measure with ----


def make_checkpoint(run: Run, show: Show) -> Json:
    settings = run.settings
    sizes = ("--layers", settings.layers, "--blocks", settings.blocks, "--seed", settings.seed)
    _discard(run.checkpoint)
    done = _python(run, "checkpoint", show, "-m", "benchmarks.make_checkpoint", run.checkpoint, *sizes)
    return _cost(done) | {"bytes": size_of(run.checkpoint)}


def round_decoder(run: Run, show: Show) -> Json:
    """Its layers lie beside the folder until then; those that are finished are taken up again."""
    _discard(run.gptq)
    done = _python(run, "gptq", show, "-m", "benchmarks.round_decoder", run.checkpoint, run.gptq)
    shutil.rmtree(run.gptq.with_name(f"{run.gptq.name}.layers"), ignore_errors=True)
    return _cost(done) | {"bytes": size_of(run.gptq)}


def convert(preset: str, run: Run, show: Show) -> Json:
    """All presets share the work folder: the int8 tower is calibrated once, in the first that wants it."""
    out, shared = run.bundle(preset), run.work / "shared"
    _discard(out)
    options = ("--preset", preset, "--gptq", run.gptq, "--work-dir", shared, "--json")
    done = _python(run, f"convert-{preset}", show, "-m", "cli", "convert", run.checkpoint, out, *options)
    return _cost(done) | {
        "bytes": size_of(out),
        "files": {path.name: path.stat().st_size for path in sorted(out.iterdir())},
        "work_bytes": size_of(shared),
        "conversion": json.loads(done.stdout),
    }


def plan(preset: str, run: Run, show: Show) -> Json:
    """Of the checkpoint, which is what somebody asks before converting, and of the bundle."""
    subjects = {"checkpoint": (run.checkpoint, "--preset", preset), "bundle": (_bundle(preset, run),)}
    plans = {}
    for name, words in subjects.items():
        done = _python(run, f"plan-{preset}-{name}", show, "-m", "cli", "plan", *words, "--json")
        plans[name] = json.loads(done.stdout)
    return plans


# ---- measuring ----


def answer(preset: str, run: Run, show: Show) -> Json:
    """One picture and one question in a fresh process: what a plan's `host_total` is about."""
    options = ("--model", _bundle(preset, run), "--greedy", "--max-new-tokens", ANSWER_TOKENS, "--json")
    done = _python(run, f"run-{preset}", show, "-m", "cli", "run", PICTURE, "-p", QUESTION, *options, *_threads(run))
    return _cost(done) | {"answer": json.loads(done.stdout)}


def bench(preset: str, run: Run, show: Show) -> Json:
    settings = run.settings
    lengths = ("--prefill", settings.prefill, "--decode-at", settings.decode_at, "--repeat", settings.repeat)
    words = ("--model", _bundle(preset, run), "--device", "cpu", *lengths, "--json", *_threads(run))
    done = _python(run, f"bench-{preset}", show, "-m", "cli", "bench", *words)
    return _cost(done) | {"bench": json.loads(done.stdout)}


def make_peer(module: str, out: Path, run: Run, show: Show) -> Json:
    """In the peers' environment; what an interrupted run left there is overwritten."""
    assert run.peers is not None
    log = run.log(module.rpartition(".")[2])
    words: list[str | Path] = [run.peers, "-m", module, "--out", out, "--layers", str(run.settings.layers)]
    return _cost(child.run(words, log, show)) | {"bytes": size_of(out)}


def compare(run: Run, show: Show) -> Json:
    """The rounds, in which each engine has its turn."""
    assert run.peers is not None
    models = ("--ours", _bundle(AGAINST_PEERS, run), "--llama", run.gguf_file, "--openvino", run.openvino_folder)
    rounds = ("--python", run.peers, "--repeat", run.settings.repeat, "--threads", run.settings.peer_threads)
    done = _python(run, "peers", show, "-m", "benchmarks.peers", *models, *rounds)
    found: Json = json.loads(done.stdout.splitlines()[-1])
    return found


def remove_bundle(preset: str, run: Run) -> bool:
    """Once nothing more is to be measured with it. Whether there was one."""
    folder = run.bundle(preset)
    if not folder.exists():
        return False
    shutil.rmtree(folder)
    return True


# ---- helpers ----


def size_of(path: Path) -> int:
    """Bytes of a file, or of all below a folder; one with two names counts once."""
    if path.is_file():
        return path.stat().st_size
    found = [each.stat() for each in path.rglob("*") if each.is_file()]
    return sum({(each.st_dev, each.st_ino): each.st_size for each in found}.values())


def _python(run: Run, log: str, show: Show, *words: object) -> child.Finished:
    return child.run([run.python, *map(str, words)], run.log(log), show)


def _cost(done: child.Finished) -> Json:
    return {
        "seconds": round(done.seconds, 3),
        "peak_rss_bytes": done.peak_rss_bytes,
        "stages": {name: round(seconds, 3) for name, seconds in done.stages.items()},
    }


def _threads(run: Run) -> tuple[object, ...]:
    return () if run.settings.threads is None else ("--threads", run.settings.threads)


def _bundle(preset: str, run: Run) -> Path:
    """InputError where it was removed by hand."""
    folder = run.bundle(preset)
    if not folder.is_dir():
        raise InputError(f"{folder}: it is gone; remove {run.result(f'convert-{preset}')} to have it made again")
    return folder


def _discard(folder: Path) -> None:
    """What was finished just before an interruption, too late for its result to be written."""
    shutil.rmtree(folder, ignore_errors=True)
