"""The benchmark against peers: who is asked what in which order, ratios, and the packed weights."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.__main__ import Worker, run_rounds
from benchmarks.peers.make_gguf import q4_0, q6_k, tensors
from benchmarks.peers.openvino_cpu import rotary
from benchmarks.peers.report import markdown, summarize
from benchmarks.peers.task import Measurement, Task, measure
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError

TASK = Task(prompt=9, context=5, steps=3, threads=1)


def measurement(engine: str, prefill: float, decode: float) -> Measurement:
    return Measurement(engine, 1.0, prefill, decode, bytes_per_token=4_000_000_000, peak_rss_bytes=10**9)


class Recorder:
    """An engine that does nothing but remember."""

    name = "recorder"
    bytes_per_token = 7

    def __init__(self) -> None:
        self.calls: list[str] = []

    def clear(self) -> None:
        self.calls.append("clear")

    def prefill(self, tokens: int) -> None:
        self.calls.append(f"prefill {tokens}")

    def decode(self, steps: int) -> None:
        self.calls.append(f"decode {steps}")


def test_an_engine_warms_up_with_the_shapes_it_is_timed_with() -> None:
    engine = Recorder()
    found = measure(engine, TASK, load_s=2.0)
    assert engine.calls == [
        "clear", "prefill 9", "decode 2", "clear", "prefill 9", "clear", "prefill 5", "decode 3",
    ]  # fmt: skip
    assert (found.engine, found.load_s, found.bytes_per_token) == ("recorder", 2.0, 7)


def test_ratios_are_taken_within_rounds() -> None:
    """The second round is twice as slow for both: medians of ratios don't see it."""
    rounds = [
        [measurement("ours", 40, 4), measurement("theirs", 20, 4)],
        [measurement("ours", 20, 2), measurement("theirs", 10, 2)],
        [measurement("ours", 44, 5), measurement("theirs", 11, 4)],
    ]
    ours, theirs = summarize(rounds)
    assert (ours.prefill_tokens_per_s, ours.prefill_best, ours.prefill_ratio) == (40, 44, 1)
    assert (theirs.prefill_tokens_per_s, theirs.prefill_best, theirs.prefill_ratio) == (11, 20, 2)
    assert (theirs.decode_tokens_per_s, theirs.decode_ratio) == (4, 1)
    table = markdown([ours, theirs], TASK, 3, "a processor (avx2)").splitlines()
    assert table[-1] == "Medians of 3 rounds, each engine once in each; 1 threads of a processor (avx2)."
    assert table[3] == "| theirs | 11.0 | 20.0 | 2.00 | 4.00 | 4.00 | 1.00 | 4 | 1.0 | 1.0 |"


def test_workers_take_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def run(self: Worker, task: Task) -> Measurement:
        asked.append(self.module)
        return measurement(self.module, 1, 1)

    monkeypatch.setattr(Worker, "run", run)
    rounds = run_rounds([Worker("", name, Path()) for name in "abc"], TASK, 2)
    assert "".join(asked) == "abcabc"
    assert [[each.engine for each in measurements] for measurements in rounds] == [list("abc")] * 2
    assert capsys.readouterr().out == ""


def test_our_own_worker() -> None:
    folder = Bundle.find("tiny").folder
    found = Worker(sys.executable, "benchmarks.peers.ours", folder).run(TASK)
    assert found.engine.startswith("omnilmm-lite ")
    assert found.prefill_tokens_per_s > 0
    assert found.decode_tokens_per_s > 0


def test_a_worker_that_fails(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"benchmarks\.peers\.ours failed on .*: .*no bundle"):
        Worker(sys.executable, "benchmarks.peers.ours", tmp_path).run(TASK)
    with pytest.raises(InputError, match="can't be run"):
        Worker(str(tmp_path / "python"), "benchmarks.peers.ours", tmp_path).run(TASK)


def test_q4_0_as_llama_cpp_reads_it() -> None:
    """The format's definition: 32 values share an fp16 step; value = step * (nibble - 8)."""
    packed = q4_0(np.random.default_rng(0), 64, 256)
    assert packed.shape == (64, 256 // 32 * 18)
    blocks = packed.reshape(-1, 18)
    steps = blocks[:, :2].copy().view(np.float16).astype(np.float64)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float64)
    assert (steps * (nibbles - 8)).std() == pytest.approx(0.02, rel=0.05)


