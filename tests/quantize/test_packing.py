"""`convert --packing fpa-intb`: GPTQ is made for it, a folder that wasn't is refused, and so is what contradicts it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cli
from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.safetensors_file import write_tensors
from export.graphs.cuda_operators import check_cuda_graph
from export.graphs.decoder import CheckpointWeights
from export.weights.matmul_nbits import pack_matmul_nbits
from export.weights.weight import QuantizedWeight
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import Graphs
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.keys import decoder_keys
from quantize.convert_command import add_convert, parse_request
from quantize.folder.origin import check_packing
from quantize.folder.packing import ZeroFormat, none_stored, pack
from quantize.folder.read import read_gptq_folder
from quantize.folder.tensors import LINEARS, linear_tensors
from quantize.folder.write import write_gptq_folder
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.settings import GPTQSettings
from quantize.head import RoundedHead, head_layout
from quantize.packing import check_decoder
from tests.small_checkpoint import TINY

FAST = ("--preset", "12gb", "--packing", "fpa-intb")


def parsed(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_convert(parser)
    return parser.parse_args(["checkpoint", "out", *options])


# ---- options ----


def test_it_decides_how_the_decoder_is_quantized() -> None:
    usual, fast = (parse_request(parsed("--preset", "24gb", *more)) for more in ((), ("--packing", "fpa-intb")))
    assert usual.options is not None
    assert fast.options is not None
    assert usual.options.settings == GPTQSettings()
    assert fast.options.settings == dataclasses.replace(GPTQSettings(), group_size=32, sym=True)
    assert (usual.preset.lm_head_bits, fast.preset.lm_head_bits) == (16, 8)
    assert (usual.preset.packing, fast.preset.packing) == (Packing.BLOCKWISE, Packing.FPA_INTB)


def test_what_says_the_same_may_be_said() -> None:
    request = parse_request(parsed(*FAST, "--group-size", "32", "--sym", "--lm-head-bits", "8", "--no-desc-act"))
    assert request.options is not None
    assert (request.options.settings.group_size, request.options.settings.desc_act) == (32, False)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--group-size", "128"), "--group-size 128: --packing fpa-intb means 4 bits in groups of 32"),
        (("--lm-head-bits", "16"), "--lm-head-bits 16: --packing fpa-intb means"),
        (("--target-size", "4GB"), "--target-size: --packing fpa-intb means"),
        (("--preset", "cpu"), "--packing fpa-intb: the preset cpu is for the CPU"),
        (("--preset", "cpu-small"), "take one of 24gb, 16gb, 12gb, 8gb"),
        (("--preset", "reference"), "--packing fpa-intb: the preset reference is for the CPU"),
    ],
)
def test_what_contradicts_it_is_refused(
    options: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["convert", "checkpoint", str(tmp_path / "out"), *FAST, *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert complaint in err


# ---- sizes ----


def test_the_published_decoder_fits() -> None:
    check_decoder(OmniLMMConfig().decoder, Packing.FPA_INTB)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hidden_size": 144}, "hidden_size is 144, and its kernels take multiples of 32"),
        ({"hidden_size": 160}, "hidden_size is 160, and its kernels take multiples of 64"),
        ({"num_key_value_heads": 1, "num_attention_heads": 1}, r"q_dim \+ 2 kv_dim is 96, .* multiples of 64"),
        ({"intermediate_size": 272}, "intermediate_size is 272, .* multiples of 32"),
    ],
)
def test_a_decoder_of_other_sizes_is_refused_before_work(change: dict[str, int], complaint: str) -> None:
    decoder = dataclasses.replace(TINY.decoder, **change)
    with pytest.raises(InputError, match=complaint):
        check_decoder(decoder, Packing.FPA_INTB)
    check_decoder(decoder, Packing.BLOCKWISE)


# ---- the last layer ----


def test_the_last_layer_loses_little_without_zero_points(tiny_checkpoint: Checkpoint) -> None:
    plain = CheckpointWeights(tiny_checkpoint)
    errors = {}
    for packing in Packing:
        head = RoundedHead(plain, packing).linear("lm_head")
        assert isinstance(head, QuantizedWeight)
        assert (head.bits, head.group_size) == (8, packing.group_size)
        assert (pack_matmul_nbits(head)[2] is not None) is packing.has_zero_points
        original = tiny_checkpoint.array("lm_head.weight")
        errors[packing] = np.square(head.dequantize() - original).sum() / np.square(original).sum()
    # half a step at most is lost, and a step is 1/127 of a group's largest weight, here about 2.5 deviations
    assert errors[Packing.FPA_INTB] < (2.5 / 127) ** 2 / 12 * 1.5
    assert errors[Packing.FPA_INTB] < 2 * errors[Packing.BLOCKWISE]


def test_columns_that_groups_of_32_do_not_divide_are_refused() -> None:
    assert head_layout(144).group_size == 16
    with pytest.raises(InputError, match=r"rows of 144 don't divide into groups of 32$"):
        head_layout(144, Packing.FPA_INTB)


# ---- folders ----


def write_folder(checkpoint: Checkpoint, path: Path, group_size: int, *, sym: bool, other: str = "") -> Path:
    """The checkpoint's decoder, rounded; one layer with zero points, if named."""
    tensors: dict[str, NDArray[Any]] = {}
    for name in decoder_keys(checkpoint.config.decoder):
        layer = name.removesuffix(".weight")
        weight = checkpoint.array(name)
        if not layer.endswith(LINEARS):
            tensors[name] = weight.astype(np.float16)
            continue
        tensors |= linear_tensors(layer, round_to_nearest(weight, group_size=group_size, sym=sym and layer != other))
    write_tensors(path / "shard.safetensors", tensors)
    settings = GPTQSettings(group_size=group_size, sym=sym)
    config = checkpoint.config
    write_gptq_folder(path / "gptq", [path / "shard.safetensors"], config.decoder, config.tokens, settings, {})
    return path / "gptq"


