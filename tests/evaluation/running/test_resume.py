"""Runs that are stopped, at any point, and go on: everything comes out the same, byte by byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from cli import main
from tests.command_line import refused, runner
from tests.commands.test_cli_process import process
from tests.evaluation.mini_sets import EASY, write_easyvqa
from tests.evaluation.running.conftest import OPTIONS
from tests.files.another_run import another_run
from tests.systems import linux_alone, not_on_windows

NAMES = ("seedbench", "mathvista", "easyvqa")


def words(data: Path, out: Path) -> list[str]:
    return ["eval", *NAMES, "--data", str(data), "-o", str(out), *OPTIONS]


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def answered(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.glob("*.jsonl"))


def kill_at(data: Path, out: Path, lines: int) -> None:
    """A real run, killed once it has written so many lines, or ended before."""
    program = process(["cli.py", *words(data, out)])
    while program.poll() is None and answered(out) < lines:
        time.sleep(0.001)
    program.kill()
    program.communicate()


@pytest.fixture(scope="module")
def whole(mini_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(words(mini_sets, out)) == 0
    return contents(out)


@pytest.mark.parametrize("lines", [3, 40])
def test_after_a_kill_everything_comes_out_the_same(
    lines: int, mini_sets: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    kill_at(mini_sets, tmp_path / "out", lines)
    assert main(words(mini_sets, tmp_path / "out")) == 0
    assert contents(tmp_path / "out") == whole


@pytest.mark.slow
def test_twenty_kills(mini_sets: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    total = sum(content.count(b"\n") for name, content in whole.items() if name.endswith(".jsonl"))
    for point in range(20):
        out = tmp_path / str(point)
        for lines in (point * total // 19, point * total // 19 + 2):  # the second within what the first has left
            kill_at(mini_sets, out, lines)
        assert main(words(mini_sets, out)) == 0
        assert contents(out) == whole


def test_a_line_that_was_half_written_is_written_again(
    mini_sets: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """In the middle of a picture's questions, where the cache held what a new process doesn't."""
    out = tmp_path / "out"
    out.mkdir()
    for name, content in whole.items():
        if name.endswith(".jsonl"):
            (out / name).write_bytes(content[: len(content) // 2])
        elif name.endswith(".settings.json"):
            (out / name).write_bytes(content)
    assert main(words(mini_sets, out)) == 0
    assert contents(out) == whole


def test_two_at_once_are_refused(
    mini_sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_run(tmp_path / "out"):
        assert "another run is writing there" in refused(
            runner(capsys, monkeypatch)(*words(mini_sets, tmp_path / "out"))
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--max-new-tokens", "17"], "max_new_tokens was 16, is 17"),
        (["--profile", "official"], "profile was 'vek2402', is 'official'"),
        (["--drafts"], "drafts was False, is True"),
        (["--context", "300"], "context was not set, is 300"),
    ],
)
def test_changed_arguments_are_refused(
    more: list[str],
    what: str,
    mini_sets: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, content in whole.items():
        (out / name).write_bytes(content)
    result = runner(capsys, monkeypatch)(*words(mini_sets, out), *more)
    assert result.code == 2
    assert f"begun with other settings: {what}" in result.err
    assert contents(out) == whole


@not_on_windows
def test_ctrl_c_keeps_what_is_answered_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = process(["cli.py", "eval", "easyvqa", "--data", str(EASY), "-o", str(out), *OPTIONS])
    wait_for_lines(out, 5, program)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate()
    assert program.returncode == 130
    assert err.endswith(f"stopped: {out} keeps what was answered, and the same command goes on\n")
    assert answered(out) >= 5
    assert not (out / "report.json").exists()


def limit_files(size: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextmanager
def as_nobody() -> Iterator[None]:
    """For root, who may read everything."""
    if sys.platform != "win32" and os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


@linux_alone
@pytest.mark.parametrize("size", [4000, 20_000])
def test_a_full_disk_is_one_line_and_loses_nothing(
    size: int, mini_sets: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """A limit of files' size stands in for the disk: in the midst of answers, and of reports."""
    out = tmp_path / "out"
    program = process(["cli.py", *words(mini_sets, out)], preexec_fn=partial(limit_files, size))
    _, err = program.communicate()
    assert program.returncode == 1
    assert err.splitlines()[-1] == (
        f"omnilmm-lite: {out} can't be filled: File too large; it keeps what was answered, and the same command goes on"
    )
    assert answered(out) > 0
    assert not (out / "report.html").exists()
    assert main(words(mini_sets, out)) == 0
    assert contents(out) == whole


@not_on_windows
def test_a_folder_that_may_not_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_easyvqa(tmp_path)
    data.chmod(0o000)
    with as_nobody():
        said = refused(runner(capsys, monkeypatch)("eval", "easyvqa", "--data", str(data), "--check"))
    data.chmod(0o755)
    assert "can't be read: Permission denied; check its" in said


def wait_for_lines(out: Path, count: int, program: subprocess.Popen[str]) -> None:
    while program.poll() is None and answered(out) < count:
        time.sleep(0.001)
