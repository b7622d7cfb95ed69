"""A graph's .onnx file, as far as we read it ourselves."""

from __future__ import annotations

from collections.abc import Iterator

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.onnx_file import external_locations, read_graph
from tests.fuzz.form import Form
from tests.fuzz.scratch import written

FORM = Form.MESSAGE


def seeds() -> Iterator[bytes]:
    yield (BUILTIN / "tiny" / "resampler.onnx").read_bytes()
    yield (BUILTIN / "operators" / "nbits_int8.onnx").read_bytes()


def try_bytes(data: bytes) -> None:
    external_locations(data)
    for tensor in read_graph(written("graph.onnx", data)):
        assert tensor.stored >= 0 <= tensor.computed, tensor
