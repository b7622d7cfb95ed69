"""The log in a file: that it is whole, stays small, and holds nobody's words."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import cli
from omnilmm_lite.errors import InputError
from omnilmm_lite.serve import log
from omnilmm_lite.serve.log import LEVELS, LogFile, log_event
from tests.paths import ROOT
from tests.serve.serving import CHAT, question
from tests.systems import PYTHON

MAX_BYTES = 2000
WAIT_S = 60.0


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As they were, afterwards."""
    monkeypatch.setattr("threading.excepthook", None)
    for name in LEVELS:
        logger = logging.getLogger(name)
        for attribute in ("handlers", "propagate", "level"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    yield
    for handler in logging.getLogger(log.OWN).handlers:
        handler.close()


def test_the_server_writes_its_log_there_in_files_of_that_size_and_number(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    options = ("--log-file", str(path), "--log-size", str(MAX_BYTES / 1e6), "--log-count", "2")
    command = [*PYTHON, "-m", "cli", "serve", "--model", "tiny", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with httpx.Client(base_url=process.stdout.readline().strip(), timeout=WAIT_S, trust_env=False) as http:
            again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
            http.post(CHAT, json=question("a very private question", model="a private model"))
            for _ in range(30):
                http.post(CHAT, json=question("a very private question", max_tokens=1))
        process.terminate()
        _, errors = process.communicate(timeout=WAIT_S)
    assert errors == ""
    names = sorted(file.name for file in tmp_path.iterdir() if file.name[0] != ".")  # beside them lies the lock
    assert names == ["serve.log", "serve.log.1", "serve.log.2"]
    texts = [(tmp_path / name).read_text(encoding="utf-8") for name in names]
    assert all(0 < len(text.encode()) <= MAX_BYTES for text in texts)
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    assert {line["event"] for line in lines} == {"request"} and "private" not in "".join(texts)
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "another run is writing there" in again.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--log-file", "{}/nowhere/serve.log"], "--log-file"),
        (["--log-file", "{}"], "--log-file"),
        (["--log-file", "{}/serve.log", "--log-size", "0"], "--log-size"),
        (["--log-size", "nan"], "--log-size"),
        (["--log-count", "0"], "--log-count"),
        (["--idle-unload", "-1"], "--idle-unload"),
        (["--idle-unload", "nan"], "--idle-unload"),
    ],
)
def test_what_keeps_no_log_is_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], loggers: None
) -> None:
    given = [each.format(tmp_path) for each in options]
    assert cli.main(["serve", "--model", "tiny", "--port", "0", *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_log_that_cannot_be_written_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loggers: None
) -> None:
    log.set_up(LogFile(tmp_path / "serve.log", MAX_BYTES, 1))
    (handler,) = logging.getLogger(log.OWN).handlers

    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

        def __getattr__(self, name: str) -> object:
            return lambda *args: 0

    handler.stream = Full()  # type: ignore[attr-defined]
    for _ in range(3):
        log_event("request", path="/v1")
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "No space left on device" in error and "serve.log" in error


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--log-file"):
        LogFile(tmp_path, MAX_BYTES, 1).handler()
