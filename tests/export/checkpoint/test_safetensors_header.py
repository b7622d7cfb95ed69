"""The safetensors header check: nothing unsound gets through, nothing but InputError comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load, save

from export.checkpoint.safetensors_header import check_header, read_header
from omnilmm_lite.errors import InputError

WHERE = Path("model.safetensors")
TENSORS = {"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.bfloat16), "c": torch.ones(0, 5, dtype=torch.float16)}
FILE = save(TENSORS, {"format": "pt"})
LENGTH = int.from_bytes(FILE[:8], "little")
HEADER, DATA = FILE[8 : 8 + LENGTH], FILE[8 + LENGTH :]


def encode(header: Any) -> bytes:
    return json.dumps(header).encode()


def entry(dtype: Any = "F32", shape: Any = (2,), begin: Any = 0, end: Any = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


def test_a_sound_header_gives_the_shapes() -> None:
    assert check_header(HEADER, len(DATA), WHERE) == {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "doesn't start with"),
        (b" {}", "doesn't start with"),
        (b"{", "not valid JSON"),
        (b'{"a":' + b"[" * 100_000, "not valid JSON"),
        (b'{"a":\xff}', "not valid JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": {}, "a": {}}', "given twice"),
        (encode({"__metadata__": {"format": 1}, "a": entry()}), "__metadata__"),
        (encode({"a": [1]}), "must have dtype"),
        (encode({"a": entry() | {"more": 1}}), "must have dtype"),
        (encode({"a": entry(dtype="I32")}), "has dtype 'I32'"),
        (encode({"a": entry(dtype=["F32"])}), "has dtype"),
        (encode({"a": entry(shape=(-2,))}), "no list of sizes"),
        (encode({"a": entry(shape=(2.0,))}), "no list of sizes"),
        (encode({"a": entry(shape=(True,))}), "no list of sizes"),
        (encode({"a": entry(shape=(1 << 64,))}), "no list of sizes"),
        (encode({"a": entry(shape=(2, *[1] * 8))}), "no list of sizes"),
        (encode({"a": entry(shape=2)}), "no list of sizes"),
        (encode({"a": entry(begin=-8, end=0)}), "no range"),
        (encode({"a": entry(begin=8, end=0)}), "no range"),
        (encode({"a": entry(shape=(1 << 40, 1 << 40))}), "doesn't fill its 8 bytes"),
        (encode({"a": entry(), "b": entry(begin=4, end=12)}), "overlaps"),
        (encode({"a": entry(), "b": entry(begin=0, end=8)}), "overlaps"),
        (encode({"a": entry(), "b": entry(begin=12, end=20)}), "leaves a gap"),
        (encode({"a": entry(begin=8, end=16)}), "leaves a gap"),
        (encode({"a": entry(shape=(8,), end=32)}), "16 bytes are missing"),
        (encode({"a": entry()}), "8 bytes that belong to no tensor"),
    ],
)
def test_each_fault_is_named_in_one_line(header: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        check_header(header, 16, WHERE)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "data", [b"", b"\x01\0\0", b"\xff" * 8, b"\xff" * 100, (1 << 40).to_bytes(8, "little") + HEADER]
)
def test_a_length_beyond_the_file_is_refused_unread(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match="truncated or no safetensors file"):
        read_header(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
sizes = st.integers(0, 9) | json_values
near_entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "F16", "I8", "F64"]) | json_values,
        "shape": st.lists(sizes, max_size=3) | json_values,
        "data_offsets": st.lists(sizes, min_size=2, max_size=2) | json_values,
    }
)
near_headers = st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), near_entries | json_values, max_size=3)


@given(near_headers.map(encode) | st.binary(max_size=60), st.integers(0, 40))
def test_what_we_accept_the_library_accepts(header: bytes, data_size: int) -> None:
    try:
        shapes = check_header(header, data_size, WHERE)
    except InputError:
        return
    loaded = load(len(header).to_bytes(8, "little") + header + bytes(data_size))
    assert {name: tuple(tensor.shape) for name, tensor in loaded.items()} == shapes


@given(st.lists(st.tuples(st.integers(0, len(HEADER) - 1), st.integers(0, 255)), min_size=1, max_size=3))
@example([(0, ord(" "))])
def test_flipped_bytes_never_get_past_us_to_a_crash(flips: list[tuple[int, int]]) -> None:
    header = bytearray(HEADER)
    for place, value in flips:
        header[place] = value
    try:
        shapes = check_header(bytes(header), len(DATA), WHERE)
    except InputError:
        return
    try:
        loaded = load(FILE[:8] + bytes(header) + DATA)
    except SafetensorError as error:  # the reader turns it into an InputError
        raise AssertionError(f"accepted by us, refused by the library: {bytes(header)!r}") from error
    assert {name: tuple(tensor.shape) for name, tensor in loaded.items()} == shapes


@given(st.integers(0, len(FILE) - 1))
def test_every_truncation_is_refused(size: int) -> None:
    if size < 8 + LENGTH:
        with pytest.raises(InputError):
            check_header(FILE[8:size], 0, WHERE)
    else:
        with pytest.raises(InputError, match="bytes are missing"):
            check_header(HEADER, size - 8 - LENGTH, WHERE)
