"""What a graph's file says of its weights, as onnx's own parser of the same bytes has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, StringStringEntryProto, TensorProto

from omnilmm_lite.bundle.onnx_file import external_locations

names = st.text("abc./\\j\x10日", max_size=12)
entries = st.builds(StringStringEntryProto, key=st.sampled_from(["location", "offset", "locatio"]), value=names)
tensors = st.builds(TensorProto, name=names, external_data=st.lists(entries, max_size=3))


def model(*initializers: TensorProto) -> ModelProto:
    made = ModelProto(ir_version=10, producer_name="j")
    made.graph.initializer.extend(initializers)
    made.graph.node.append(NodeProto(op_type="Add", input=["a", "b"], output=["c"]))
    return made


def named_files(parsed: ModelProto) -> set[str]:
    return {
        entry.value for tensor in parsed.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }


@given(st.lists(tensors, max_size=4))
def test_what_onnx_writes_is_read_as_onnx_reads_it(initializers: list[TensorProto]) -> None:
    made = model(*initializers)
    assert external_locations(made.SerializeToString()) == named_files(made)


@given(tensors, st.data())
def test_no_change_of_a_byte_hides_a_file_that_onnx_would_open(tensor: TensorProto, data: st.DataObject) -> None:
    tensor.external_data.append(StringStringEntryProto(key="location", value="weights"))
    content = bytearray(model(tensor).SerializeToString())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    found = external_locations(bytes(content))
    parsed = ModelProto()
    try:
        parsed.ParseFromString(bytes(content))
    except Exception:  # protobuf's own, of several kinds
        return
    assert found is None or named_files(parsed) <= found


@pytest.mark.parametrize("where", ["doc_string", "producer_version", "domain"])
def test_the_word_in_another_place_is_no_entry(where: str) -> None:
    made = model()
    setattr(made, where, "the location of")
    assert external_locations(made.SerializeToString()) is None
    assert external_locations(b"\x0a\x08location\x12\x01a") is None
    # The entry has 0x8f bytes for who takes the first byte of its length alone, 0x50f for protobuf.
    assert external_locations(b"\x6a\x8f\x0a\x08location\x12\x82\x01" + b"a" * 130) is None
