"""The two layouts on disk: GPTQ's, against its definition, and MatMulNBits', against onnxruntime itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.weights.matmul_nbits import pack_matmul_nbits
from export.weights.weight import QuantizedWeight
from omnilmm_lite.errors import InputError
from quantize.folder.packing import (
    PackedLinear,
    ZeroFormat,
    contiguous_order,
    cut_groups,
    pack,
    packed_layout,
    unpack,
)


def random_weight(
    seed: int, rows: int, groups: int, group_size: int, bits: int = 4, *, sym: bool = False
) -> QuantizedWeight:
    generator = np.random.default_rng(seed)
    middle = np.full((rows, groups), 1 << (bits - 1), dtype=np.uint8)
    return QuantizedWeight(
        codes=generator.integers(0, 1 << bits, (rows, groups * group_size), dtype=np.uint8),
        scales=generator.normal(0, 0.05, (rows, groups)).astype(np.float16).astype(np.float32),
        zeros=middle if sym else generator.integers(0, 1 << bits, (rows, groups), dtype=np.uint8),
        bits=bits,
        group_size=group_size,
    )


def assert_same(left: QuantizedWeight, right: QuantizedWeight) -> None:
    for field in dataclasses.fields(QuantizedWeight):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), strict=True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    row_words=st.integers(1, 5),
    groups=st.integers(1, 4),
    group_size=st.sampled_from([8, 16, 32, 40, 64]),
    bits=st.sampled_from([4, 8]),
    zero_format=st.sampled_from(ZeroFormat),
)
def test_packing_round_trip(
    seed: int, row_words: int, groups: int, group_size: int, bits: int, zero_format: ZeroFormat
) -> None:
    weight = random_weight(seed, 8 * row_words, groups, group_size, bits)
    packed = pack(weight, zero_format)
    rows, columns = weight.shape
    assert packed.qweight.shape == (columns * bits // 32, rows)
    assert packed.qzeros.shape == (groups, rows * bits // 32)
    assert packed.scales.shape == (groups, rows)
    assert [array.dtype for array in vars(packed).values()] == [np.int32, np.int32, np.float16, np.int32]
    assert_same(unpack(packed, zero_format=zero_format), weight)


@pytest.mark.parametrize("bits", [4, 8])
def test_every_word_as_the_format_defines_it(bits: int) -> None:
    """Dequantized with nothing but shifts, one element at a time, as GPTQ's readers do."""
    weight = random_weight(3, 16, 2, 8, bits)
    weight.zeros[weight.zeros == 0] = 1
    packed = pack(weight)
    per_word, mask = 32 // bits, (1 << bits) - 1
    for row in range(16):
        for column in range(16):
            code = int(packed.qweight[column // per_word, row]) >> (bits * (column % per_word)) & mask
            group = int(packed.g_idx[column])
            zero = (int(packed.qzeros[group, row // per_word]) >> (bits * (row % per_word)) & mask) + 1
            assert (code - zero) * np.float32(packed.scales[group, row]) == weight.dequantize()[row, column]


def test_symmetric_zero_points_are_stored_as_all_sevens() -> None:
    """What AutoGPTQ's own symmetric checkpoints hold: 0x77777777."""
    assert (pack(random_weight(0, 8, 2, 8, sym=True)).qzeros == 0x77777777).all()


@pytest.mark.parametrize(("bits", "one"), [(4, 0x11111111), (8, 0x01010101)])
def test_a_zero_point_of_nothing_is_stored_as_gptqmodel_stores_it(bits: int, one: int) -> None:
    """It makes the first format of the second by one addition a word, and back: a 0 borrows from its neighbour."""
    weight = random_weight(1, 64, 3, 16, bits)
    assert (weight.zeros == 0).any()
    first, second = pack(weight, ZeroFormat.V1), pack(weight, ZeroFormat.V2)
    for stored, wanted in zip(first.qzeros.flat, second.qzeros.flat, strict=True):
        assert (int(stored) + one) % (1 << 32) == int(wanted) % (1 << 32)


@pytest.mark.parametrize("bits", [4, 8])
def test_scattered_groups_become_contiguous_in_another_order(bits: int) -> None:
    """What act-order leaves behind: every input has a group of its own choice."""
    weight = random_weight(2, 16, 4, 32, bits)
    shuffle = np.random.default_rng(0).permutation(128)
    packed = pack(dataclasses.replace(weight, codes=weight.codes[:, shuffle]))
    scattered = dataclasses.replace(packed, g_idx=packed.g_idx[shuffle])
    with pytest.raises(InputError, match="groups of scattered inputs"):
        unpack(scattered)
    order = contiguous_order(scattered.g_idx)
    assert order is not None
    dense = weight.dequantize()[:, shuffle]  # what it means, input by input
    np.testing.assert_array_equal(unpack(scattered, order=order).dequantize(), dense[:, order])
    assert contiguous_order(packed.g_idx) is None


def test_groups_in_another_order_are_used_as_they_are() -> None:
    weight = random_weight(4, 16, 4, 32)
    groups = np.asarray([2, 0, 3, 1])
    packed = pack(weight)
    renamed = dataclasses.replace(
        packed,
        scales=packed.scales[groups],
        qzeros=packed.qzeros[groups],
        g_idx=np.argsort(groups)[packed.g_idx].astype(np.int32),
    )
    assert contiguous_order(renamed.g_idx) is None
    assert_same(unpack(renamed), weight)


@settings(max_examples=60, deadline=None)
@given(g_idx=hypothesis_numpy.arrays(np.int32, 32, elements=st.integers(-2, 5)))
def test_any_g_idx_is_used_rightly_or_refused(g_idx: NDArray[np.int32]) -> None:
    weight = random_weight(5, 8, 4, 8)
    packed = dataclasses.replace(pack(weight), g_idx=g_idx)
    order = contiguous_order(g_idx)
    try:
        found = unpack(packed, order=order).dequantize()
    except InputError:
        assert sorted(g_idx) != sorted(list(range(4)) * 8)  # nothing that can be ordered is refused
        return
    steps = weight.codes.astype(np.float32) - weight.zeros[:, g_idx]
    expected = steps * weight.scales[:, g_idx]
    np.testing.assert_array_equal(found, expected if order is None else expected[:, order])


@pytest.mark.parametrize(("size", "cut"), [(512, 128), (1024, 128), (192, 64), (48, 16), (14336, 128)])
def test_groups_no_kernel_has_are_cut_into_ones_it_has(size: int, cut: int) -> None:
    weight = random_weight(6, 8, 2, size)
    smaller = cut_groups(weight)
    assert smaller.group_size == cut
    np.testing.assert_array_equal(smaller.dequantize(), weight.dequantize())
    assert cut_groups(smaller) is smaller
    with pytest.raises(InputError, match="groups of 24 can't be used"):
        cut_groups(random_weight(0, 8, 2, 24))


def test_refusals() -> None:
    weight = random_weight(0, 8, 2, 16)
    packed = pack(weight)
    for damaged in (
        dataclasses.replace(packed, qweight=packed.qweight[:-1]),
        dataclasses.replace(packed, qzeros=packed.qzeros[:, :0]),
        dataclasses.replace(packed, g_idx=packed.g_idx[:-1]),
    ):
        with pytest.raises(InputError, match="no GPTQ linear layer"):
            unpack(damaged)
    with pytest.raises(InputError, match="no GPTQ linear layer"):
        unpack(PackedLinear(*(array[:0] for array in vars(packed).values())))
    halved = dataclasses.replace(packed, qweight=np.zeros((2, 8), np.int32), qzeros=np.zeros((2, 0), np.int32))
    with pytest.raises(InputError, match="quantized to 2 bits; 4 or 8"):
        unpack(halved)
    tail = {"qweight": (20, 8), "qzeros": (3, 1), "scales": (3, 8), "g_idx": (160,)}  # 64, 64 and 32 inputs
    with pytest.raises(InputError, match="3 groups don't divide its 160 inputs"):
        packed_layout(tail)
    with pytest.raises(InputError, match="multiples of 8"):
        pack(random_weight(0, 12, 2, 16))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("sym", [True, False], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize(("groups", "group_size"), [(4, 32), (3, 64), (2, 128), (1, 128)])
def test_onnxruntime_multiplies_with_the_dequantized_weight(groups: int, group_size: int, sym: bool, bits: int) -> None:
    weight = random_weight(groups, 24, groups, group_size, bits, sym=sym)
    rows, columns = weight.shape
    codes, scales, zeros = pack_matmul_nbits(weight)
    assert (zeros is None) == sym
    constants: dict[str, NDArray[Any]] = {"b": codes, "scales": scales}
    if zeros is not None:
        constants["zeros"] = zeros
    node = helper.make_node(
        "MatMulNBits",
        ["x", *constants],
        ["y"],
        domain="com.microsoft",
        K=columns,
        N=rows,
        bits=bits,
        block_size=group_size,
        accuracy_level=0,
    )
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", rows])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        x = np.random.default_rng(count).normal(size=(count, columns)).astype(np.float32)
        (y,) = session.run(None, {"x": x})
        np.testing.assert_allclose(y, x @ weight.dequantize().T, rtol=1e-4, atol=1e-4 * np.abs(y).max())
