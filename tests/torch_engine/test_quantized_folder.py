"""Quantized layers that are kept: made once, read at the next start, made again where they are not what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from export import torch_model
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.torch_engine import quantized_folder
from omnilmm_lite.torch_engine.products import Nf4Product
from omnilmm_lite.weights import Weights
from tests.torch_engine.loading import TRAINED, copied, loaded

IDS = [1, *range(300, 310)]
LAYERS, A_LAYER = 4, 7  # of TRAINED's decoder; linear layers of each
ALL = A_LAYER * LAYERS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(TRAINED, tmp_path)


class Quantizations:
    """Counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        quantize = Nf4Product.quantize

        def counted(*arguments: object) -> Nf4Product:
            self.count += 1
            return quantize(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Nf4Product, "quantize", counted)


@pytest.fixture
def quantizations(monkeypatch: pytest.MonkeyPatch) -> Quantizations:
    return Quantizations(monkeypatch)


def test_the_second_start_quantizes_nothing_and_answers_alike(
    folder: Path, quantizations: Quantizations, capsys: pytest.CaptureFixture[str]
) -> None:
    first = loaded(folder, Weights.NF4).logits(IDS)
    assert quantizations.count == ALL
    kept = folder.with_name("model.nf4")
    assert f"quantizing the decoder to nf4, once; kept in {kept}\n" in capsys.readouterr().err
    np.testing.assert_array_equal(loaded(folder, Weights.NF4).logits(IDS), first)
    assert quantizations.count == ALL
    assert capsys.readouterr().err == ""
    assert sum(file.suffix == ".safetensors" for file in kept.iterdir()) == LAYERS


@pytest.mark.parametrize("harm", ["damaged", "missing", "cut off"])
def test_a_layer_that_is_not_whole_is_made_again(
    folder: Path, quantizations: Quantizations, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    first = loaded(folder, Weights.NF4).logits(IDS)
    file = folder.with_name("model.nf4") / "layer-001.safetensors"
    content = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if harm == "damaged" else content[:100])
    np.testing.assert_array_equal(loaded(folder, Weights.NF4).logits(IDS), first)
    assert quantizations.count == ALL + A_LAYER
    assert (f"{file}: damaged; the layer is quantized again" in capsys.readouterr().err) == (harm != "missing")
    assert file.read_bytes() == content
    loaded(folder, Weights.NF4)
    assert quantizations.count == ALL + A_LAYER


def test_another_checkpoint_in_its_place_is_noticed(
    folder: Path, quantizations: Quantizations, capsys: pytest.CaptureFixture[str]
) -> None:
    first = loaded(folder, Weights.NF4).logits(IDS)
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor.flip(0) for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert not np.allclose(loaded(folder, Weights.NF4).logits(IDS), first)
    assert quantizations.count == 2 * ALL
    assert "model.nf4: of another checkpoint or version; made again" in capsys.readouterr().err


def test_where_nothing_can_be_written_beside_it_the_users_cache_serves(
    folder: Path, tmp_path: Path, quantizations: Quantizations, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    cache = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: cache)
    monkeypatch.setattr(torch_model, "_is_writable", lambda path: cache in path.parents)
    loaded(folder, Weights.NF4)
    assert f"kept in {cache / 'model.nf4-'}" in capsys.readouterr().err
    loaded(folder, Weights.NF4)
    assert quantizations.count == ALL


def test_hugging_face_s_cache_is_left_as_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own tools take whatever lies beside a version for another one."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    snapshots = tmp_path / "hub" / "models--some--model" / "snapshots"
    snapshots.mkdir(parents=True)
    model = loaded(folder.rename(snapshots / "0f1e2d"), Weights.NF4)
    assert (model.name, [path.name for path in snapshots.iterdir()]) == ("model", ["0f1e2d"])
    assert f"kept in {tmp_path / 'cache' / 'model.nf4-'}" in capsys.readouterr().err


def test_a_full_disk_costs_the_next_start_its_time_alone(
    folder: Path, quantizations: Quantizations, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, write: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(quantized_folder, "write_durably", full)
    model = loaded(folder, Weights.NF4)
    assert np.isfinite(model.logits(IDS)).all()
    assert "model.nf4: No space left on device; the next start quantizes again" in capsys.readouterr().err
    assert quantizations.count == ALL


def test_who_comes_while_another_run_quantizes_is_told(folder: Path) -> None:
    with sole_owner(folder.with_name("model.nf4")), pytest.raises(InputError, match="another run is writing there"):
        loaded(folder, Weights.NF4)
