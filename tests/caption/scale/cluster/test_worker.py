"""What runs on the nodes, here without Ray: batches that are begun again, poison, parts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from omnilmm_lite.caption.scale.cluster.parts_folder import PartsFolder
from omnilmm_lite.caption.scale.cluster.source import find_files
from omnilmm_lite.caption.scale.cluster.worker import CaptionWorker, ReadUnits, Work, WritePart, unit_text
from omnilmm_lite.cluster.finished_rows import FATAL_STARTS, FinishedRows
from omnilmm_lite.cluster.kept_batch import LOST
from omnilmm_lite.errors import InputError
from omnilmm_lite.picture.listing import Filter
from tests.cluster.stand_ins import Lost, stand_in_for_ray, tiny_briefing
from tests.paths import ROOT

PICTURES = ROOT / "examples" / "pictures"
CAPTIONER = {"prompt": "What is this?", "greedy": True, "threads": 1}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> FinishedRows:
    stand_in_for_ray(monkeypatch)
    return FinishedRows()


def worker(rows: FinishedRows) -> CaptionWorker:
    return CaptionWorker(Work(tiny_briefing(rows), CAPTIONER))


def batches(size: int) -> list[Any]:
    units = pyarrow.table({"unit": [unit_text([*find_files(str(PICTURES), Filter(), {})])]})
    return [*ReadUnits(size)(units)]


def lines(table: Any) -> dict[str, dict[str, Any]]:
    return {line["path"]: line for line in map(json.loads, table["line"].to_pylist())}


def test_units_come_in_batches() -> None:
    assert [len(table) for table in batches(2)] == [2, 2, 1] and [len(table) for table in batches(5)] == [5, 0]


def test_what_a_lost_worker_had_done_is_taken_from_it(rows: FinishedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    [batch, _] = batches(5)
    whole = lines(worker(rows)(batch))
    assert {line["text"] for line in whole.values()} >= {"This is a cat.", "This is an owl."}
    [name] = rows._batches
    rows.forget(name)
    begun = rows.begin(name)
    assert (dict(begun.rows), begun.is_fatal) == ({}, False)
    rows.add(name, "cat.png", whole["cat.png"] | {"text": "as it was"})
    second = worker(rows)
    asked: list[int] = []
    captions = second._captioner.captions

    def counted(pictures: Any, **how: Any) -> Any:
        for row in captions(pictures, **how):
            asked.append(1)
            yield row

    monkeypatch.setattr(second._captioner, "captions", counted)
    again = lines(second(batch))
    assert again["cat.png"]["text"] == "as it was" and len(asked) == 4
    assert {path: line["text"] for path, line in again.items() if path != "cat.png"} == {
        path: line["text"] for path, line in whole.items() if path != "cat.png"
    }


def test_a_picture_that_ends_every_worker_becomes_an_error(rows: FinishedRows) -> None:
    [batch, _] = batches(5)
    first = worker(rows)
    name = ""

    tries: list[bool] = []

    def dies(pictures: Any, *, one_by_one: bool) -> Any:
        tries.append(one_by_one)
        raise Lost

    first._captioner.captions = dies  # type: ignore[method-assign, assignment]
    for _ in range(FATAL_STARTS - 1):
        with pytest.raises(Lost):
            first(batch)
    assert tries == [False, True, True]  # of several at once, nobody could say which ended the worker
    [name] = rows._batches
    found = [*lines(worker(rows)(batch)).values()]
    assert [line.get("error") for line in found] == [LOST, None, None, None, None]
    assert len(rows.begin(name).rows) == 5


def test_parts_are_there_once(rows: FinishedRows, tmp_path: Path) -> None:
    folder = PartsFolder(str(tmp_path / "out"), ".parquet")
    folder.begin({"model": "x"})
    folder.begin({"model": "x"})
    with pytest.raises(InputError, match="begun with other settings: model was 'x', is 'y'"):
        folder.begin({"model": "y"})
    first, second, third = map(worker(rows), batches(2))
    write = WritePart(str(tmp_path / "out"), ".parquet")
    told = [write(table).to_pylist()[0] for table in (first, second, third, second)]
    assert [each["rows"] for each in told] == [2, 2, 1, 2] and told[1] == told[3]
    assert len(folder.written(retry_errors=False)) == 5
    late = [*lines(first).values(), *lines(third).values()]
    folder.write(late)  # by a task whose driver was lost
    assert folder.settle() == 3 and folder.settle() == 0
    assert sorted(map(len, folder.written(retry_errors=False).values())) == [1] * 5
    broken = {"path": "x.png", "sha256": "0", "error": "broken", "version": "1"}
    folder.write([broken])
    assert "x.png" in folder.written(retry_errors=False) and "x.png" not in folder.written(retry_errors=True)
    folder.write([{"path": "x.png", "sha256": "0", "text": "a cat", "version": "1"}])
    assert folder.settle() == 1 and len(folder.written(retry_errors=True)) == 6
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "notes").write_bytes(b"")
    with pytest.raises(InputError, match="holds something else"):
        PartsFolder(str(tmp_path / "else"), ".jsonl").begin({})


@pytest.mark.parametrize("seed", range(20))
def test_settling_loses_nothing(seed: int, tmp_path: Path) -> None:
    chance, folder = random.Random(seed), PartsFolder(str(tmp_path), ".jsonl")
    rows = [{"path": f"{n}.png", "sha256": str(n), "text": "a cat", "version": "1"} for n in range(12)]
    for _ in range(6):
        folder.write(chance.sample(rows, chance.randrange(1, 6)))
    before = folder.written(retry_errors=False)
    taken = folder.settle()
    after = folder.written(retry_errors=False)
    assert after.keys() == before.keys() and all(len(each) == 1 for each in after.values())
    assert taken == sum(map(len, before.values())) - len(before)
