"""`benchmarks.card.pack`: one architecture's code kept in place, parts that come together again, what is left out."""

from __future__ import annotations

import hashlib
import lzma
import os
import struct
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.card.pack import __main__ as program
from benchmarks.card.pack.fatbin import containers, is_unused, slim
from benchmarks.card.pack.parts import read_sums, write_parts
from omnilmm_lite.errors import InputError
from tests.paths import ROOT
from tests.systems import linux_alone

# ---- a CUDA library, by hand: the System V ABI's ELF64, and containers as NVIDIA's linker lays them out ----

NAMES = b"\0.nv_fatbin\0.shstrtab\0"
PLACE = 0x100  # of the section


def entry(architecture: int, code: bytes, *, kind: int = 2) -> bytes:
    """64 bytes of header, then the code, a multiple of 8 long; not compressed."""
    code = code.ljust(-(-len(code) // 8) * 8, b"\0")
    header = bytearray(64)
    struct.pack_into("<HHIQ", header, 0, kind, 1, 64, len(code))
    struct.pack_into("<I", header, 28, architecture)
    return bytes(header) + code


def container(*entries: bytes) -> bytes:
    content = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(content)) + content


def library(*all_containers: bytes) -> bytes:
    section = b"".join(all_containers)
    table = PLACE + len(section) + len(NAMES)
    header = bytearray(PLACE)
    header[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", header, 0x28, table)
    struct.pack_into("<HHH", header, 0x3A, 64, 3, 2)
    rows = [(0, 0, 0), (1, PLACE, len(section)), (NAMES.index(b".shstrtab"), PLACE + len(section), len(NAMES))]
    packed = b"".join(struct.pack("<IIQQQQ", name, 1, 0, 0, at, size).ljust(64, b"\0") for name, at, size in rows)
    return bytes(header) + section + NAMES + packed


def kernel(name: str, size: int = 64) -> bytes:
    return f"\0.text.{name}\0".encode().ljust(size, b"\x7f")


GEMV = kernel("_Z4gemvILi4EEvPh")
EXPERT = kernel("_Z9moe_routePf", 200)


def test_one_architecture_stays_where_its_container_was(tmp_path: Path) -> None:
    first = container(entry(80, GEMV), entry(90, GEMV[::-1] + GEMV), entry(120, GEMV))
    second = container(entry(90, GEMV, kind=1), entry(80, GEMV))  # PTX, and nothing for this card
    third = container(entry(90, EXPERT), entry(120, EXPERT))
    data = library(first, second, third)
    path = tmp_path / "lib.so"
    path.write_bytes(data)
    found = slim(path, 90)
    assert (found.kept, found.unused, found.others) == (128, 200, 4 * 64 + 200)
    made = path.read_bytes()
    assert len(made) == len(data)
    assert made[: PLACE + 8] == data[: PLACE + 8]
    assert made[PLACE + len(first + second + third) :] == data[PLACE + len(first + second + third) :]
    # what a driver reads: each container at its old place, with one entry
    (length,) = struct.unpack_from("<Q", made, PLACE + 8)
    assert made[PLACE + 16 : PLACE + 16 + length] == entry(90, GEMV[::-1] + GEMV)
    for place in (PLACE + len(first), PLACE + len(first) + len(second)):
        (length,) = struct.unpack_from("<Q", made, place + 8)
        assert made[place + 16 : place + 16 + length] == entry(120, GEMV)  # a later card's: never taken
    rest = made[PLACE + 16 + 192 : PLACE + len(first)]
    assert not any(rest)


def test_all_kernels_keeps_those_that_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(library(container(entry(90, EXPERT), entry(80, GEMV))))
    assert slim(path, 90, all_kernels=True).kept == 200
    assert path.read_bytes()[PLACE + 16 : PLACE + 16 + 264] == entry(90, EXPERT)


def test_containers_are_found_one_behind_the_other() -> None:
    data = library(container(entry(80, GEMV), entry(90, EXPERT)), container(entry(90, GEMV)))
    first, second = containers(data, "lib.so")
    assert [each.architecture for each in first.entries] == [80, 90]
    assert first.entries[1].start == PLACE + 16 + 128
    assert second.start == PLACE + 16 + 128 + 264


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"MZ", "this is no 64-bit ELF file"),
        (library(container(entry(90, GEMV), entry(80, GEMV))).replace(b".nv_fatbin", b".nv_fat___"), "no section"),
        (library(b"\0" * 64), "isn't laid out as known at 0x100"),
        (library(container(entry(80, GEMV), entry(86, GEMV))), "it has no code for sm_90"),
        (library(container(entry(90, GEMV))), "it has no other architecture's code"),
    ],
)
def test_what_isn_t_known_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        slim(path, 90)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("names", "unused"),
    [
        (["_Z9moe_routePf"], True),
        (["_Z9moe_routePf", "_Z11EmptyKernelv"], True),
        (["_Z4gemvIN12__nv_bfloat16EE"], True),
        (["_Z4gemvIN12__nv_bfloat16EE", "_Z4gemvI6__halfE"], False),
        (["_Z11EmptyKernelv"], False),
        ([], False),
        (["_Z6remoteDPf"], False),
    ],
)
def test_which_kernels_are_not_used(names: list[str], unused: bool) -> None:
    assert is_unused(names) is unused


