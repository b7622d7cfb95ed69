"""JSON that an earlier run left: damaged, it is made again rather than gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from omnilmm_lite.bundle.schema import build
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.checked_file import checksum_path
from quantize.work_folder import WorkFolder, read_kept, write_kept


@dataclass(frozen=True)
class Kept:
    answers: tuple[int, ...]


def read(path: Path, lines: list[str]) -> Kept | None:
    return read_kept(path, lambda data: build(Kept, data), lines.append)


def test_what_was_kept_is_read(tmp_path: Path) -> None:
    lines: list[str] = []
    assert read(tmp_path / "a.json", lines) is None
    write_kept(tmp_path / "a.json", {"answers": [1, 2]})
    assert read(tmp_path / "a.json", lines) == Kept((1, 2))
    checksum_path(tmp_path / "a.json").unlink()  # as versions before left it
    assert read(tmp_path / "a.json", lines) == Kept((1, 2))
    assert not lines


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("data", ["", "{", "[]", "{}", '{"answers": 3}', '{"answers": ["1"]}', '{"answers": [1, 3]}'])
def test_what_is_damaged_is_removed_and_said(data: str, checked: bool, tmp_path: Path) -> None:
    path, lines = tmp_path / "a.json", list[str]()
    write_kept(path, {"answers": [1, 2]})
    path.write_text(data, encoding="utf-8")
    if not checked:
        checksum_path(path).unlink()
        if data.endswith("3]}"):  # nobody can know
            assert read(path, lines) == Kept((1, 3))
            return
    assert read(path, lines) is None
    assert lines == [f"{path}: the file is damaged; making it again"]
    assert not list(tmp_path.iterdir())


def test_arguments_that_were_damaged_name_the_folder(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    (tmp_path / "arguments.json").write_text("{", encoding="utf-8")
    for check in (work.check_arguments, work.check_options):
        with pytest.raises(InputError, match=r"arguments\.json is not valid JSON .*; remove .* another work folder$"):
            check({"bits": 4})
