"""A checkpoint's .bin file, a pickle in a zip: bytes that are no zip are taken for the pickle in a sound one."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import cache
from io import BytesIO

import torch

from export.checkpoint.tensor_file import open_tensor_file
from export.checkpoint.torch_file import MAGIC
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.BYTES
PICKLE = "/data.pkl"


def seeds() -> Iterator[bytes]:
    yield _whole()
    with zipfile.ZipFile(BytesIO(_whole())) as archive:
        yield next(archive.read(name) for name in archive.namelist() if name.endswith(PICKLE))


def try_bytes(data: bytes) -> None:
    file = open_tensor_file(written("pytorch_model.bin", data if data.startswith(MAGIC) else _zipped(data)))
    for name, shape in file.shapes.items():
        assert tuple(file.tensor(name).shape) == shape


@cache
def _whole() -> bytes:
    base = torch.arange(64.0).reshape(8, 8)
    file = BytesIO()
    torch.save({"whole": base, "transposed": base.t(), "bf16": torch.ones(3, 5, dtype=torch.bfloat16)}, file)
    return file.getvalue()


def _zipped(pickle: bytes) -> bytes:
    """The whole file with another pickle; checksums, lengths and places are right."""
    file = BytesIO()
    writer = torch._C.PyTorchFileWriter(file)
    with zipfile.ZipFile(BytesIO(_whole())) as archive:
        for name in archive.namelist():
            data = pickle if name.endswith(PICKLE) else archive.read(name)
            writer.write_record(name.partition("/")[2], data, len(data))
    writer.write_end_of_file()
    return file.getvalue()
