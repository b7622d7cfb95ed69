"""Only files are opened: a pipe would wait, a device could do anything."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from omnilmm_lite.errors import InputError
from omnilmm_lite.files import regular_file
from omnilmm_lite.files.regular_file import check_regular, open_regular, read_regular
from tests.systems import make_pipe, not_on_windows

READERS = pytest.mark.parametrize("read", [check_regular, open_regular, lambda path: read_regular(path, 9)])


@READERS
def test_files_and_links_to_them_are_opened(tmp_path: Path, read: object) -> None:
    assert callable(read)
    (tmp_path / "file").write_bytes(b"123456789")
    (tmp_path / "link").symlink_to("file")
    read(tmp_path / "file")
    read(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises(InputError, match="this is a folder, where a file is needed"):
        read(tmp_path)


@READERS
@not_on_windows
def test_pipes_sockets_and_devices_are_refused(tmp_path: Path, read: object) -> None:
    assert callable(read)
    make_pipe(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    kinds = {"pipe": "a named pipe", "null": "a device"}
    if sys.platform != "win32":
        kinds["socket"] = "a socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.relpath(tmp_path / "socket"))  # its name may be a hundred bytes long
    for name, kind in kinds.items():
        with pytest.raises(InputError, match=f"{name}: this is {kind}, where a file is needed"):
            read(tmp_path / name)


def test_a_pipe_that_takes_a_files_place_meanwhile_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pipe(tmp_path / "pipe")
    monkeypatch.setattr(regular_file, "check_regular", lambda path: None)
    with pytest.raises(InputError, match="this is a named pipe"):
        open_regular(tmp_path / "pipe")


def test_more_bytes_than_may_be_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234567890")
    assert read_regular(tmp_path / "file", 10) == b"1234567890"
    with pytest.raises(InputError, match="is larger than"):
        read_regular(tmp_path / "file", 9)
