"""Shards, and what joins them: what comes out is what one run would have written; all else is named."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.caption.scale.census import Census
from omnilmm_lite.caption.scale.merge import Report, merge
from omnilmm_lite.caption.scale.part import Part
from omnilmm_lite.caption.scale.shard import Shard, shard_number
from omnilmm_lite.errors import InputError
from tests.command_line import Run, runner
from tests.paths import ROOT

run = pytest.fixture(runner)

SETTINGS = {"model": "tiny@1", "prompt": "What?"}


def line(number: int, text: str | None = "a cat") -> dict[str, str]:
    row = {"path": f"{number}.png", "sha256": f"{number * 7919 + 2**60:064x}"[::-1]}
    return row | ({"error": "broken"} if text is None else {"text": text})


def part(folder: Path, name: str, lines: list[dict[str, str]], shard: str | None = None) -> Part:
    path = folder / name
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    settings = SETTINGS | ({} if shard is None else {"shard": shard})
    (folder / f"{name}.settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return Part.open(path)


def joined(folder: Path, *parts: Part, expected: tuple[str, ...] = ()) -> tuple[Report, list[dict[str, str]]]:
    report = merge(parts, folder / "out.jsonl", expected)
    return report, [json.loads(each) for each in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]


@given(st.binary(min_size=32, max_size=32), st.text(max_size=9), st.integers(1, 50))
def test_each_picture_is_one_shard_s_whatever_its_name(digest: bytes, path: str, count: int) -> None:
    taken = [n for n in range(1, count + 1) if Shard(n, count).takes(path, digest.hex())]
    assert taken == [shard_number("another name", digest.hex(), count)]
    assert len([n for n in range(1, count + 1) if Shard(n, count).takes(path, None)]) == 1  # one that can't be read


def test_shards_are_of_a_size() -> None:
    counts = Counter(shard_number("", random.Random(n).randbytes(32).hex(), 8) for n in range(8000))
    assert sorted(counts) == [*range(1, 9)] and all(880 < each < 1120 for each in counts.values())  # four deviations


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "1/0", "1", "a/b", "1/3/", "-1/3", "1/100001", "\u0661/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(InputError, match="--shard"):
        Shard.read(text)


def test_rows_come_once(tmp_path: Path) -> None:
    first = part(tmp_path, "a", [line(1), line(2, None), line(3, None), line(3)])
    second = part(tmp_path, "b", [line(1), line(2), line(4, None)])
    report, lines = joined(tmp_path, first, second)
    assert lines == [line(1), line(3), line(2), line(4, None)]
    assert (report.rows, report.errors, report.doubles, report.disagreements) == (4, 1, 2, 0)
    assert report.twice == ["'1.png': in a and in b", "'2.png': in a and in b"] and not report.is_clean
    assert json.loads((tmp_path / "out.jsonl.settings.json").read_text(encoding="utf-8")) == SETTINGS


def test_another_text_is_a_disagreement(tmp_path: Path) -> None:
    report, lines = joined(tmp_path, part(tmp_path, "a", [line(1)]), part(tmp_path, "b", [line(1, "a dog")]))
    assert lines == [line(1)]
    assert (report.doubles, report.disagreements, report.disputed) == (1, 1, ["'1.png': in a and in b"])
    changed = line(1, "a dog") | {"sha256": "f" * 64}  # its file was another one then
    assert joined(tmp_path, part(tmp_path, "a", [line(1)]), part(tmp_path, "b", [changed]))[0].is_clean


def test_gaps_are_found(tmp_path: Path) -> None:
    rows = [line(number) for number in range(40)]
    shards = [Shard(n, 3) for n in (1, 2, 3)]
    parts = []
    for shard in shards:
        own = [row for row in rows if shard.takes(row["path"], row["sha256"])]
        parts.append(part(tmp_path, f"s{shard.number}", own, str(shard)))
        census = Census(shard)
        for row in rows:
            census.count(row["path"], row["sha256"])
        census.write(parts[-1].path)
    report, lines = joined(tmp_path, *parts, expected=tuple(row["path"] for row in rows))
    assert report.is_clean and sorted(map(str, lines)) == sorted(map(str, rows))
    assert joined(tmp_path, parts[0], parts[2])[0].gaps == ["no part is shard 2/3"]
    assert joined(tmp_path, *parts, expected=("40.png", "1.png"))[0].gaps == ["'40.png': it has no row"]
    whole = parts[1].path.read_text(encoding="utf-8").splitlines(keepends=True)
    parts[1].path.write_text("".join(whole[:-2]) + whole[-2][:20], encoding="utf-8")  # the disk lost its end
    assert joined(tmp_path, *parts)[0].gaps == ["s2: 2 pictures of shard 2/3 have no row; run it again"]
    Census(shards[1]).forget(parts[1].path)
    assert joined(tmp_path, *parts)[0].gaps == ["s2: shard 2/3 isn't through; run it again"]
    Census(shards[1], Counter({1: 1})).write(parts[1].path)
    assert joined(tmp_path, *parts)[0].gaps == ["s1 and s2: they saw different pictures; run both again"]


def test_what_is_no_part(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such output"):
        Part.open(tmp_path / "none")
    (tmp_path / "x.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match="which says how it was made"):
        Part.open(tmp_path / "x.jsonl")
    bad = part(tmp_path, "y", [line(1), {"path": "2.png"}])
    with pytest.raises(InputError, match="y: line 2 is none that caption writes"):
        merge([bad], tmp_path / "out.jsonl")
    good = part(tmp_path, "z", [line(1)])
    other = Part(good.path, good.files, SETTINGS | {"prompt": "Who?"}, None)
    with pytest.raises(InputError, match="another prompt"):
        merge([good, other], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_the_commands(tmp_path: Path, run: Run) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(ROOT / "examples" / "pictures", pictures)
    (pictures / "broken.png").write_bytes(b"no picture")
    caption = ["caption", str(pictures), "-p", "What is this?", "--greedy", "--model", "tiny", "--threads", "1", "-o"]
    parts = [str(tmp_path / f"{n}.jsonl") for n in (1, 2)]
    for number, output in enumerate(parts, start=1):
        assert run(*caption, output, "--shard", f"{number}/2").code == 0
        assert (tmp_path / f"{number}.jsonl.census.json").is_file()
    assert run(*caption, str(tmp_path / "whole.jsonl")).code == 0
    assert run("merge", str(tmp_path / "out.jsonl"), *parts, "--source", str(pictures)).code == 0

    def said(path: Path) -> set[tuple[str, ...]]:
        entries = [json.loads(each) for each in path.read_text(encoding="utf-8").splitlines()]
        return {(each["path"], each["sha256"], each.get("text", ""), each.get("error", "")) for each in entries}

    assert said(tmp_path / "out.jsonl") == said(tmp_path / "whole.jsonl") and len(said(tmp_path / "out.jsonl")) == 6
    again = run(*caption, str(tmp_path / "out.jsonl"))  # it can be gone on in
    assert again.code == 0 and "0 described, 0 could not be read, 6 had a line already" in again.err
    half = run("merge", str(tmp_path / "half.csv"), parts[0])
    assert half.code == 1 and "gap: no part is shard 2/2" in half.err and (tmp_path / "half.csv").is_file()
    assert run("merge", str(tmp_path / "half.csv"), parts[0]).code == 2
    assert run(*caption, parts[0]).code == 2  # begun as a shard
    assert run(*caption, "-", "--shard", "1/2").code == 2
    embedding = run(*caption, str(tmp_path / "3.jsonl"), "--shard", "1/2", "--embed")
    assert embedding.code == 2 and "written into is in another shard then" in embedding.err
