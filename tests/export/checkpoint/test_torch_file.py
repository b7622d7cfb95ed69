"""Torch's .bin files, whose tensors are found by the pickle alone and mapped one by one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from export.checkpoint.torch_file import read_places, read_tensor
from omnilmm_lite.errors import InputError

BASE = torch.arange(4096.0).reshape(64, 64)
STATE = {
    "whole": BASE,
    "transposed": BASE.t(),
    "rows": BASE[3:7],  # one storage for these three, in the file as well
    "bf16": torch.full((3, 5), 1.5, dtype=torch.bfloat16),
    "fp16, every other": torch.arange(10, dtype=torch.float16)[1::2],
    "scalar": torch.tensor(3.0),
    "empty": torch.ones(0, 4),
}


def saved(path: Path, state: object = STATE) -> Path:
    torch.save(state, path)
    return path


def test_views_of_one_storage_come_back(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.bin")
    places = read_places(path)
    assert places.keys() == STATE.keys()
    for name, tensor in STATE.items():
        found = read_tensor(path, places[name])
        assert (found.dtype, found.shape, found.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
        assert torch.equal(found, tensor)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of maps")
def test_no_more_is_mapped_than_the_tensor(tmp_path: Path) -> None:
    """Linux refuses a private map of more than memory and swap together; the model's one file may be that large."""
    path = saved(tmp_path / "model.bin", {f"t{index}": torch.ones(1 << 20) for index in range(16)})
    places = read_places(path)
    assert mapped(path) == 0
    first = read_tensor(path, places["t3"])
    assert first.nbytes <= mapped(path) <= first.nbytes + 2 * 4096
    del first
    assert mapped(path) == 0


def mapped(path: Path) -> int:
    text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    lines = [line.split() for line in text.splitlines() if line.endswith(str(path))]
    ends = [[int(end, 16) for end in line[0].split("-")] for line in lines]
    return sum(end - start for start, end in ends)


def packed_again(source: Path, target: Path, padding: bytes = b"", byte_order: bytes = b"little") -> Path:
    """By another program, which aligns nothing. `padding`: of an entry that moves what comes behind it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            if is_order := info.filename.endswith("/byteorder"):
                new.writestr(info.filename.replace("byteorder", "note"), padding)
            new.writestr(info.filename, byte_order if is_order else old.read(info))
    return target


@pytest.mark.parametrize("padding", [b"", b"x" * 1000])
def test_other_layouts_are_refused_or_read_right(padding: bytes, tmp_path: Path) -> None:
    """What torch computes for its own layout would be other weights here."""
    path = packed_again(saved(tmp_path / "model.bin"), tmp_path / "again.bin", padding)
    try:
        places = read_places(path)
    except InputError as error:
        assert "save it again" in str(error)
    else:
        assert all(torch.equal(read_tensor(path, places[name]), tensor) for name, tensor in STATE.items())


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    path = packed_again(saved(tmp_path / "model.bin"), tmp_path / "big.bin", byte_order=b"big")
    with pytest.raises(InputError, match="big-endian"):
        read_places(path)


def test_entries_that_are_marked_as_encrypted(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.bin")
    data = bytearray(path.read_bytes())
    start = 0
    while (start := data.find(b"PK\x01\x02", start)) >= 0:  # each entry of the zip's directory, whose flags follow
        data[start + 8] |= 1
        start += 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"model\.bin is truncated or damaged .*; download it again"):
        read_places(path)


def test_another_pickle_protocol_is_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """torch warns of one that it doesn't write."""
    torch.save(STATE, tmp_path / "model.bin", pickle_protocol=3)
    recwarn.clear()
    assert read_places(tmp_path / "model.bin").keys() == STATE.keys()
    assert not recwarn.list


def test_a_file_that_became_shorter_meanwhile(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.bin")
    place = read_places(path)["bf16"]
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="can't be read any more"):
        read_tensor(path, place)
