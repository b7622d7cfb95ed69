"""The program in a process of its own: exit codes, signals, pipes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

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
    assert (program.returncode, err) == (1, "omnilmm-lite: system: No space left on device\n")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_nothing_heavy(option: str) -> None:
    code = f"import sys, cli\ntry: cli.main([{option!r}])\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    modules = set(process(["-c", code]).communicate()[1].split())
    assert "cli" in modules
    assert not modules & {"numpy", "PIL", "onnxruntime", "tokenizers", "rich", "torch", "onnx", "safetensors"}
