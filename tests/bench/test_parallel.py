"""`bench --parallel`: what it says about each number of answers. No time is asserted."""

from __future__ import annotations

import pytest

from omnilmm_lite.bench.parallel.measure import Parallel
from omnilmm_lite.bench.series import Series
from omnilmm_lite.errors import InputError
from tests.command_line import Run, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(capsys, monkeypatch)


ONE = Parallel(1, Series((2.0, 1.0, 3.0)), Series((5.0,)))


def test_the_gain_is_of_tokens_a_second_of_all() -> None:
    """Four tokens in 4 s against one in 2 s (the median): twice as many a second."""
    assert Parallel(4, Series((4.0,)), Series((6.0,))).gain(ONE) == 2.0
    assert ONE.gain(ONE) == 1.0


def test_tiny_is_measured(run: Run) -> None:
    command = ("bench", "--model", "tiny", "--parallel", "3,2", "--repeat", "2", "--decode-at", "40", "--device", "cpu")
    found = run(*command, "--json").json
    assert [row["answers"] for row in found["parallel"]] == [1, 2, 3]
    assert found["held"] == 40
    for row in found["parallel"]:
        assert len(row["step"]["samples_s"]) == len(row["newcomer"]["samples_s"]) == 2
        expected = row["answers"] * found["parallel"][0]["step"]["median_s"] / row["step"]["median_s"]
        assert row["gain"] == pytest.approx(expected, rel=1e-2)
    table = run(*command).out
    assert "first token of the last to come" in table


def test_what_has_no_plan_is_measured_without_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_preset(name: str) -> None:
        raise InputError(f"preset {name!r} is unknown")

    monkeypatch.setattr("omnilmm_lite.plan.planned_model.find_preset", find_preset)
    command = ("bench", "--model", "tiny", "--parallel", "2", "--repeat", "1", "--decode-at", "8", "--device", "cpu")
    assert run(*command, "--json").json["planned_bytes"] is None
    assert "by the plan" not in run(*command).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--parallel", "0"), "--parallel: '0' is no list"),
        (("--parallel", "2,many"), "--parallel: '2,many' is no list"),
        (("--parallel", "65"), "parallel: 65 is out of range; give 1 to 64"),
        (("--parallel", "2", "--decode-at", "2040"), "--decode-at: 2040 tokens and a prompt of 64 are more than 2048"),
        (("--parallel", "2", "--cuda-graph"), "--cuda-graph: a recorded step is that of one answer"),
    ],
)
def test_what_can_t_be_measured_is_said(run: Run, options: tuple[str, ...], message: str) -> None:
    found = run("bench", "--model", "tiny", *options)
    assert found.code == 2
    assert message in found.err
