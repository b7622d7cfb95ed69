"""The pictures of a unit as a table of bytes: what a reading task does, ahead of the model."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.caption.scale.cluster.source import File, Holder
from omnilmm_lite.caption.scale.cluster.store import Store
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.picture.file import MAX_FILE_BYTES
from omnilmm_lite.picture.listing import Filter

COLUMNS = ("bytes", "image", "jpg", "png", "picture")  # of a table, the first that it has


@dataclass(frozen=True)
class Read:
    """One of `data` and `error` is None."""

    path: str
    version: str
    sha256: str | None = None
    data: bytes | None = None
    error: str | None = None


def pictures(file: File) -> Iterator[Read]:
    """Those of a file that have no row yet; one with `error` where it can't be read."""
    try:
        for path, data in _held(file):
            if data is None:
                yield Read(path, file.version, error="picture: there is none in this row")
            elif len(data) > MAX_FILE_BYTES:
                limit = MAX_FILE_BYTES // 2**20
                yield Read(path, file.version, error=f"picture: the file is larger than {limit} MiB; make it smaller")
            elif (sha256 := hashlib.sha256(data).hexdigest()) not in file.known.get(path, ()):
                yield Read(path, file.version, sha256, data)
    except FileNotFoundError:
        yield Read(file.path, file.version, error="picture: there is no such file any more")
    except (OSError, tarfile.TarError, ValueError, LookupError, OmniLMMError) as error:
        if file.holder is Holder.PICTURE and isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            yield Read(file.path, file.version, error=f"picture: the file can't be read: {error.strerror or error}")
            return
        raise OmniLMMError(f"{file.place}: it can't be read: {error}") from None  # a store that doesn't answer


def _held(file: File) -> Iterator[tuple[str, bytes | None]]:
    """The path of each row, and what it holds."""
    store = Store(file.place)
    if file.holder is Holder.PICTURE:
        yield file.path, store.read()
    elif file.holder is Holder.WEBDATASET:
        with store.open() as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                if member.isfile() and Filter().takes(member.name) and member.size <= MAX_FILE_BYTES:
                    held = archive.extractfile(member)
                    yield f"{file.path}#{member.name}", None if held is None else held.read()
    elif file.holder is Holder.TSV:
        yield from _of_tsv(file, store)
    else:
        yield from _of_parquet(file, store)


def _of_tsv(file: File, store: Store) -> Iterator[tuple[str, bytes | None]]:
    """Base64, as the benchmarks' own tables have it."""
    csv.field_size_limit(min(2 * MAX_FILE_BYTES, sys.maxsize))
    with store.open() as stream:
        table = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8"), delimiter="\t")
        column = _column(table.fieldnames or ())
        for number, row in enumerate(table):
            try:
                data = base64.b64decode(row[column] or "", validate=True) or None
            except (binascii.Error, ValueError):
                data = None
            yield f"{file.path}#{row.get('index') or number}", data


def _of_parquet(file: File, store: Store) -> Iterator[tuple[str, bytes | None]]:
    """Bytes, or Hugging Face's {"bytes", "path"}."""
    from pyarrow.parquet import ParquetFile

    with store.open() as stream, ParquetFile(stream) as table:
        column, number = _column(table.schema_arrow.names), 0
        for batch in table.iter_batches(16, columns=[column]):
            for value in batch.column(0).to_pylist():
                held: Any = value.get("bytes") if isinstance(value, Mapping) else value
                yield f"{file.path}#{number}", held if isinstance(held, bytes) else None
                number += 1


def _column(names: Any) -> str:
    for name in COLUMNS:
        if name in names:
            return name
    raise LookupError(f"no column {', '.join(COLUMNS)}; found {', '.join(map(str, names))}")
