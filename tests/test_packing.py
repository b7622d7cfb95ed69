"""The two layouts on disk: GPTQ's, against its definition, and MatMulNBits', against onnxruntime itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.matmul_nbits import pack_matmul_nbits
from omnilmm_lite.errors import InputError
from quantize.packing import PackedLinear, ZeroFormat, pack, unpack
from quantize.weight import QuantizedWeight


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
    assert_same(unpack(packed, bits, zero_format), weight)


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


def test_refusals() -> None:
    weight = random_weight(0, 8, 2, 16)
    packed = pack(weight)
    shuffled = dataclasses.replace(packed, g_idx=np.roll(packed.g_idx, 3))
    with pytest.raises(InputError, match="act-order without static groups"):
        unpack(shuffled, 4)
    with pytest.raises(InputError, match="no 4-bit GPTQ linear layer"):
        unpack(dataclasses.replace(packed, qweight=packed.qweight[:-1]), 4)
    with pytest.raises(InputError, match="no 8-bit GPTQ linear layer"):
        unpack(packed, 8)
    with pytest.raises(InputError, match="no 4-bit GPTQ linear layer"):
        unpack(PackedLinear(*(array[:0] for array in vars(packed).values())), 4)
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
