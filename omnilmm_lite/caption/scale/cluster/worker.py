"""What Ray Data runs on the nodes: reading, describing, writing. Each has its batch as a table and gives one back.

Readers and writers know nothing of Ray.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omnilmm_lite.caption.scale.caption_row import CaptionRow
from omnilmm_lite.caption.scale.captioner import Captioner
from omnilmm_lite.caption.scale.cluster.parts_folder import PartsFolder
from omnilmm_lite.caption.scale.cluster.reading import Read, pictures
from omnilmm_lite.caption.scale.cluster.source import File, Holder
from omnilmm_lite.caption.scale.part import TIMINGS
from omnilmm_lite.cluster.briefing import Briefing
from omnilmm_lite.cluster.kept_batch import LOST

Table = Any  # a pyarrow table


@dataclass(frozen=True)
class Work:
    """What every worker is told. `captioner`: the arguments of `Captioner` beside the model."""

    briefing: Briefing
    captioner: Mapping[str, Any]


def unit_text(files: Sequence[File]) -> str:
    """As it goes through Ray."""
    return json.dumps([{**vars(file), "holder": file.holder.value} for file in files])


class ReadUnits:
    """A table of units -> tables of pictures, `size` each: path, version, sha256, bytes, error."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, units: Table) -> Iterator[Table]:
        waiting: list[Read] = []
        for text in units["unit"].to_pylist():
            for entry in json.loads(text):
                for read in pictures(File(**{**entry, "holder": Holder(entry["holder"])})):
                    waiting.append(read)
                    if len(waiting) == self._size:
                        yield _table(waiting)
                        waiting = []
        yield _table(waiting)


class CaptionWorker:
    """An actor's class: a table of pictures -> one of lines. It goes on where a lost worker was."""

    def __init__(self, work: Work) -> None:
        self._briefing, self._arguments = work.briefing, work.captioner

    @cached_property
    def _captioner(self) -> Captioner:
        """Made with the first batch: what an actor raises while it is made is printed by Ray, and tried again.
        InputError where node and driver differ, or the bundle isn't the driver's."""
        return Captioner(self._briefing.bundle_folder(), **self._arguments)

    def __call__(self, table: Table) -> Table:
        model = self._captioner.model.parts.identity  # loaded before the batch is begun
        batch = [Read(**row) for row in table.select(_FIELDS).to_pylist()]
        name = hashlib.sha256(json.dumps([[each.path, each.sha256] for each in batch]).encode()).hexdigest()
        kept = self._briefing.begin(name)
        todo = [each for each in batch if each.path not in kept.rows]
        if kept.is_fatal and todo:
            kept.add(todo[0].path, self._line(todo[0], CaptionRow(todo[0].sha256, model, error=LOST)))
            kept.settle()
            todo = todo[1:]
        pictures = (each.data or b"" for each in todo if each.error is None)
        # of several at once, none could be told to have ended the last worker
        described = self._captioner.captions(pictures, one_by_one=kept.is_again)
        for each in todo:
            row = CaptionRow(each.sha256, model, error=each.error) if each.error else next(described)
            kept.add(each.path, self._line(each, row))
        for _ in described:  # its end lets go of the model
            pass
        kept.settle()
        return _lines_table(name, [kept.rows[each.path] for each in batch])

    def _line(self, read: Read, row: CaptionRow) -> dict[str, Any]:
        """As `caption` writes them, and what changes with the file."""
        line: dict[str, Any] = {"path": read.path, "sha256": read.sha256}
        if row.error is not None:
            return line | {"error": row.error, "model": row.model, "version": read.version}
        values = row.as_dict()
        line["text"] = row.text
        if row.tags is not None:
            line["tags"] = list(row.tags)
        timings = {name: values[name] for name in TIMINGS}
        named = {"finish_reason": row.finish_reason, "timings": timings, "model": row.model, "version": read.version}
        return line | named


class WritePart:
    """A table of lines -> one row: the part's name, how many rows and errors, the batches that they are of."""

    def __init__(self, place: str, ending: str) -> None:
        self._place, self._ending = place, ending

    def __call__(self, table: Table) -> Table:
        import pyarrow

        lines = [json.loads(text) for text in table["line"].to_pylist()]
        name = PartsFolder(self._place, self._ending).write(lines) if lines else ""
        batches = sorted(set(table["batch"].to_pylist()))
        errors = sum("text" not in line for line in lines)
        told = {"part": name, "rows": len(lines), "errors": errors, "batches": batches}
        return pyarrow.Table.from_pylist([told])


_FIELDS = ("path", "version", "sha256", "data", "error")


def _table(reads: Sequence[Read]) -> Table:
    import pyarrow

    text = pyarrow.string()
    kinds = {name: pyarrow.large_binary() if name == "data" else text for name in _FIELDS}
    return pyarrow.Table.from_pylist([vars(read) for read in reads], pyarrow.schema([*kinds.items()]))


def _lines_table(batch: str, lines: Sequence[Mapping[str, Any]]) -> Table:
    import pyarrow

    schema = pyarrow.schema([("batch", pyarrow.string()), ("line", pyarrow.string())])
    return pyarrow.Table.from_pylist([{"batch": batch, "line": json.dumps(line)} for line in lines], schema)
