"""Outputs of several runs joined into one: every picture once, and what is missing or in dispute named.

Two passes over the parts. The first notes where each picture's row stands, in a table that SQLite keeps on the disk
where it gets large; the second copies those rows. So a part may grow meanwhile, and memory stays the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnilmm_lite.caption.scale.part import Part
from omnilmm_lite.caption.scale.shard import Shard, shard_number
from omnilmm_lite.caption.writers.table import encodable
from omnilmm_lite.errors import InputError
from omnilmm_lite.files import durable_file
from omnilmm_lite.files.json_log import json_line, settings_path

SHOWN = 5  # names of each kind in a report


@dataclass(frozen=True)
class _Place:
    """Of a row: which part it is in, and how many are above it there."""

    part: int
    row: int


@dataclass
class Report:
    """What was found, the lists in words: all shards with gaps; of pictures the first SHOWN."""

    rows: int = 0
    errors: int = 0  # of the rows
    doubles: int = 0  # rows that a further part had, too
    disagreements: int = 0  # of these, with another text
    gaps: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.doubles or self.disagreements or self.gaps)

    def __str__(self) -> str:
        counts = f"{self.rows} pictures, {self.errors} of them with an error"
        return f"{counts}; {len(self.gaps)} gaps, {self.doubles} doubles, {self.disagreements} disagreements"


def merge(parts: Sequence[Part], output: Path, expected: Iterable[str] = ()) -> Report:
    """Writes the lines of all parts into `output`, as one run without shards would have: it can be gone on in.

    A picture is one path with one content. Of its rows an answer goes before an error, the last of a part before those
    above it, and an earlier part before a later one. `expected`: paths that must have a row. InputError where the parts
    were made with different settings, or one of them is none.
    """
    _check_settings(parts)
    with contextlib.closing(sqlite3.connect("")) as table:
        table.execute("PRAGMA synchronous=OFF")
        columns = "key BLOB PRIMARY KEY, part, place, said BLOB, error, path, shard"
        table.execute(f"CREATE TABLE rows ({columns}) WITHOUT ROWID")
        report, split = Report(), _split(parts)
        for number, part in enumerate(parts):
            for place, line in enumerate(part.lines()):
                _note(table, report, parts, _Place(number, place), line, split)
        report.rows, errors = table.execute("SELECT count(*), sum(error) FROM rows").fetchone()
        report.errors = errors or 0
        _find_gaps(report, parts, table)
        _find_missing(report, table, expected)
        durable_file.write_json(settings_path(output), parts[0].settings)
        durable_file.write_durably(output, lambda partial: _copy(parts, table, partial))
    return report


def _check_settings(parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        for name in sorted(first.settings.keys() | part.settings.keys()):
            was, now = first.settings.get(name), part.settings.get(name)
            if was != now:
                raise InputError(
                    f"{part.path}: made with another {name} than {first.path}: {now!r}, there {was!r}; merge what "
                    "belongs together"
                )


def _split(parts: Sequence[Part]) -> int:
    """Of how many shards the parts are; 0 where they are none, or of different splits."""
    counts = {0 if part.shard is None else part.shard.count for part in parts} - {0}
    return counts.pop() if len(counts) == 1 else 0


def _note(
    table: sqlite3.Connection, report: Report, parts: Sequence[Part], at: _Place, line: dict[str, Any], split: int
) -> None:
    path, is_error = encodable(line["path"]), "text" not in line
    key = _digest([path, line["sha256"]])
    said = _digest([line.get("error") if is_error else line["text"], line.get("tags")])
    found = table.execute("SELECT part, said, error FROM rows WHERE key = ?", (key,)).fetchone()
    if found is None:
        shard = shard_number(line["path"], line["sha256"], split) if split else 0
        row = (key, at.part, at.row, said, is_error, path, shard)
        table.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return
    first, said_before, error_before = found
    if first != at.part:
        report.doubles += 1
        where = f"{path!r}: in {parts[first].path.name} and in {parts[at.part].path.name}"
        _name(report.twice, where)
        if said != said_before and not is_error and not error_before:
            report.disagreements += 1
            _name(report.disputed, where)
    if (error_before and not is_error) or (first == at.part and error_before == is_error):
        change = (at.part, at.row, said, is_error, key)
        table.execute("UPDATE rows SET part = ?, place = ?, said = ?, error = ? WHERE key = ?", change)


def _find_gaps(report: Report, parts: Sequence[Part], table: sqlite3.Connection) -> None:
    """Shards that aren't there, aren't through, or have fewer rows than they saw pictures."""
    shards = {part.shard for part in parts if part.shard is not None}
    if not shards:
        return
    split = _split(parts)
    if not split:
        report.gaps.append(f"shards of different splits: {', '.join(sorted(map(str, shards)))}")
        return
    report.gaps += [f"no part is shard {n}/{split}" for n in range(1, split + 1) if Shard(n, split) not in shards]
    had = dict(table.execute("SELECT shard, count(*) FROM rows GROUP BY shard"))
    seen = []
    for part in parts:
        if part.shard is None:
            continue
        census = part.census
        if census is None:
            report.gaps.append(f"{part.path.name}: shard {part.shard} isn't through; run it again")
            continue
        seen.append((part, census.counts))
        if (missing := census.counts[part.shard.number] - had.get(part.shard.number, 0)) > 0:
            report.gaps.append(f"{part.path.name}: {missing} pictures of shard {part.shard} have no row; run it again")
    for part, pictures in seen[1:]:
        if pictures != seen[0][1]:
            names = f"{seen[0][0].path.name} and {part.path.name}"
            report.gaps.append(f"{names}: they saw different pictures; run both again")


def _find_missing(report: Report, table: sqlite3.Connection, expected: Iterable[str]) -> None:
    table.execute("CREATE INDEX paths ON rows (path)")
    missing = [
        path
        for path in expected
        if table.execute("SELECT 1 FROM rows WHERE path = ?", (encodable(path),)).fetchone() is None
    ]
    report.gaps += [f"{path!r}: it has no row" for path in missing[:SHOWN]]
    if len(missing) > SHOWN:
        report.gaps.append(f"{len(missing) - SHOWN} more pictures have no row")


def _copy(parts: Sequence[Part], table: sqlite3.Connection, partial: Path) -> None:
    with partial.open("wb") as file:
        for number, part in enumerate(parts):
            places = _places(table, number)
            wanted = next(places, None)
            for place, line in enumerate(part.lines()):
                if place == wanted:
                    file.write(json_line(line))
                    wanted = next(places, None)
            if wanted is not None:
                raise InputError(f"{part.path}: it changed while it was read; merge again once no run writes there")


def _places(table: sqlite3.Connection, number: int) -> Iterator[int]:
    for (place,) in table.execute("SELECT place FROM rows WHERE part = ? ORDER BY place", (number,)):
        yield place


def _digest(values: list[Any]) -> bytes:
    return hashlib.sha256(json.dumps(values).encode()).digest()[:16]


def _name(names: list[str], text: str) -> None:
    if len(names) < SHOWN:
        names.append(text)
