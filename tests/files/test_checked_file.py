"""Checksums beside files: whatever becomes of either, nothing damaged is taken for sound."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from export.checkpoint.safetensors_file import write_checked_tensors
from omnilmm_lite.files.checked_file import checksum_path, is_sound, is_usable, remove_checked, write_checksum
from tests.files.killed import NEVER, Killed, killed_after

CONTENT = b"what a layer puts out"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with its checksum."""
    path = tmp_path / "layer-000.safetensors"
    path.write_bytes(CONTENT)
    write_checksum(path, path)
    return path


def test_a_file_as_it_was_written_is_sound(path: Path) -> None:
    assert checksum_path(path) == path.with_name("layer-000.safetensors.sha256")
    assert checksum_path(path).read_text(encoding="utf-8") == hashlib.sha256(CONTENT).hexdigest() + "\n"
    assert is_sound(path)
    assert is_usable(path)


@pytest.mark.parametrize(
    "damaged", [b"", CONTENT[:-1], CONTENT + b"\0", bytes(len(CONTENT)), CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])]
)
def test_any_other_content_is_not(path: Path, damaged: bytes) -> None:
    path.write_bytes(damaged)
    assert not is_sound(path)
    assert not is_usable(path)


@pytest.mark.parametrize("checksum", [b"", b"\n", b"\xff\xfe", b"0" * 64, hashlib.sha256(b"").hexdigest().encode()])
def test_a_damaged_checksum_speaks_for_nothing(path: Path, checksum: bytes) -> None:
    checksum_path(path).write_bytes(checksum)
    assert not is_sound(path)
    assert not is_usable(path)


def test_a_file_of_an_older_version_is_usable_but_not_sound(path: Path) -> None:
    checksum_path(path).unlink()
    assert not is_sound(path)
    assert is_usable(path)


def test_a_checksum_alone_is_nothing(path: Path) -> None:
    path.unlink()
    assert not is_sound(path)
    assert not is_usable(path)


def test_both_are_removed(path: Path, tmp_path: Path) -> None:
    remove_checked(path)
    assert list(tmp_path.iterdir()) == []
    remove_checked(path)  # what isn't there is no error


def test_a_removal_that_is_cut_short_leaves_no_unchecked_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for one of an older version, whatever it holds."""
    removed: list[Path] = []
    unlink = Path.unlink

    def first_only(self: Path, missing_ok: bool = False) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(self)
        unlink(self, missing_ok)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", first_only)
        remove_checked(path)
    assert not path.exists()


def test_a_write_that_is_cut_short_leaves_what_was_there(tmp_path: Path) -> None:
    """Between any two steps: the file is the old one or the new one, sound, and never called damaged."""
    write_states(tmp_path / "whole", 0)
    with killed_after(NEVER, tmp_path) as steps:
        write_states(tmp_path / "whole", 1)
    found = []
    for last in range(steps.done):
        path = tmp_path / f"states-{last}"
        write_states(path, 0)
        with pytest.raises(Killed), killed_after(last, tmp_path):
            write_states(path, 1)
        assert is_sound(path)
        found.append(states(path))
        write_states(path, 2)  # over whatever was left
        assert is_sound(path)
        assert states(path) == 2
    assert found == sorted(found)
    assert {*found} == {0, 1}


def test_a_first_write_that_is_cut_short_leaves_nothing_that_counts(tmp_path: Path) -> None:
    with killed_after(NEVER, tmp_path) as steps:
        write_states(tmp_path / "whole", 0)
    for last in range(steps.done):
        path = tmp_path / f"states-{last}"
        with pytest.raises(Killed), killed_after(last, tmp_path):
            write_states(path, 0)
        assert is_usable(path) == path.exists()
        assert not path.exists() or is_sound(path)


def test_damage_that_is_written_over_is_damage_until_then(path: Path, tmp_path: Path) -> None:
    """The checksum of what is there counts for as long as what is there is sound."""
    path.write_bytes(b"damaged")
    (tmp_path / "new").write_bytes(b"new")
    write_checksum(path, tmp_path / "new")
    assert not is_usable(path)
    path.write_bytes(CONTENT)
    assert not is_usable(path)
    path.write_bytes(b"new")
    assert is_sound(path)


def write_states(path: Path, value: int) -> None:
    write_checked_tensors(path, {"states": np.full(3, value, dtype=np.float32)})


def states(path: Path) -> int:
    return int(load_file(path)["states"][0])
