"""`omnilmm-lite bench`: what is counted, what is dropped, and what is printed where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cli
from omnilmm_lite.bench.bandwidth import measure_bandwidth
from omnilmm_lite.bench.footprint import Footprint, parse_status
from omnilmm_lite.bench.measure import bytes_per_token, decode, prefill
from omnilmm_lite.bench.series import Series
from omnilmm_lite.bench.settings import Settings, parse_lengths
from omnilmm_lite.bench.workload import QUESTION_TOKENS, picture, question, token_ids
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import Model, load
from omnilmm_lite.picture.reading import pixel_hash
from tests.systems import PLATFORM

QUICK = ("--threads", "1", "--repeat", "2", "--new-tokens", "3", "--prefill", "9,5", "--decode-at", "4,12")

STATUS = """\
Name:	python
VmPeak:	  999999 kB
VmHWM:	    2000 kB
VmRSS:	    1500 kB
RssAnon:	    1000 kB
RssFile:	     400 kB
RssShmem:	     100 kB
"""


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main(["bench", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_series_by_hand() -> None:
    series = Series((3.0, 1.0, 2.0, 10.0))
    assert (series.median, series.best, series.spread) == (2.5, 1.0, 3.6)
    assert series.to_dict() == {"median_s": 2.5, "min_s": 1.0, "spread": 3.6, "samples_s": [3.0, 1.0, 2.0, 10.0]}


@given(st.sets(st.integers(1, 9_999_999), min_size=1))
def test_lengths_come_back_sorted(lengths: set[int]) -> None:
    assert parse_lengths("--prefill", ", ".join(map(str, lengths))) == tuple(sorted(lengths))


@given(st.text())
def test_lengths_are_read_or_refused_in_one_line(text: str) -> None:
    try:
        assert all(length > 0 for length in parse_lengths("--prefill", text))
    except InputError as error:
        assert "\n" not in str(error)


def test_what_fits_no_context_is_dropped_with_a_note() -> None:
    settings, notes = Settings((100, 101), (84, 85), new_tokens=16).within(100)
    assert (settings.prefill, settings.decode_at) == ((100,), (84,))
    assert len(notes) == 2
    assert "prefill of 101" in notes[0]
    assert "decode at 85" in notes[1]
    assert Settings((64, 101), (84, 85), new_tokens=16).longest == 101
    assert Settings((64,), (84, 85), new_tokens=16).longest == 101


def test_status_of_a_process() -> None:
    assert parse_status("now", STATUS) == Footprint("now", 1500 * 1024, 1000 * 1024, 500 * 1024, 2000 * 1024)
    assert parse_status("now", STATUS.replace("RssAnon", "RssOther")) is None


def test_bandwidth_is_of_the_whole_array() -> None:
    found = measure_bandwidth(threads=2, size=1 << 20)
    assert 1e8 < found.bytes_per_s < 1e13
    assert found.source == "measured, 2 threads over 1 MiB"


def test_a_token_reads_all_weights_but_the_rotary_tables() -> None:
    bundle = Bundle.find("tiny")
    graph = onnx.load(bundle.path(bundle.manifest.graphs.decode), load_external_data=False).graph
    weights = 0
    for tensor in graph.initializer:
        external = {entry.key: int(entry.value) for entry in tensor.external_data if entry.key == "length"}
        weights += 0 if tensor.name.startswith("rope.") else external.get("length", 0)
    cache = 100 * 2 * 4 * 2 * 64 * 4  # tokens, key and value, layers, heads, head_dim, bytes
    found = bytes_per_token(bundle, 100)
    assert found is not None
    assert 0 <= found - weights - cache < 4096 * len(graph.initializer)  # the file is aligned to pages


def test_the_workload() -> None:
    hashes = {pixel_hash(picture(seed)) for seed in (0, 1, 2, 1000)}
    assert len(hashes) == 4
    config = OmniLMMConfig()
    ids = token_ids(config, 5000)
    assert len(ids) == 5000
    assert ids[0] == config.tokens.bos
    assert not {1, 2, 32000, 32001, 32002} & set(ids[1:])
    assert len(set(ids)) > 4000  # no two prompts look alike


def test_a_question_has_the_tokens_it_says() -> None:
    tokenizer = load("tiny", threads=1).text.tokenizer
    texts = [question(tokenizer, start) for start in (0, 7)]
    for text, tokens in texts:
        assert len(tokenizer.encode_text(text)) == tokens
        assert QUESTION_TOKENS <= tokens < QUESTION_TOKENS + 5
    assert texts[0] != texts[1]


def test_prompts_and_steps_run_where_they_say(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = model.text.decoder
    seen: list[tuple[str, int, int]] = []
    _watch(monkeypatch, decoder, "prefill", lambda keys, rows: seen.append(("prefill", decoder.length, len(rows))))
    _watch(monkeypatch, decoder, "decode", lambda key, row: seen.append(("decode", decoder.length, 1)))
    ids = token_ids(model.config, 20)
    prefill(model, ids[:9])
    prefill(model, ids[:9])
    assert seen == [("prefill", 0, 9)] * 2  # each into an empty cache
    seen.clear()
    for context in (4, 4, 12):
        decode(model, ids, context, 2)
    # 4 of the 9 stay, then 2 more come; at 12 only what is missing is filled in
    steps = [("decode", 4, 1), ("decode", 5, 1)]
    assert seen == [*steps, *steps, ("prefill", 6, 6), ("decode", 12, 1), ("decode", 13, 1)]


def _watch(monkeypatch: pytest.MonkeyPatch, target: object, name: str, note: Callable[..., None]) -> None:
    original = getattr(target, name)

    def watched(*args: object) -> object:
        note(*args)
        return original(*args)

    monkeypatch.setattr(target, name, watched)


def test_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *QUICK, "--decode-at", "4,12,2046", "--bandwidth", "10", "--json")
    assert code == 0
    assert out.count("\n") == 1
    assert "prefill (6 steps)" in err  # two lengths, two runs and one to warm up
    found = json.loads(out)
    assert list(found) == [
        "subject", "machine", "repeat", "load", "picture", "prefill", "decode", "first_question", "second_question",
        "memory", "peak_rss_bytes", "bandwidth", "notes",
    ]  # fmt: skip
    subject = found["subject"]
    assert (subject["bundle"], subject["device"], subject["threads"], subject["context"]) == ("tiny", "cpu", 1, 2048)
    assert set(found["machine"]["versions"]) == {"omnilmm-lite", "onnxruntime", "numpy", "python"}
    assert [row["tokens"] for row in found["prefill"]] == [5, 9]
    assert [row["context"] for row in found["decode"]] == [4, 12]
    assert found["notes"] == ["decode at 2046 is left out: the context has room for 2048, 3 new ones included"]
    for series in (found["load"]["load"], found["load"]["ready"], found["picture"]["series"]):
        assert len(series["samples_s"]) == 2
    row = found["decode"][0]
    median = float(np.median(row["series"]["samples_s"]))
    assert row["tokens_per_s"] == pytest.approx(3 / median, rel=1e-2)
    assert row["floor"] == pytest.approx(row["bytes_per_token"] / 10e9 / (median / 3), rel=1e-2, abs=1e-4)
    first, second = found["first_question"], found["second_question"]
    assert first["prefill_tokens"] == first["prompt_tokens"]  # nothing is known of a new picture
    assert second["prefill_tokens"] < first["prefill_tokens"] < second["prompt_tokens"]
    assert second["picture"]["median_s"] == 0


def test_memory_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    if Footprint.read("now") is None:
        pytest.skip("this system doesn't tell")
    _, out, _ = run(capsys, *QUICK, "--json")
    found = json.loads(out)
    stages = ["before loading", "loaded", "first picture", "first prompt", "first answer", "all measured"]
    assert [each["stage"] for each in found["memory"]] == stages
    for each in found["memory"]:
        assert each["rss"] == pytest.approx(each["anonymous"] + each["file_backed"], rel=0.02)
        assert each["peak"] >= 0.98 * each["rss"]
    assert found["peak_rss_bytes"] == max(each["peak"] for each in found["memory"])


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *QUICK)
    assert code == 0
    assert err.startswith("reading files (")
    for text in (
        "tiny (preset cpu) on cpu: the bundle is built for the CPU; 1 threads, context 2,048",
        "prefill, 9 tokens",
        "decode, 3 tokens at 12",
        "second question: first token",
        "file-backed" if PLATFORM == "linux" else "",
        "peak resident memory" if PLATFORM == "linux" else "",
        "memory bandwidth",
    ):
        assert text in out


def test_a_small_context_leaves_questions_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnilmm_lite.bench.measure.DEFAULT_CONTEXT", 24)
    _, out, _ = run(capsys, *QUICK, "--json")
    found = json.loads(out)
    assert found["first_question"] is None
    assert found["notes"] == ["questions about a picture are left out: the context has no room for one"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--prefill", "64,x"), "--prefill: '64,x' is no list of lengths"),
        (("--decode-at", "0"), "--decode-at: '0' is no list of lengths"),
        (("--decode-at", "²"), "is no list of lengths"),
        (("--repeat", "0"), "--repeat: 0 is out of range"),
        (("--new-tokens", "-1"), "--new-tokens: -1 is out of range"),
        (("--bandwidth", "0"), "--bandwidth: 0 is out of range"),
        (("--bandwidth", "nan"), "--bandwidth: nan is out of range"),
        (("--threads", "0"), "threads: 0 is out of range"),
        (("--device", "tpu"), "device 'tpu' is unknown"),
        (("--model", "none-such"), "there is no such bundle"),
        (("--check", "none-such"), "there is no such bundle"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, str], text: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert text in err
    complaint = [line for line in err.splitlines() if line.startswith("omnilmm-lite: ")]
    assert len(complaint) == 1


def test_a_folder_that_is_no_bundle(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "--model", tmp_path)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