# ---- parts ----


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    source, out = tmp_path / "source", tmp_path / "parts"
    (source / "project").mkdir(parents=True)
    (source / "site").mkdir()
    out.mkdir()
    (source / "project" / "a.txt").write_text("a\n", encoding="utf-8")
    (source / "site" / "b.bin").write_bytes(np.random.default_rng(0).bytes(50_000))
    (out / "part-09").write_bytes(b"of an earlier run")
    found = write_parts(source, out, 20_000)
    assert [path.name for path in found] == ["part-00", "part-01", "part-02"]
    (out / "stage.sh").write_bytes((ROOT / "benchmarks/card/pack/stage.sh").read_bytes())
    return out


def test_parts_come_together_again(parts: Path, tmp_path: Path) -> None:
    sums = dict(read_sums(parts))
    assert sorted(sums) == sorted(path.name for path in parts.glob("part-*"))
    whole = b""
    for name in sorted(sums):
        piece = (parts / name).read_bytes()
        assert len(piece) <= 20_000
        assert hashlib.sha256(piece).hexdigest() == sums[name]
        whole += piece
    (tmp_path / "all.tar").write_bytes(lzma.decompress(whole))
    with tarfile.open(tmp_path / "all.tar") as archive:
        archive.extractall(tmp_path / "again", filter="data")
    assert (tmp_path / "again/site/b.bin").read_bytes() == (tmp_path / "source/site/b.bin").read_bytes()


def staged(parts: Path, root: Path) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-c", '. "$1"/stage.sh && echo "PATH=$PYTHONPATH"', "bash", str(parts)]
    return subprocess.run(words, env={**os.environ, "CARD_ROOT": str(root)}, capture_output=True, text=True)


@linux_alone
def test_the_other_machine_waits_for_all_parts(parts: Path, tmp_path: Path) -> None:
    root, last = tmp_path / "card", parts / "part-02"
    data = last.read_bytes()
    last.unlink()
    done = staged(parts, root)
    assert done.returncode == 1
    assert "parts are missing or damaged: bring them" in done.stderr
    last.write_bytes(data[:-1] + b"x")
    assert staged(parts, root).returncode == 1
    last.write_bytes(data)
    for _ in range(2):  # the second time, everything is in place
        done = staged(parts, root)
        assert done.returncode == 0, done.stderr
        assert f"PATH={root}/site:{root}/project" in done.stdout
        assert (root / "project" / "a.txt").read_text() == "a\n"


# ---- what travels ----


def test_of_the_engine_only_what_runs_on_a_card() -> None:
    names = [
        "onnxruntime/__init__.py",
        "onnxruntime/capi/onnxruntime_pybind11_state.so",
        "onnxruntime/capi/libonnxruntime_providers_cuda.so",
        "onnxruntime/capi/libonnxruntime_providers_tensorrt.so",
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
        "onnxruntime/tools/onnx_model_utils.py",
        "onnxruntime_gpu-1.31.1.dist-info/METADATA",
    ]
    assert list(program.wanted(names)) == [*names[:3], names[6]]


def test_the_project_travels_without_what_runs_left_there(tmp_path: Path) -> None:
    program.copy_project(tmp_path)
    found = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert Path("benchmarks/card/__main__.py") in found
    assert Path("tests/small_checkpoint.py") in found
    assert not [path for path in found if "__pycache__" in path.parts or "packed" in path.parts]


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--part-mib", "0"], "--part-mib: 0 is out of range"), (["--wheel", "nowhere"], "--wheel: nowhere: there is no")],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert program.main([str(tmp_path / "out"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
