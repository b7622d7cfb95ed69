"""The way of the real model at its full width: a tower block and a decoder layer of random weights.

Small models hide what only wide ones have: rows longer than a block of the kernels, padding, files beyond what a
message may hold, the memory that one layer takes. It takes minutes on two cores and gigabytes of disk, which are given
back. `make test-slow` does it with two blocks and two layers, and with the preset 24gb, whose widths 8gb has as well.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.real import child
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.formats import LinearFormat
from tests.paths import ROOT

DEPTHS = (1, pytest.param(2, marks=pytest.mark.slow))  # blocks of the tower, and layers of the decoder
PICTURE, QUESTION = "examples/pictures/cat.png", "What is this?"
NEW_TOKENS = 4
FORMS: dict[str, tuple[str, ...]] = {"safetensors": (), "bin": ("--bin",)}  # and how to make it
# OmniLMM-12B is published as one .bin, RLAIF-V-12B as safetensors.
TRIED = {"cpu": "bin", "24gb": "safetensors", "8gb": "safetensors"}
PRESETS = ("cpu", "8gb", pytest.param("24gb", marks=pytest.mark.slow))
MOST_MEMORY = 8 * 10**9  # of a conversion, whatever the size of the model
# docs/memory.md: the tower's int8 has this matrix for a block or hasn't, and .onnx files, tokenizer and manifest are
# estimated.
INNER_BYTES = 4096
ESTIMATED_BYTES = 3 * 10**6


def ran(log: Path, *words: object) -> child.Finished:
    """In a process of its own; the test fails with its last line where it does."""
    return child.run([sys.executable, "-m", *map(str, words)], log, lambda line: None)


@dataclass(frozen=True)
class Conversion:
    depth: int
    checkpoint: Path
    preset: str
    bundle: Path
    peak_rss_bytes: int

    def json(self, *words: object) -> dict[str, Any]:
        """What a command of the program prints."""
        log = self.bundle.with_name(f"{words[0]}.log")
        found: dict[str, Any] = json.loads(ran(log, "cli", *words, "--json").stdout)
        return found


@pytest.fixture(scope="module", params=DEPTHS)
def depth(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def work(depth: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint in both forms and its decoder, rounded; gone at the end: pytest keeps folders of earlier runs."""
    folder = tmp_path_factory.mktemp("full-width")
    sizes = ("--layers", depth, "--blocks", depth, "--seed", 0)
    try:
        with ThreadPoolExecutor(len(FORMS)) as pool:  # numbers are drawn on one core
            made = [
                pool.submit(
                    ran, folder / f"make-{form}.log", "benchmarks.make_checkpoint", folder / form, *options, *sizes
                )
                for form, options in FORMS.items()
            ]
        for each in made:
            each.result()
        ran(folder / "round.log", "benchmarks.round_decoder", folder / "safetensors", folder / "gptq")
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module", params=PRESETS)
def converted(request: pytest.FixtureRequest, depth: int, work: Path) -> Iterator[Conversion]:
    """One bundle at a time is on the disk."""
    preset, checkpoint, out = request.param, work / TRIED[request.param], work / "bundle"
    options = ["--preset", preset, "--gptq", work / "gptq", "--work-dir", work / "work"]
    if find_preset(preset).target is Device.CUDA:  # the CPU's tower has all pictures of the built-in data
        chat = {"image": str(ROOT / PICTURE), "question": QUESTION, "answer": "A cat."}
        (work / "chats.jsonl").write_text(json.dumps(chat) + "\n", encoding="utf-8")
        options += ["--calibration", work / "chats.jsonl"]
    try:
        done = ran(work / "convert.log", "cli", "convert", checkpoint, out, *options)
        yield Conversion(depth, checkpoint, preset, out, done.peak_rss_bytes)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def test_a_conversion_takes_the_memory_of_one_layer(converted: Conversion) -> None:
    assert 0 < converted.peak_rss_bytes < MOST_MEMORY


def test_the_bundle_is_whole(converted: Conversion) -> None:
    manifest = converted.json("inspect", converted.bundle, "--verify")
    assert manifest["preset"] == converted.preset
    parity = manifest["parity"]["graphs"]
    assert {"vision", "resampler", "decoder"} <= parity.keys()
    assert ("prefill" in parity) == find_preset(converted.preset).int8_prefill
    for graph, found in parity.items():
        assert found["difference"] <= found["tolerance"], graph


def test_it_answers(converted: Conversion) -> None:
    options = ("--model", converted.bundle, "--device", "cpu", "--greedy", "--max-new-tokens", NEW_TOKENS)
    answer = converted.json("run", PICTURE, "-p", QUESTION, *options)
    assert len(answer["tokens"]) <= NEW_TOKENS
    assert answer["device"] == "cpu"
    assert answer["timings"]["prompt_tokens"] > 256  # the picture's, and the question's


def test_the_plan_is_what_was_made(converted: Conversion) -> None:
    plan = converted.json("plan", converted.checkpoint, "--preset", converted.preset)
    bundle = Bundle.open(converted.bundle)
    sizes = {entry.path: entry.size for entry in bundle.manifest.files}
    is_int8 = find_preset(converted.preset).tower is LinearFormat.INT8
    left_out = converted.depth * INNER_BYTES if is_int8 else 0
    for part, planned in plan["disk"]["data"].items():
        found = sizes.get(f"{part}.onnx.data", 0)
        assert 0 <= planned - found <= (left_out if part == "vision" else 0), part
    assert plan["parts"]["embeddings"] == sizes[bundle.manifest.graphs.embeddings]
    assert plan["disk"]["bundle"] == pytest.approx(sum(sizes.values()), abs=ESTIMATED_BYTES)
    weights = [*converted.checkpoint.glob("*.safetensors"), *converted.checkpoint.glob("*.bin")]
    size = sum(path.stat().st_size for path in weights)
    assert plan["disk"]["checkpoint"] == pytest.approx(size, abs=100_000)  # the files' headers
