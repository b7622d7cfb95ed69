"""The checkpoint reader: every form gives the tensors that were written, every fault one clear line."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from export.checkpoint import tensor_file
from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import layerwise_model
from export.reference.model import DecoderLayer, OmniLMM, Resampler
from omnilmm_lite.config import TokenIds
from omnilmm_lite.errors import LONGEST, InputError
from tests.small_checkpoint import TINY, Form, config_json, weights, write_checkpoint, write_json, write_weights

# The published vocabulary's order with few text tokens: the nine added ones are the last.
MINI = dataclasses.replace(
    TINY,
    decoder=dataclasses.replace(TINY.decoder, vocab_size=64),
    tokens=TokenIds(im_patch=55, im_start=56, im_end=57),
)
WEIGHTS = weights(MINI)
SINGLE = "one model.safetensors"
FORMS: list[Form | str] = [*Form, SINGLE]
Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


def write(folder: Path, form: Form | str, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    """config.json and weights, no tokenizer: what the reader needs of a checkpoint."""
    folder.mkdir(exist_ok=True)
    tensors = dict(WEIGHTS) if tensors is None else tensors
    write_json(folder / "config.json", config_json(MINI, Form.BIN))
    if isinstance(form, Form):
        write_weights(folder, tensors, form, 3)
    else:
        save_file(tensors, folder / "model.safetensors")
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    """Changes fields of config.json; `...` deletes one."""
    config = json.loads((folder / "config.json").read_text()) | changes
    write_json(folder / "config.json", {name: value for name, value in config.items() if value is not ...})


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        Checkpoint.open(folder)
    text = str(caught.value)
    assert text.isprintable() and len(text) <= LONGEST  # one line
    return text


@pytest.fixture(params=FORMS, ids=lambda form: form.name if isinstance(form, Form) else "SINGLE_SAFETENSORS")
def form(request: pytest.FixtureRequest) -> Form | str:
    value: Form | str = request.param
    return value


# ---- what is read ----


def test_every_form_gives_the_tensors_that_were_written(form: Form | str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, form))
    assert checkpoint.config == MINI
    assert set(checkpoint.keys()) == set(WEIGHTS)
    for name, tensor in WEIGHTS.items():
        assert checkpoint.shape(name) == tuple(tensor.shape)
        read = checkpoint.tensor(name)
        assert read.dtype == torch.bfloat16 and torch.equal(read, tensor)
    array = checkpoint.array(Q_PROJ)
    assert array.dtype == np.float32 and np.array_equal(array, WEIGHTS[Q_PROJ].float().numpy())
    with pytest.raises(KeyError):
        checkpoint.tensor("nothing")


def test_the_libraries_read_the_same(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path / "safetensors", Form.SAFETENSORS))
    theirs: dict[str, torch.Tensor] = {}
    for path in (tmp_path / "safetensors").glob("*.safetensors"):
        theirs |= load_file(path)
    assert theirs.keys() == set(checkpoint.keys())
    assert all(torch.equal(checkpoint.tensor(name), tensor) for name, tensor in theirs.items())
    checkpoint = Checkpoint.open(write(tmp_path / "bin", Form.BIN))
    theirs = torch.load(tmp_path / "bin" / "pytorch_model.bin", weights_only=True)
    assert all(torch.equal(checkpoint.tensor(name), tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize("form", [Form.BIN, Form.SAFETENSORS])
@pytest.mark.parametrize("vision_config", [False, True])
def test_whole_folders_as_published(form: Form, vision_config: bool, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write_checkpoint(tmp_path, form=form, size=TINY, vision_config=vision_config))
    assert checkpoint.config == TINY
    assert checkpoint.folder == tmp_path
    names = [path.name for path in checkpoint.files]
    if form is Form.BIN:
        tokenizer = ["tokenizer.model", "added_tokens.json", "tokenizer_config.json"]
        assert names == ["config.json", *tokenizer, "pytorch_model.bin"]
    else:
        shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
        others = ["config.json", "tokenizer.model", "tokenizer_config.json", "model.safetensors.index.json"]
        assert sorted(names) == sorted([*others, *shards])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("form", [Form.BIN, SINGLE])
def test_other_float_dtypes(dtype: torch.dtype, form: Form | str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, form, {name: tensor.to(dtype) for name, tensor in WEIGHTS.items()}))
    assert checkpoint.tensor(Q_PROJ).dtype == dtype
    assert checkpoint.array(Q_PROJ).dtype == np.float32


def test_harmless_extras_are_left_out(form: Form | str, tmp_path: Path) -> None:
    extras = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16),
        "model.vision_tower.blocks.0.attn.k_bias": torch.zeros(112),
    }
    assert set(Checkpoint.open(write(tmp_path, form, WEIGHTS | extras)).keys()) == set(WEIGHTS)


def test_arrays_are_copies_and_files_stay_as_they_are(form: Form | str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, form, {name: tensor.float() for name, tensor in WEIGHTS.items()}))
    before = [path.read_bytes() for path in checkpoint.files]
    checkpoint.array(Q_PROJ)[:] = 7
    assert torch.equal(checkpoint.tensor(Q_PROJ), WEIGHTS[Q_PROJ].float())
    checkpoint.tensor(Q_PROJ).fill_(7)  # writes to a private map at most
    assert [path.read_bytes() for path in checkpoint.files] == before


def test_opening_and_shapes_read_no_data(form: Form | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, form))

    def fail(*_: object) -> torch.Tensor:
        raise AssertionError("data was read")

    monkeypatch.setattr(tensor_file.TensorFile, "tensor", fail)
    assert all(checkpoint.shape(name) == tuple(tensor.shape) for name, tensor in WEIGHTS.items())
    Checkpoint.open(tmp_path)


def resident_mb(kind: str) -> float:
    match = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert match is not None
    return int(match[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's process figures")
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_memory_does_not_grow_with_the_tensors_read(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {f"t{index}": torch.ones(4 << 20, dtype=torch.bfloat16) for index in range(16)}  # 16 x 8 MB
    path = tmp_path / f"model.{suffix}"
    torch.save(tensors, path) if suffix == "bin" else save_file(tensors, path)
    del tensors
    monkeypatch.setattr(tensor_file, "MAP_BUDGET", 16 << 20)
    file = tensor_file.open_tensor_file(path)
    float(file.tensor("t0").max())
    anonymous, mapped = resident_mb("RssAnon"), resident_mb("RssFile")
    for name in file.shapes:
        assert float(file.tensor(name).max()) == 1
        assert resident_mb("RssAnon") - anonymous < 12
        assert resident_mb("RssFile") - mapped < 48  # 128 MB without the budget


# ---- modules ----


def test_module_is_filled_in_float32(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, Form.BIN))
    layer = checkpoint.module(DecoderLayer(MINI.decoder), "model.layers.1")
    weight = layer.self_attn.q_proj.weight
    assert weight.dtype == torch.float32 and torch.equal(weight, WEIGHTS[Q_PROJ].float())
    with torch.device("meta"):
        resampler = Resampler(MINI.resampler, MINI.vision.grid)
    checkpoint.module(resampler, "model.resampler")
    assert torch.equal(resampler.proj, WEIGHTS["model.resampler.proj"].float())


def test_module_names_what_the_checkpoint_lacks(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, Form.BIN))
    with pytest.raises(InputError, match=r"'model.layers.7': 9 missing \(model.layers.7.input_layernorm.weight"):
        checkpoint.module(DecoderLayer(MINI.decoder), "model.layers.7")
    with pytest.raises(InputError, match=r"1 wrongly shaped \(lm_head.weight is \[64, 128\], expected \[3, 2\]\)"):
        checkpoint.module(nn.Linear(2, 3, bias=False), "lm_head")


def test_streamed_model_equals_the_loaded_one(form: Form | str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path, form))
    loaded = OmniLMM(MINI).eval()
    loaded.load_state_dict({name: tensor.float() for name, tensor in WEIGHTS.items()})
    streamed = layerwise_model(checkpoint)
    held = dict(streamed.named_parameters())
    assert not any(".blocks." in name or ".layers." in name for name in held)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, MINI.vision.image_size, MINI.vision.image_size, generator=generator)
    tokens = MINI.tokens
    ids = torch.tensor([[tokens.bos, tokens.im_start, *[tokens.im_patch] * 16, tokens.im_end, 5, 6, 7]])
    with torch.inference_mode():
        features = loaded.encode_image(pixels)
        assert torch.equal(streamed.encode_image(pixels), features)
        for _ in range(2):  # the layers can be gone through again
            assert torch.equal(streamed(ids, features), loaded(ids, features))


# ---- identity ----


def test_the_fingerprint_follows_weights_and_tokenizer(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(write(tmp_path / "a", Form.SAFETENSORS))
    assert Checkpoint.open(write(tmp_path / "b", Form.SAFETENSORS)).fingerprint() == checkpoint.fingerprint()
    changed = WEIGHTS | {Q_PROJ: WEIGHTS[Q_PROJ] + 1}
    other = Checkpoint.open(write(tmp_path / "c", Form.SAFETENSORS, changed))
    assert other.fingerprint() != checkpoint.fingerprint()
    (tmp_path / "b" / "added_tokens.json").write_text("{}")
    assert Checkpoint.open(tmp_path / "b").fingerprint() != checkpoint.fingerprint()


def test_the_fingerprint_looks_at_the_middle_of_large_files(tmp_path: Path) -> None:
    """Beyond the first and the last MiB it reads samples, one of them from the middle on."""
    checkpoint = Checkpoint.open(write(tmp_path, Form.SAFETENSORS))
    (tmp_path / "tokenizer.model").write_bytes(content := bytes(4 << 20))
    before = Checkpoint.open(checkpoint.folder).fingerprint()
    changed = bytearray(content)
    changed[len(content) // 2 + 100] = 1
    (tmp_path / "tokenizer.model").write_bytes(changed)
    assert Checkpoint.open(checkpoint.folder).fingerprint() != before


# ---- faults: folder and files ----


def test_not_a_checkpoint(tmp_path: Path) -> None:
    assert "is not a folder" in refused(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    assert "is not a folder" in refused(tmp_path / "file")
    assert "has no config.json" in refused(tmp_path)
    write_json(tmp_path / "config.json", config_json(MINI, Form.BIN))
    assert "has no weights" in refused(tmp_path)


@pytest.mark.parametrize("form", [Form.SHARDED_BIN, Form.SAFETENSORS])
def test_absent_shards_are_named(form: Form, tmp_path: Path) -> None:
    write(tmp_path, form)
    second = next(tmp_path.glob("*-00002-of-00003.*"))
    second.unlink()
    assert f"1 of its 3 shards are absent ({second.name})" in refused(tmp_path)


@pytest.mark.parametrize(
    "shard",
    [
        *("../model-00001-of-00003.safetensors", "/etc/model.safetensors", "a\\b.safetensors", "C:b.safetensors"),
        *("config.json", ""),
    ],
)
def test_index_can_not_leave_the_folder(shard: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "inside", Form.SAFETENSORS)
    shutil.copy(folder / "model-00001-of-00003.safetensors", tmp_path)
    index = folder / "model.safetensors.index.json"
    write_json(index, {"weight_map": json.loads(index.read_text())["weight_map"] | {Q_PROJ: shard}})
    assert "file beside it is needed" in refused(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{}"])
def test_broken_index(content: str, tmp_path: Path) -> None:
    write(tmp_path, Form.SAFETENSORS)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    assert str(index) in refused(tmp_path)


def test_index_with_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    write(tmp_path, Form.SAFETENSORS)
    index = tmp_path / "model.safetensors.index.json"
    write_json(
        index, {"weight_map": json.loads(index.read_text())["weight_map"] | {Q_PROJ: f"{'x' * 300}.safetensors"}}
    )
    assert "1 of its 4 shards are absent (xxx" in refused(tmp_path)


def test_index_that_names_the_wrong_shard(tmp_path: Path) -> None:
    write(tmp_path, Form.SAFETENSORS)
    index = tmp_path / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    places["lm_head.weight"] = places["model.embed_tokens.weight"]
    write_json(index, {"weight_map": places})
    assert "places lm_head.weight in model-00001-of-00003.safetensors, which doesn't hold it" in refused(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights(form: Form | str, keep: float, tmp_path: Path) -> None:
    write(tmp_path, form)
    path = next(path for path in sorted(tmp_path.iterdir()) if path.suffix in {".bin", ".safetensors"})
    os.truncate(path, int(path.stat().st_size * keep))
    assert path.name in refused(tmp_path)


def test_git_lfs_pointer(tmp_path: Path) -> None:
    write(tmp_path, SINGLE)
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert "git lfs pull" in refused(tmp_path)


class Foreign:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch executed",)


def test_pickle_that_could_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, Form.BIN)
    torch.save({**WEIGHTS, "model.norm.weight": Foreign()}, tmp_path / "pytorch_model.bin")
    text = refused(tmp_path)
    assert f"asks for {os.name}.system" in text and "weights_only" not in text
    assert not (tmp_path / "executed").exists()


def test_old_pickle_format(tmp_path: Path) -> None:
    write(tmp_path, Form.BIN)
    torch.save(WEIGHTS, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert "not in torch's zip format" in refused(tmp_path)


def test_zip_that_was_packed_again(tmp_path: Path) -> None:
    path = write(tmp_path, Form.BIN) / "pytorch_model.bin"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "again", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    (tmp_path / "again").replace(path)
    assert "zipped again with compression" in refused(tmp_path)


@pytest.mark.parametrize("content", [[1], {}, {"model.norm.weight": 1}, {"state_dict": WEIGHTS}, {1: torch.ones(1)}])
def test_pickle_of_something_else(content: object, tmp_path: Path) -> None:
    write(tmp_path, Form.BIN)
    torch.save(content, tmp_path / "pytorch_model.bin")
    assert "state dict" in refused(tmp_path) or "named dense tensors" in refused(tmp_path)


def test_pickle_damaged_inside(tmp_path: Path) -> None:
    path = write(tmp_path, Form.BIN) / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02garbage")
        archive.writestr("archive/version", b"3\n")
    assert "pytorch_model.bin" in refused(tmp_path)


@pytest.mark.parametrize("form", [Form.BIN, SINGLE])
def test_other_dtypes_are_refused(form: Form | str, tmp_path: Path) -> None:
    write(tmp_path, form, WEIGHTS | {"lm_head.weight": torch.ones(64, 128, dtype=torch.int32)})
    assert "lm_head.weight has dtype" in refused(tmp_path)


def test_published_pickle_globals_are_read(tmp_path: Path) -> None:
    """OmniLMM-12B's pickle is an OrderedDict and rebuilds tensors from their type."""
    path = write(tmp_path, Form.BIN) / "pytorch_model.bin"
    tensors = OrderedDict(WEIGHTS)
    tensors["model.norm.weight"].published = True  # type: ignore[attr-defined]
    torch.save(tensors, path)
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("pytorch_model/data.pkl")
    assert b"_rebuild_from_type_v2" in pickled and b"OrderedDict" in pickled and b"BFloat16Storage" in pickled
    assert Checkpoint.open(tmp_path).config == MINI


# ---- faults: keys ----


def test_missing_unexpected_and_misshapen_keys_come_in_one_error(form: Form | str, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in WEIGHTS.items() if "layers.1." not in name and "ln_q" not in name}
    tensors |= {"model.vision_tower.norm.weight": torch.ones(3), "model.mm_projector.weight": torch.ones(2)}
    write(tmp_path, form, tensors)
    text = refused(tmp_path)
    assert "11 missing (model.layers.1.input_layernorm.weight and 10 more)" in text
    assert "1 unexpected (model.mm_projector.weight)" in text
    assert "1 wrongly shaped (model.vision_tower.norm.weight is [3], expected [112])" in text


def test_language_model_alone_lacks_the_tower(tmp_path: Path) -> None:
    write(tmp_path, SINGLE, {name: tensor for name, tensor in WEIGHTS.items() if "vision_tower" not in name})
    assert "825 missing" in refused(tmp_path)
