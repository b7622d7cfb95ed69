"""The program in a process of its own: exit codes, signals, pipes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import cli
from tests.paths import ROOT
from tests.systems import HEED_INTERRUPTS, PYTHON, not_on_windows


def process(arguments: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen([*PYTHON, *arguments], cwd=ROOT, text=True, **(HEED_INTERRUPTS | pipes | options))


def long_answer(bundle: Path) -> list[str]:
    return ["cli.py", "run", "-p", "Tell me all.", "--model", str(bundle), "--greedy", "--max-new-tokens", "4000"]


def test_the_program_exits_with_the_code() -> None:
    program = process(["cli.py", "run", "no.png", "-p", "What is this?"])
    out, err = program.communicate()
    assert (program.returncode, out) == (2, "")
    assert err == "omnilmm-lite: no.png: there is no such file; check the path\n"


@not_on_windows
def test_ctrl_c_stops_with_130_and_no_traceback(tiny_bundle: Path) -> None:
    program = process(long_answer(tiny_bundle))
    assert program.stdout is not None
    assert program.stdout.read(1)  # the answer has begun
    program.send_signal(signal.SIGINT)
    _, err = program.communicate()
    assert (program.returncode, err) == (130, "")


def test_a_reader_that_leaves_is_no_error_to_complain_about(tiny_bundle: Path) -> None:
    program = process(long_answer(tiny_bundle))
    assert program.stdout is not None
    assert program.stderr is not None
    assert program.stdout.read(1)
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait() == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_one_line(tiny_bundle: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        program = process(["cli.py", "inspect", str(tiny_bundle), "--json"], stdout=full)
        _, err = program.communicate()
    assert (program.returncode, err) == (1, "omnilmm-lite: standard output: No space left on device\n")


CAT = "examples/pictures/cat.png"
TOLD = "answered by tiny, the built-in demonstration model; `omnilmm-lite setup` gets the real one\n"


@not_on_windows
@pytest.mark.parametrize(
    "command", [["inspect", "tiny"], ["run", CAT, "-p", "hi", "--greedy"], ["plan", "tiny", "--json"], ["doctor"]]
)
def test_a_closed_standard_output_is_one_line(command: list[str]) -> None:
    program = process(["-c", CLOSED, "1", *command])
    out, err = program.communicate()
    assert (program.returncode, out, err) == (1, "", "omnilmm-lite: standard output: it is closed\n")


@not_on_windows
def test_other_closed_streams_are_nobody_s(tmp_path: Path) -> None:
    """Else the next file would get the descriptor, and what a library prints."""
    for closed in ("0", "2", "02"):
        program = process(["-c", CLOSED, closed, "run", CAT, "-p", "What is this?", "--greedy"])
        assert (program.communicate()[0], program.returncode) == ("This is a cat.\n", 0)
    out = tmp_path / "out.jsonl"
    program = process(["-c", CLOSED, "012", "caption", "examples/pictures", "-o", str(out), "--greedy"])
    assert program.wait() == 0
    assert {json.loads(line)["path"] for line in out.read_text(encoding="utf-8").splitlines()} >= {"cat.png"}


CLOSED = """
import os, sys
for descriptor in sys.argv[1]:
    os.close(int(descriptor))
os.execv(sys.executable, [sys.executable, "-m", "cli", *sys.argv[2:]])
"""


def test_a_mistake_of_ours_is_one_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> None:
        raise ZeroDivisionError("a\nb" * 200)

    monkeypatch.setattr("omnilmm_lite.bundle.folder.Bundle.find", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["inspect", "tiny"]) == 1
    error = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert error.count("\n") == 1 and len(error) < 400 and str(file) in error and "ZeroDivisionError" in error
    assert "in fail" in file.read_text(encoding="utf-8")


@not_on_windows
def test_ctrl_c_at_any_moment_ends_without_a_traceback() -> None:
    """From our first import on; Python itself says what it wants before."""
    for tenth in range(8):
        program = process(["-c", SLOW_START.format(delay=0.02 * tenth), "run", CAT, "-p", "What is this?", "--greedy"])
        _, err = program.communicate()
        said = ("", TOLD) if program.returncode == 0 else ("",)
        assert err in said and program.returncode in (-signal.SIGINT, 130, 0), (tenth, program.returncode)


SLOW_START = """
import os, signal, sys, threading

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "export":  # the first of cli.py's imports that is not Python's own
            sys.meta_path.remove(self)
            threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGINT)).start()

sys.meta_path.insert(0, Watch())
import cli
sys.exit(cli.main())
"""


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_nothing_heavy(option: str) -> None:
    code = f"import sys, cli\ntry: cli.main([{option!r}])\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    modules = set(process(["-c", code]).communicate()[1].split())
    assert "cli" in modules
    assert not modules & {"numpy", "PIL", "onnxruntime", "tokenizers", "rich", "torch", "onnx", "safetensors"}
