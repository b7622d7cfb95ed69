"""That mistakes are found: planted ones, in a target of the tests' own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from omnilmm_lite.errors import InputError
from tests.fuzz import campaign
from tests.fuzz.__main__ import main
from tests.fuzz.attempt import attempt
from tests.fuzz.campaign import fuzz
from tests.fuzz.findings import Findings
from tests.fuzz.form import Form
from tests.fuzz.fuzz_target import FuzzTarget
from tests.fuzz.mutations.mutation import mutated
from tests.paths import ROOT
from tests.systems import not_on_windows


def target(try_bytes: Callable[[bytes], None], form: Form = Form.JSON) -> FuzzTarget:
    return FuzzTarget("planted", try_bytes, (b'{"name": "a", "sizes": [1, 2.5], "deep": {"x": null}}',), form)


def raising(error: BaseException) -> Callable[[bytes], None]:
    def try_bytes(data: bytes) -> None:
        raise error

    return try_bytes


@pytest.mark.parametrize("error", [KeyError("a"), MemoryError(), RecursionError(), BaseException("a panic")])
def test_whatever_is_not_ours_is_a_finding(error: BaseException) -> None:
    finding = attempt(target(raising(error)), b"")
    assert finding is not None and finding.kind.startswith(type(error).__name__)


def test_an_error_of_ours_is_none_but_for_its_text() -> None:
    assert attempt(target(raising(InputError("file: it is wrong; mend it"))), b"") is None
    error = InputError("")
    error.args = ("two\nlines",)
    finding = attempt(target(raising(error)), b"")
    assert finding is not None and finding.kind.startswith("LineError")


@not_on_windows
def test_an_endless_loop_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def loop(data: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.attempt.SECONDS", 0.05)
    finding = attempt(target(loop), b"")
    assert finding is not None and finding.kind.startswith("TooLongError")


@pytest.mark.parametrize("form", Form)
def test_mutations_are_the_same_for_the_same_number(form: Form) -> None:
    seeds = (ROOT / "examples/tiny/checkpoint/config.json").read_bytes(), b"\x08\x01\x12\x02ab"
    found = [mutated(Random(number), seeds, form) for number in range(200)]
    assert found == [mutated(Random(number), seeds, form) for number in range(200)]
    assert len({*found}) > 90


@pytest.mark.parametrize(
    "wrong",
    [
        b"NaN",
        b"1" + b"0" * 400,
        b"[" * 3000,
        b"\\ud800",
        b'"name": "a", "sizes": [1, 2.5], "deep": {"x": null}, "name"',
    ],
)
def test_json_is_made_wrong_in_every_way(wrong: bytes) -> None:
    seeds = target(raising(KeyError())).seeds
    assert any(wrong in mutated(Random(number), seeds, Form.JSON) for number in range(3000))


@pytest.mark.parametrize(("code", "said"), [("os._exit(7)", "code 7"), ("time.sleep(60)", "hangs")])
def test_a_process_that_dies_or_hangs_is_a_finding(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last input is kept."""
    program = f"""
import os, time
from pathlib import Path
from tests.fuzz.last_input import LAST_INPUT, LastInput
last = LastInput(Path(os.environ["OMNILMM_FUZZ_SCRATCH"]) / LAST_INPUT)
last.note(b"sound")
last.note(b"deadly")
{code}
"""
    popen = subprocess.Popen
    monkeypatch.setattr(
        "tests.fuzz.campaign.subprocess.Popen", lambda command, **rest: popen([sys.executable, "-c", program], **rest)
    )
    monkeypatch.setattr(campaign, "PATIENCE", 1.0)
    monkeypatch.setattr(campaign, "MOST_DEATHS", 1)
    result = fuzz("planted", tmp_path, 60, 1, plain=True)
    assert result.inputs == 2
    (file,) = result.findings
    assert file.read_bytes() == b"deadly" and said in Findings(file.parent).kind(file)


def test_a_file_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_bytes(b"{")
    monkeypatch.setattr(sys, "argv", ["fuzz", "chat_body", "--file", str(tmp_path / "x")])
    assert main() == 0
    assert capsys.readouterr().out == "nothing is wrong with it\n"
    monkeypatch.setattr("tests.fuzz.__main__.load_target", lambda name: target(raising(KeyError("a"))))
    assert main() == 1
    assert "KeyError" in capsys.readouterr().out


def test_one_target_for_a_second(tmp_path: Path) -> None:
    result = fuzz("chat_body", tmp_path, 1, 1, plain=True)
    assert result.inputs > 2 and not result.findings, (tmp_path / "log").read_text()