def test_a_folder_that_was_made_for_it_is_taken(
    tiny_checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tiny_checkpoint, tmp_path, 32, sym=True)
    out = tmp_path / "out"
    assert cli.main(["convert", str(tiny_checkpoint.folder), str(out), *FAST, "--gptq", str(folder)]) == 0
    assert Bundle.open(out).manifest.packing is Packing.FPA_INTB
    assert check_cuda_graph(out / Graphs().decode).not_fpa_intb == ()
    assert PRESETS["12gb"].packing is Packing.BLOCKWISE


@pytest.mark.parametrize(
    ("group_size", "sym", "other", "found"),
    [
        (128, False, "", r"model\.layers\.0\..* has groups of 128"),
        (64, True, "", "has groups of 64"),
        (32, False, "", "has zero points"),
        (32, True, "model.layers.1.mlp.down_proj", r"model\.layers\.1\.mlp\.down_proj has zero points"),
    ],
)
def test_a_folder_that_was_not_is_refused_with_what_it_has(
    tiny_checkpoint: Checkpoint, tmp_path: Path, group_size: int, sym: bool, other: str, found: str
) -> None:
    folder = read_gptq_folder(write_folder(tiny_checkpoint, tmp_path, group_size, sym=sym, other=other), TINY.decoder)
    needed = r"--packing fpa-intb needs groups of 32 without zero points \(sym\)"
    with pytest.raises(InputError, match=f"{found}, and {needed}"):
        check_packing(folder, Packing.FPA_INTB)
    check_packing(folder, Packing.BLOCKWISE)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zero_format", ZeroFormat)
def test_no_zero_points_are_one_word_on_disk(bits: int, zero_format: ZeroFormat) -> None:
    values = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    weight = round_to_nearest(values, bits=bits, group_size=32, sym=True)
    assert (pack(weight, zero_format).qzeros == none_stored(bits, zero_format)).all()