def test_packed_weights_as_gguf_reads_them() -> None:
    gguf = pytest.importorskip("gguf")
    random = np.random.default_rng(0)
    for packed, kind in (
        (q4_0(random, 64, 256), gguf.GGMLQuantizationType.Q4_0),
        (q6_k(random, 64, 512), gguf.GGMLQuantizationType.Q6_K),
    ):
        weight = gguf.dequantize(packed, kind)
        assert weight.shape[0] == 64
        assert weight.std() == pytest.approx(0.02, rel=0.2)


def test_the_decoder_has_seven_billion_weights() -> None:
    """Mistral-7B's published number, 7.24 billion, and the 9 tokens that OmniLMM adds."""
    total = sum(int(np.prod(shape)) for _, shape in tensors(DecoderConfig()))
    assert total == 7_241_732_096 + 9 * 2 * 4096
    names = [name for name, _ in tensors(DecoderConfig())]
    assert len(set(names)) == len(names) == 3 + 32 * 9


def test_rotary_angles() -> None:
    cos, sin = rotary(3, 5, 8)
    assert cos.shape == sin.shape == (1, 1, 2, 8)
    for row, position in enumerate((3, 4)):
        for channel, exponent in itertools.product((0, 4), (0, 1, 2, 3)):
            angle = position * 10000 ** (-exponent / 4)
            assert cos[0, 0, row, channel + exponent] == pytest.approx(np.cos(angle), abs=1e-6)
            assert sin[0, 0, row, channel + exponent] == pytest.approx(np.sin(angle), abs=1e-6)


def bench(context: int) -> dict[str, object]:
    """What the plots read of `omnilmm-lite bench --json`."""
    row = {"context": context, "steps": 4, "tokens_per_s": 5.0, "bytes_per_token": 4 * 10**9,
           "series": {"samples_s": [0.7, 0.8]}}  # fmt: skip
    parts = {"picture": 18.0, "opening": 2.0, "prefill": 6.0, "total": 25.5}
    question = {name: {"median_s": seconds} for name, seconds in parts.items()} | {"prefill_tokens": 300}
    return {
        "subject": {"bundle": "OmniLMM", "preset": "cpu"},
        "decode": [row],
        "bandwidth": {"bytes_per_s": 25e9},
        "first_question": question,
    }


def peers() -> dict[str, object]:
    lines = [
        {"engine": name, "prefill_tokens_per_s": speed, "decode_tokens_per_s": 4.0, "bytes_per_token": 4 * 10**9}
        for name, speed in (("ours", 50.0), ("llama.cpp Q4_0", 15.0), ("OpenVINO u4", 30.0))
    ]
    return {"task": {"context": 200}, "summary": lines}


def test_plots_are_drawn_and_what_was_not_run_is_marked(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.plots import first_waits, plot_decode, plot_first_token, plot_floor

    waits = first_waits([bench(200)], peers())
    assert [(wait.picture, wait.opening, wait.prompt, wait.total) for wait in waits] == [
        (18.0, 2.0, 6.0, 25.5), (None, 0.0, 20.0, 20.0), (None, 0.0, 10.0, 10.0),
    ]  # fmt: skip
    plot_decode([bench(200)], tmp_path / "decode.svg")
    plot_first_token(waits, tmp_path / "first.svg")
    plot_floor(peers(), 25e9, tmp_path / "floor.svg")
    assert "25.5 s" in (first := (tmp_path / "first.svg").read_text())
    assert first.count("picture not run") == 2
    assert "OpenVINO u4: 64%" in (tmp_path / "floor.svg").read_text()
    again = (tmp_path / "floor.svg").read_bytes()
    plot_floor(peers(), 25e9, tmp_path / "floor.svg")
    assert (tmp_path / "floor.svg").read_bytes() == again


def test_a_measurement_survives_its_line() -> None:
    found = measurement("ours", 1.5, 2.5)
    assert Measurement(**json.loads(json.dumps(vars(found)))) == found
