"""The file of answers: nothing is lost, nothing is mixed up. What it shares with captions is tested there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item
from omnilmm_lite.evaluation.predictions import PredictionFile, prediction_settings
from omnilmm_lite.evaluation.prompts import DECODING

SETTINGS = prediction_settings(Benchmark.MME, Profile.VEK2402, "tiny@1", DECODING)
ITEMS = [Item(str(number), "?") for number in range(4)]


def test_a_second_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "mme.jsonl"
    with PredictionFile(path, SETTINGS) as file:
        file.add(ITEMS[0], "one", "Yes", {"tokens": 2})
        file.add_error(ITEMS[1], "two", "no picture")
    again = PredictionFile(path, SETTINGS)
    assert again.is_done(ITEMS[0], "one")
    assert not again.is_done(ITEMS[0], "another prompt")
    assert again.is_done(ITEMS[1], "two")
    assert not again.is_done(ITEMS[1], "two", retry_errors=True)
    with again:
        again.add(ITEMS[1], "two", "No")
    asked = [(ITEMS[2], "three"), (ITEMS[1], "two"), (ITEMS[0], "one")]
    for file in (again, PredictionFile(path, SETTINGS)):
        assert [(each.item.index, each.text) for each in file.predictions(asked)] == [("1", "No"), ("0", "Yes")]
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[0])["tokens"] == 2


@settings(max_examples=25)
@given(st.integers(0, 400))
def test_wherever_a_crash_cuts_whole_lines_stay(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "mme.jsonl"

    def answer() -> bytes:
        with PredictionFile(path, SETTINGS) as file:
            for item in ITEMS:
                if not file.is_done(item, "p"):
                    file.add(item, "p", f"\u732b\n{item.index}")
        return path.read_bytes()

    whole = answer()
    path.write_bytes(whole[:size])
    assert answer() == whole


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("benchmark", prediction_settings(Benchmark.MMMU, Profile.VEK2402, "tiny@1", DECODING)),
        ("profile", prediction_settings(Benchmark.MME, Profile.OFFICIAL, "tiny@1", DECODING)),
        ("model", prediction_settings(Benchmark.MME, Profile.VEK2402, "tiny@2", DECODING)),
        ("max_new_tokens", SETTINGS | {"max_new_tokens": 9}),
    ],
)
def test_other_settings_are_refused(name: str, settings: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "mme.jsonl"
    with PredictionFile(path, SETTINGS) as file:
        file.add(ITEMS[0], "one", "Yes")
    with pytest.raises(InputError, match=f"begun with other settings: {name} was .* after -o"):
        PredictionFile(path, settings)


@pytest.mark.parametrize("text", ["diary", "[]", '{"index": "1"}', '{"index": 1, "prompt_sha256": "x", "text": 3}'])
def test_lines_of_another_program_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mme.jsonl"
    with PredictionFile(path, SETTINGS) as file:
        file.add(ITEMS[0], "one", "Yes")
    with path.open("a", encoding="utf-8") as more:
        more.write(text + "\n")
    with pytest.raises(InputError, match="line 2 is none that eval writes"):
        PredictionFile(path, SETTINGS)
