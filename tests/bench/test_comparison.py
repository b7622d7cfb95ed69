"""`omnilmm-lite bench --against`: two bundles in turns, and how they stand to each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli
from omnilmm_lite.bench.comparison import turns
from omnilmm_lite.bench.comparison.comparison import Row, Unit
from omnilmm_lite.bench.measure import Loading
from omnilmm_lite.bench.settings import Settings
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import DeviceChoice, choose_device
from omnilmm_lite.engine.placement import DeviceId, Placement
from tests.conftest import Quiet

QUICK = ("--threads", "1", "--repeat", "2", "--new-tokens", "3", "--prefill", "5", "--decode-at", "4")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main(["bench", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_ratios_are_taken_within_rounds() -> None:
    """A machine that became four times slower in the second round changes no ratio."""
    row = Row("prefill", Unit.SECONDS, (1.0, 4.0, 1.5), (2.0, 8.0, 2.0), tokens=64)
    assert row.ratios == (0.5, 0.5, 0.75)
    assert row.ratio == 0.5
    assert row.to_dict() == {
        "name": "prefill",
        "tokens": 64,
        "model_s": 1.5,
        "model_samples_s": [1.0, 4.0, 1.5],
        "against_s": 2.0,
        "against_samples_s": [2.0, 8.0, 2.0],
        "ratio": 0.5,
        "ratios": [0.5, 0.5, 0.75],
    }


def test_what_the_other_needs_nothing_of_has_no_ratio() -> None:
    row = Row("card's memory", Unit.BYTES, (5.0, 7.0), (0.0, 0.0))
    assert row.ratio is None
    assert row.to_dict()["ratio"] is None
    assert row.to_dict()["model_bytes"] == 6


def test_the_bundles_take_turns_and_so_does_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first round only warms up: its turns count nowhere."""
    seen: list[str] = []
    choice = choose_device("cpu", Bundle.find("tiny").manifest.target)

    def turn(loading: Loading, settings: Settings) -> turns.Turn:
        seen.append("A" if loading is loadings[0] else "B")
        return turns.Turn({("load", Unit.SECONDS, 0): float(len(seen))}, choice)

    loadings: list[Loading] = []

    def loading(*arguments: object) -> Loading:
        loadings.append(Loading(*arguments))  # type: ignore[arg-type]  # as the code gives them
        return loadings[-1]

    monkeypatch.setattr(turns, "_turn", turn)
    monkeypatch.setattr(turns, "Loading", loading)
    bundle = Bundle.find("tiny")
    found = turns.compare(bundle, bundle, "cpu", 1, Settings((5,), (4,), repeat=3), Quiet())
    assert "".join(seen) == "ABBAABBA"
    (row,) = found.rows
    assert row.model == (4.0, 5.0, 8.0)
    assert row.against == (3.0, 6.0, 7.0)


def test_cards_are_told_by_their_numbers() -> None:
    two = Placement(DeviceId(Device.CUDA, 1), DeviceId(Device.CUDA, 0))
    assert turns._subject(Bundle.find("tiny"), DeviceChoice(two, "asked for")).device == "cuda:1,cuda:0"


def test_only_what_both_have_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choose_device("cpu", Bundle.find("tiny").manifest.target)
    sides = iter(
        [{("load", Unit.SECONDS, 0): 1.0, ("own", Unit.SECONDS, 0): 1.0}, {("load", Unit.SECONDS, 0): 1.0}] * 2
    )
    monkeypatch.setattr(turns, "_turn", lambda *_: turns.Turn(next(sides), choice))
    bundle = Bundle.find("tiny")
    found = turns.compare(bundle, bundle, "cpu", 1, Settings((5,), (4,), repeat=1), Quiet())
    assert [row.name for row in found.rows] == ["load"]


def test_one_object_with_both(capsys: pytest.CaptureFixture[str], tiny_bundle: Path) -> None:
    code, out, err = run(capsys, *QUICK, "--against", tiny_bundle, "--decode-at", "4,4000", "--json")
    assert code == 0
    assert out.count("\n") == 1
    assert "turns (6 steps)" in err  # two rounds and one to warm up, two bundles each
    found = json.loads(out)
    assert list(found) == ["model", "against", "machine", "threads", "context", "rounds", "rows", "notes"]
    assert (found["model"]["bundle"], found["model"]["preset"], found["model"]["packing"]) == (
        "tiny",
        "cpu",
        "blockwise",
    )
    assert found["against"]["preset"] == "reference"
    assert found["against"]["device"] == "cpu"
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows)[:5] == [
        "load",
        "first picture, the tower's loading included",
        "picture: tower and resampler",
        "prefill, 5 tokens",
        "decode, 3 tokens at 4",
    ]
    assert rows["decode, 3 tokens at 4"]["tokens"] == 3
    for row in found["rows"]:
        assert len(row["ratios"]) == 2, row
    assert any("decode at 4000 is left out" in note for note in found["notes"])


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *QUICK, "--against", "tiny")
    assert code == 0
    for text in (
        "A: tiny (preset cpu, packing blockwise",
        "B: tiny (preset cpu, packing blockwise",
        "medians of 2 rounds in turns",
        "first token, second question",
        "A / B",
    ):
        assert text in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--against", "none-such"), "there is no such bundle"),
        (("--against", "tiny", "--bandwidth", "10"), "--bandwidth: --against compares two bundles"),
        (("--against", "tiny", "--cuda-graph"), "--cuda-graph: only a CUDA card"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert text in err
