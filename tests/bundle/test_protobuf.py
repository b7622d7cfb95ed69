"""The reader of .onnx files: what onnx's own parser finds in the same bytes, and an error in one line for all else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.onnx_file import MAX_BYTES, Graph, parse_graph, read_onnx
from omnilmm_lite.bundle.operators import check_operators
from omnilmm_lite.bundle.protobuf import fields
from omnilmm_lite.errors import InputError

NAMES = ("vision", "resampler", "decoder")
PATH = Path("any.onnx")
GROUP = bytes([1 << 3 | 3])  # a wire type that ONNX has no use for


@cache
def content(name: str) -> bytes:
    return (BUILTIN / "tiny" / f"{name}.onnx").read_bytes()


def as_onnx_reads(data: bytes, graph: Graph) -> None:
    """Whatever onnx finds is what we found: nothing is hidden from us, and nothing made up."""
    model = onnx.ModelProto.FromString(data)
    assert not model.functions
    assert [(each.domain, each.version) for each in model.opset_import] == list(graph.opsets)
    assert len(model.graph.node) == len(graph.nodes)
    for theirs, node in zip(model.graph.node, graph.nodes, strict=True):
        assert (theirs.op_type, theirs.domain) == (node.op_type, node.domain)
        assert (tuple(theirs.input), tuple(theirs.output)) == (node.inputs, node.outputs)
        values = {each.name: onnx.helper.get_attribute_value(each) for each in theirs.attribute}
        assert {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()} == {
            **node.attributes
        }
    for tensor in model.graph.initializer:
        ours = graph.initializers[tensor.name]
        assert (tensor.data_type, tuple(tensor.dims)) == (ours.item, ours.shape)
        facts = {entry.key: entry.value for entry in tensor.external_data}
        if ours.place is None:
            assert (tensor.raw_data, facts) == (ours.raw, {})
        else:
            assert facts["location"] == ours.place.file
            assert (int(facts["offset"]), int(facts["length"])) == (ours.place.offset, ours.place.length)
    for theirs, found in ((model.graph.input, graph.inputs), (model.graph.output, graph.outputs)):
        for value, surface in zip(theirs, found, strict=True):
            shape = tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
            assert (value.name, value.type.tensor_type.elem_type, shape) == (surface.name, surface.item, surface.shape)


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_is_read_as_onnx_reads_it(name: str) -> None:
    as_onnx_reads(content(name), parse_graph(content(name), PATH))


@settings(max_examples=300)
@given(st.sampled_from(NAMES), st.data())
def test_changed_bytes_are_read_alike_or_refused(name: str, data: st.DataObject) -> None:
    """Up to three bytes changed, put in or taken out."""
    changed = bytearray(content(name))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed) - 1))
        taken = data.draw(st.integers(0, 2))
        changed[place : place + taken] = data.draw(st.binary(max_size=2))
    try:
        graph = parse_graph(bytes(changed), PATH)
        check_operators(graph, PATH)
    except InputError as error:
        assert "\n" not in str(error)
        return
    try:
        as_onnx_reads(bytes(changed), graph)
    except Exception as error:  # protobuf's own, of several kinds: stricter than we are, which is fine
        if isinstance(error, AssertionError):
            raise


@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="no ONNX graph that can be read"):
        parse_graph(data, PATH)


@given(st.binary(max_size=40))
def test_fields_are_no_more_bytes_than_the_message_has(data: bytes) -> None:
    try:
        found = list(fields(data))
    except (ValueError, LookupError):
        return
    assert sum(len(value) for _, value in found if isinstance(value, bytes)) <= len(data)
    assert all(0 <= value < 1 << 64 for _, value in found if isinstance(value, int))


@pytest.mark.parametrize(
    "data",
    [
        b"\x3a\xff\xff\xff\xff\x0f",  # a graph of 4 GB
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # of 2**64 bytes
        b"\x08" + b"\x80" * 20 + b"\x01",  # a number without end
        b"\x3a\x00\x3a\x00",  # two graphs, which protobuf would put together
        b"\x3a\x08\x0a\x06\x22\x01A\x22\x01B",  # a node of two operators, of which protobuf takes the second
        GROUP,
        b"\x3a\x04\x0a\x02\x23\x00",  # a node with an operator of wire type group
        b"\x08",
    ],
)
def test_messages_that_readers_would_not_agree_on_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="no ONNX graph that can be read"):
        parse_graph(data, PATH)


def test_a_graph_has_a_size_that_graphs_have(tmp_path: Path) -> None:
    path = tmp_path / "any.onnx"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match="is larger than 4 MB"):
        read_onnx(path)
