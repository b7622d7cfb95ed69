"""What Ray Data runs on the nodes: reading, describing, writing. Each has its batch as a table and gives one back.

Readers and writers know nothing of Ray.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.caption.scale.caption_row import CaptionRow
from omnilmm_lite.caption.scale.captioner import Captioner
from omnilmm_lite.caption.scale.cluster.delivery import Delivery, received
from omnilmm_lite.caption.scale.cluster.environment import check_environment, environment
from omnilmm_lite.caption.scale.cluster.parts_folder import PartsFolder
from omnilmm_lite.caption.scale.cluster.reading import Read, pictures
from omnilmm_lite.caption.scale.cluster.source import File, Holder
from omnilmm_lite.caption.scale.part import TIMINGS

Table = Any  # a pyarrow table

LOST = "picture: every worker that began with it was lost, for lack of memory perhaps; look at it, and try it alone"


@dataclass(frozen=True)
class Work:
    """What every worker is told. `captioner`: the arguments of `Captioner` beside the model. `rows`: the actor with
    the finished ones."""

    delivery: Delivery
    environment: Mapping[str, str]
    captioner: Mapping[str, Any]
    rows: Any


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
        """InputError where node and driver differ, or the bundle isn't the driver's."""
        import ray  # type: ignore[import-not-found,unused-ignore]

        check_environment(work.environment, environment(), f"node {ray.util.get_node_ip_address()}")
        self._get, self._rows = ray.get, work.rows
        self._captioner = Captioner(received(work.delivery, ray.get), **work.captioner)
        self._model = self._captioner.model.parts.identity

    def __call__(self, table: Table) -> Table:
        batch = [Read(**row) for row in table.select(_FIELDS).to_pylist()]
        name = hashlib.sha256(json.dumps([[each.path, each.sha256] for each in batch]).encode()).hexdigest()
        begun = self._get(self._rows.begin.remote(name))
        had = dict(begun.rows)
        todo = [each for each in batch if each.path not in had]
        if begun.is_fatal and todo:
            had[todo[0].path] = self._line(todo[0], CaptionRow(todo[0].sha256, self._model, error=LOST))
            self._get(self._rows.add.remote(name, had[todo[0].path]))
            todo = todo[1:]
        sent = None
        pictures = (each.data or b"" for each in todo if each.error is None)
        # of several at once, none could be told to have ended the last worker
        described = self._captioner.captions(pictures, one_by_one=begun.is_again)
        for each in todo:
            row = CaptionRow(each.sha256, self._model, error=each.error) if each.error else next(described)
            had[each.path] = self._line(each, row)
            if sent is not None:
                self._get(sent)  # before the next one: a row that was finished is known elsewhere
            sent = self._rows.add.remote(name, had[each.path])
        for _ in described:  # its end lets go of the model
            pass
        if sent is not None:
            self._get(sent)
        return _lines_table(name, [had[each.path] for each in batch])

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
