"""Numbers of a manifest that aren't the graphs': each is refused by name, before anything is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import load
from tests.bundle.manifests import edit_manifest, rewrite
from tests.command_line import linked


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return linked(tiny_bundle, tmp_path / "copy")


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        Bundle.open(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("number", "value", "said"),
    [
        ("vision.image_size", 20000, "is 20000, and vision.onnx has 112 there (pixel_values)"),
        ("vision.patch_size", 1, "is 12544, and vision.onnx has 64 there (patches)"),
        ("vision.patch_size", 1 << 20, "is 0, and vision.onnx has 64 there (patches)"),
        ("vision.num_hidden_layers", 10**6, "is 1000000, and vision.onnx has 2 there (blocks)"),
        ("vision.num_attention_heads", 2, "is 2, and vision.onnx has 1 there"),
        ("vision.hidden_size", 1 << 23, "they must be equal"),
        ("resampler.num_queries", 10**7, "is 10000000, and resampler.onnx has 16 there (features)"),
        ("resampler.num_attention_heads", 3, "is 3, and resampler.onnx has 1 there"),
        ("resampler.hidden_size", 64, "they must be equal"),
        ("decoder.num_hidden_layers", 10**6, "is 1000000, and decoder.onnx has 2 there (layers)"),
        ("decoder.num_attention_heads", 8, "is 8, and decoder.onnx has 4 there"),
        ("decoder.num_key_value_heads", 4, "is 4, and decoder.onnx has 2 there (past.0.key)"),
        ("decoder.head_dim", 1 << 20, "is 1048576, and decoder.onnx has 32 there (past.0.key)"),
        ("decoder.vocab_size", 1 << 20, "is 1048576, and decoder.onnx has 32009 there (logits)"),
        ("decoder.max_position_embeddings", 1 << 24, "is 16777216, and decoder.onnx has 32768 there (rotary angles)"),
        ("decoder.sliding_window", 7, "is 7, and decoder.onnx has 4096 there"),
        ("decoder.sliding_window", None, "is -1, and decoder.onnx has 4096 there"),
    ],
)
def test_a_number_that_is_not_the_graphs_is_named_with_both(
    copy: Path, number: str, value: int | None, said: str
) -> None:
    part, name = number.split(".")
    edit_manifest(copy, lambda data: data["config"][part].update({name: value}))
    text = refusal(copy)
    assert said in text
    assert name in text


@pytest.mark.parametrize("value", [2**70, 2**63, 2**62, -1, 0, 10**400, 1e300, 1e400, float("nan")])
@pytest.mark.parametrize("number", ["vision.image_size", "decoder.max_position_embeddings", "decoder.rope_theta"])
def test_numbers_beyond_any_model_are_refused_by_name(copy: Path, number: str, value: float) -> None:
    part, name = number.split(".")
    edit_manifest(copy, lambda data: data["config"][part].update({name: value}))
    if name == "rope_theta" and value in (1e300, 2**62, 2**63):  # smaller ones than 1e300, however written
        Bundle.open(copy)
    else:
        assert f"config.{number}: " in refusal(copy)


@pytest.mark.parametrize("place", [("files", 0, "size"), ("memory", "decoder"), ("sampling", "seed")])
def test_no_number_is_too_long_for_the_machine(copy: Path, place: tuple[Any, ...]) -> None:
    *way, last = place

    def change(data: Any) -> None:
        for key in way:
            data = data[key]
        data[last] = 2**64

    edit_manifest(copy, change)
    refusal(copy)


@pytest.mark.parametrize(
    ("role", "file"),
    [
        ("prefill", "vision.onnx"),
        ("decode", "resampler.onnx"),
        ("vision", "decoder.onnx"),
        ("resampler", "vision.onnx"),
    ],
)
def test_a_graph_in_anothers_role_is_named(copy: Path, role: str, file: str) -> None:
    edit_manifest(copy, lambda data: data["graphs"].update({role: file}))
    assert f"graphs.{role}: {file}: it is another graph" in refusal(copy)


def claim(folder: Path, file: str, surface: str, axis: int, size: int) -> None:
    """Has a graph's input or output say another size than it has."""
    model = onnx.load(folder / file, load_external_data=False)
    (found,) = (each for each in (*model.graph.input, *model.graph.output) if each.name == surface)
    found.type.tensor_type.shape.dim[axis].dim_value = size
    rewrite(folder, file, model.SerializeToString())


def test_a_size_of_pictures_that_graph_and_manifest_agree_on_needs_its_table(copy: Path) -> None:
    patches = (20000 // 14) ** 2
    for axis in (2, 3):
        claim(copy, "vision.onnx", "pixel_values", axis, 20000)
    claim(copy, "vision.onnx", "patches", 1, patches)
    claim(copy, "resampler.onnx", "patches", 1, patches)
    edit_manifest(copy, lambda data: data["config"]["vision"].update(image_size=20000))
    assert f"no table of it is {patches} x 112 large, by config.vision.image_size" in refusal(copy)


def test_a_size_of_patches_needs_its_weights(copy: Path) -> None:
    for axis in (2, 3):
        claim(copy, "vision.onnx", "pixel_values", axis, 8 << 20)
    edit_manifest(copy, lambda data: data["config"]["vision"].update(image_size=8 << 20, patch_size=1 << 20))
    assert "no table of it is 3 x 1048576 x 1048576 large, by config.vision.patch_size" in refusal(copy)


def test_a_number_of_queries_needs_its_table(copy: Path) -> None:
    claim(copy, "resampler.onnx", "features", 1, 1 << 24)
    edit_manifest(copy, lambda data: data["config"]["resampler"].update(num_queries=1 << 24))
    assert "no table of it is 16777216 x 128 large, by config.resampler.num_queries" in refusal(copy)


@pytest.mark.parametrize(
    "table",
    [
        np.zeros((32009, 64), np.float32),
        np.zeros((32008, 128), np.float16),
        np.zeros((32009, 128), np.float64),
        np.asfortranarray(np.zeros((32009, 128), np.float16)),
    ],
    ids=["narrow", "short", "double", "column by column"],
)
def test_a_table_of_embeddings_of_another_shape_is_refused(copy: Path, table: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", table)
    rewrite(copy, "embeddings.npy", (tmp_path / "table.npy").read_bytes())
    assert "expected a float table of shape (32009, 128)" in refusal(copy)


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(copy: Path) -> None:
    text = (copy / "tokenizer.json").read_text(encoding="utf-8")
    start = text.index("{", text.index('"added_tokens"'))
    new = '{"id": 32009, "content": "<more>", "single_word": false, "lstrip": false, "rstrip": false, '
    new += '"normalized": false, "special": true}, '
    rewrite(copy, "tokenizer.json", (text[:start] + new + text[start:]).encode())
    with pytest.raises(InputError, match=r"vocab_size is 32009, and tokenizer\.json has 32010 tokens"):
        load(copy, threads=1)
