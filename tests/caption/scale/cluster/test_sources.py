"""What is found, how it is read, and what is left out the next time."""

from __future__ import annotations

import base64
import hashlib
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from omnilmm_lite.caption.scale.cluster.reading import Read, pictures
from omnilmm_lite.caption.scale.cluster.source import Holder, Written, find_files
from omnilmm_lite.caption.scale.cluster.store import Store
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.listing import Filter

HELD = {"a.png": b"first", "b/c.jpg": b"second", "b/d.png": b"first"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in HELD.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "notes.txt").write_text("none", encoding="utf-8")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"hidden")
    return tmp_path / "in"


def read(source: Path | str, written: Mapping[str, Sequence[Written]] | None = None) -> list[Read]:
    return [each for file in find_files(str(source), Filter(), written or {}) for each in pictures(file)]


def held(rows: list[Read]) -> dict[str, bytes | None]:
    return {row.path: row.data for row in rows}


def test_a_folder(folder: Path) -> None:
    rows = read(folder)
    assert held(rows) == HELD
    assert [row.sha256 for row in rows] == [hashlib.sha256(HELD[row.path]).hexdigest() for row in rows]
    inside = Filter(["*.png"], ["b"], recursive=True)
    assert [file.path for file in find_files(str(folder), inside, {})] == ["a.png"]
    assert [file.path for file in find_files(str(folder), Filter(recursive=False), {})] == ["a.png"]


def test_what_has_a_row_is_read_again_only_if_it_changed(folder: Path) -> None:
    before = {row.path: [Written(row.sha256, row.version)] for row in read(folder)}
    assert [*find_files(str(folder), Filter(), before)] == []
    os.utime(folder / "a.png", (1, 1))  # touched: it is read, and known
    assert [file.path for file in find_files(str(folder), Filter(), before)] == ["a.png"]
    assert read(folder, before) == []
    (folder / "a.png").write_bytes(b"changed")
    assert held(read(folder, before)) == {"a.png": b"changed"}


def test_a_list(folder: Path, tmp_path: Path) -> None:
    lines = ["in/a.png", str(folder / "b" / "c.jpg"), "", "in/gone.png", "in/a.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    rows = read(tmp_path / "list.txt")
    assert held(rows) == {"in/a.png": b"first", str(folder / "b" / "c.jpg"): b"second", "in/gone.png": None}
    assert rows[2].error == "picture: there is no such file any more"
    assert read(tmp_path / "list.txt", {row.path: [Written(row.sha256, row.version)] for row in rows}) == []


def test_tables_and_archives(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in (*HELD, "notes.txt"):
            archive.add(folder / name, name)
    assert held(read(tmp_path / "x.tar")) == {f"x.tar#{name}": data for name, data in HELD.items()}
    structs = [{"bytes": data, "path": name} for name, data in HELD.items()] + [None]
    parquet.write_table(pyarrow.table({"id": [1, 2, 3, 4], "image": structs}), tmp_path / "x.parquet")
    wanted = dict(zip([f"x.parquet#{n}" for n in range(4)], [*HELD.values(), None], strict=True))
    rows = read(tmp_path / "x.parquet")
    assert held(rows) == wanted and rows[3].error == "picture: there is none in this row"
    known = {"x.parquet#1": [Written(rows[1].sha256, "before")]}
    assert "x.parquet#1" not in held(read(tmp_path / "x.parquet", known))
    lines = "".join(f"{n}\t{base64.b64encode(data).decode()}\n" for n, data in enumerate(HELD.values(), start=7))
    (tmp_path / "x.tsv").write_text("index\timage\n" + lines + "9\tnot base64!\n", encoding="utf-8")
    assert [*held(read(tmp_path / "x.tsv")).values()] == [b"first", b"second", None]  # 9 is there twice
    (tmp_path / "y.tsv").write_text("index\ttext\n1\tx\n", encoding="utf-8")
    with pytest.raises(OmniLMMError, match=r"y.tsv: it can't be read: .*no column bytes, image"):
        read(tmp_path / "y.tsv")
    (tmp_path / "z.tar").write_bytes(b"no archive")
    with pytest.raises(OmniLMMError, match=r"z.tar: it can't be read"):
        read(tmp_path / "z.tar")
    tables = tmp_path / "tables"
    tables.mkdir()
    (tmp_path / "x.tar").rename(tables / "x.tar")
    assert [file.holder for file in find_files(str(tables), Filter(), {})] == [Holder.WEBDATASET]


def test_a_store_elsewhere(folder: Path) -> None:
    for name, data in HELD.items():
        Store("memory://bucket").write(name, data)
    assert held(read("memory://bucket")) == HELD
    assert Store("memory://bucket/a.png").read() == b"first"


@pytest.mark.parametrize("source", ["nowhere", "empty", "in/notes.dat", "nosuch://x"])
def test_what_is_no_source(source: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (folder / "notes.dat").write_bytes(b"")
    with pytest.raises(InputError):
        read(source if "://" in source else tmp_path / source)
