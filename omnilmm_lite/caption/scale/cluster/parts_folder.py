"""OUT: a folder of parts, each written as a whole, and beside them what they were made with."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omnilmm_lite.caption.scale.cluster.source import Written
from omnilmm_lite.caption.scale.cluster.store import Store
from omnilmm_lite.caption.scale.part import JSONL, PARQUET, SETTINGS, TIMINGS, line_of
from omnilmm_lite.caption.writers.table import encodable_cell
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.json_log import json_line
from omnilmm_lite.files.printable import printable

PREFIX = "part-"


class PartsFolder:
    """`ending`: JSONL or PARQUET, of what is written; both are read."""

    def __init__(self, place: str, ending: str) -> None:
        self.place, self._ending = place, ending
        self._store = Store(place)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """InputError where it holds something else, or was begun with other settings."""
        if self._store.is_file():
            raise InputError(f"{printable(self.place, None)}: this is a file; with --ray, -o names a folder of parts")
        names = [found.path for found in self._store.find()] if self._store.is_folder() else []
        if SETTINGS not in names:
            if names:
                where = printable(self.place, None)
                raise InputError(f"{where}: this folder holds something else; name another one after -o")
            self._store.write(SETTINGS, json.dumps(settings, indent=1).encode() + b"\n")
            return
        try:
            before = dict(json.loads(self._store.read(SETTINGS)))
        except (ValueError, TypeError, RecursionError):
            before = {}
        for name in sorted(before.keys() | settings.keys()):
            if before.get(name) != settings.get(name):
                raise InputError(
                    f"{printable(self.place, None)}: begun with other settings: {name} was {before.get(name)!r}, is "
                    f"{settings.get(name)!r}; give the same ones, or name another folder after -o"
                )

    def written(self, *, retry_errors: bool) -> dict[str, list[Written]]:
        """The rows that are there, by path; those with an error are not, where they are to be tried again."""
        rows: dict[str, list[Written]] = defaultdict(list)
        for part in self._parts():
            for line in self._lines(part):
                if not (retry_errors and "text" not in line):
                    rows[line["path"]].append(Written(line["sha256"], line.get("version")))
        return rows

    def write(self, lines: Sequence[Mapping[str, Any]], origin: str = "") -> str:
        """Its name, which follows from the pictures: written twice, a part is there once. `origin`: the part that they
        are from, where they are not a worker's: another one may hold the very same."""
        keys = [origin, *sorted(json.dumps([line["path"], line["sha256"], "text" in line]) for line in lines)]
        name = f"{PREFIX}{hashlib.sha256(chr(10).join(keys).encode()).hexdigest()[:24]}{self._ending}"
        self._store.write(name, _table(lines) if self._ending == PARQUET else b"".join(map(json_line, lines)))
        return name

    def settle(self) -> int:
        """Takes rows away that a further part has, too: a part that a lost driver's task wrote late, or an error that
        an answer has replaced. How many."""
        answered: set[bytes] = set()
        taken = 0
        parts = [*self._parts()]
        for part in parts:
            answered |= {_key(line) for line in self._lines(part) if "text" in line}
        seen: set[bytes] = set()
        for part in parts:
            lines = [*self._lines(part)]
            kept = []
            for line in lines:
                key = _key(line)
                if key not in seen and ("text" in line or key not in answered):
                    kept.append(line)
                    seen.add(key)
            if len(kept) < len(lines):
                taken += len(lines) - len(kept)
                if kept:
                    self.write(kept, part)  # before the old one goes
                self._store.remove(part)
        return taken

    def _parts(self) -> Iterator[str]:
        for found in self._store.find() if self._store.is_folder() else ():
            if found.path.startswith(PREFIX) and found.path.endswith((JSONL, PARQUET)):
                yield found.path

    def _lines(self, part: str) -> Iterator[dict[str, Any]]:
        data = self._store.read(part)
        if part.endswith(JSONL):
            yield from map(json.loads, data.splitlines())
        else:
            from pyarrow.parquet import read_table

            yield from map(line_of, read_table(io.BytesIO(data)).to_pylist())


def _key(line: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps([line["path"], line["sha256"]]).encode()).digest()[:16]


def _table(lines: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow.parquet import write_table

    text, number, count = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    names = ("path", "sha256", "text", "tags", "finish_reason", "error", "model", "version")
    fields = [(name, pyarrow.list_(text) if name == "tags" else text) for name in names]
    fields += [(name, count if name.endswith("tokens") else number) for name in TIMINGS]
    rows = [{**line, **line.get("timings", {})} for line in lines]
    plain = [{name: encodable_cell(row.get(name)) for name, _ in fields} for row in rows]
    target = io.BytesIO()
    write_table(pyarrow.Table.from_pylist(plain, pyarrow.schema(fields)), target, compression="zstd")
    return target.getvalue()
