"""One run at a time, whatever becomes of the other one."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.owner_lock import Owner, lock_path, sole_owner
from tests.files.another_run import another_run
from tests.paths import ROOT


def test_the_second_is_told_of_the_first(tmp_path: Path) -> None:
    with another_run(tmp_path / "out") as first:
        with pytest.raises(InputError) as caught, sole_owner(tmp_path / "out"):
            pass
        text = str(caught.value)
        assert text.startswith(f"{tmp_path / 'out'}: another run is writing there (process {first.pid} on ")
        assert socket.gethostname() in text and re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)", text)
        with sole_owner(tmp_path / "other"):  # of the same folder
            pass


def test_another_name_is_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with another_run(tmp_path / "out"), pytest.raises(InputError, match="another run"), sole_owner(tmp_path / "link"):
        pass


def test_a_folder_that_is_not_there_is_the_caller_s_to_name(tmp_path: Path) -> None:
    with sole_owner(tmp_path / "none" / "out"):
        assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with sole_owner(tmp_path / "file" / "out"):
        pass


def test_it_is_given_back(tmp_path: Path) -> None:
    with another_run(tmp_path / "out"):
        pass
    with sole_owner(tmp_path / "out"):
        found = Owner.read(lock_path(tmp_path / "out"))
        assert found is not None and found.pid == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_an_error_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sole_owner(tmp_path / "out"):
        1 / 0  # noqa: B018
    with sole_owner(tmp_path / "out"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there, programs are asked")
def test_a_killed_run_has_it_no_more(tmp_path: Path) -> None:
    with another_run(tmp_path / "out") as first:
        first.kill()
        first.wait()
        assert lock_path(tmp_path / "out").is_file()  # what it left
        with sole_owner(tmp_path / "out"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_have_it_in_turn(tmp_path: Path) -> None:
    """Each adds one to a number that lies in a file, and tries again where it is refused."""
    count, loops, runs = tmp_path / "count", 25, 4
    count.write_text("0")
    code = f"""
import time
from pathlib import Path
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.owner_lock import sole_owner
done = 0
while done < {loops}:
    try:
        with sole_owner(Path({str(tmp_path / "out")!r})):
            number = int(Path({str(count)!r}).read_text())
            time.sleep(0.001)
            Path({str(count)!r}).write_text(str(number + 1))
            done += 1
    except InputError:
        time.sleep(0.001)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(runs)]
    assert [process.wait() for process in processes] == [0] * runs
    assert count.read_text() == str(loops * runs)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_that_cannot_lock_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(self: filelock.FileLock) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "_acquire", refuse)
    said: list[str] = []
    with sole_owner(tmp_path / "out", said.append):
        pass
    assert len(said) == 1 and os.strerror(number) in said[0] and str(tmp_path / "out") in said[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\0" * 50, '"x"', "[" * 100_000])
def test_a_damaged_owner_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.lock").write_text(text)
    assert Owner.read(tmp_path / "x.lock") is None
    assert Owner.read(tmp_path / "none.lock") is None


def test_an_owner_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(json.dumps({"pid": "1\n2", "host": "a\x1b[31m" * 99, "since": "now\n"}))
    assert str(Owner.read(path)).isprintable() and len(str(Owner.read(path))) < 400
