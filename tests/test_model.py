"""The Python API's front door, against the torch reference with the same weights."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import omnilmm_lite
from omnilmm_lite import model as model_module
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine import graph_opener as opening
from omnilmm_lite.engine.device import DeviceChoice, DeviceError, open_session
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.errors import ContextFullError, InputError
from omnilmm_lite.model import DEFAULT_CONTEXT, Model, load
from omnilmm_lite.picture.preprocess import preprocess
from tests.bundle.manifests import edit_manifest

if TYPE_CHECKING:
    from export.checkpoint.checkpoint import Checkpoint
    from export.reference.model import OmniLMM

# What the project promises for fp32 graphs.
TOLERANCE = 2e-3

QUESTION = [{"role": "user", "content": "What is interesting about this image?"}]
# The published prompt for it, before the picture and after it, as the reference's tokenizer gives it.
BEFORE_PICTURE = [1, 523, 28766, 6574, 28766, 28767, 13, 1976, 460, 396]
BEHIND_PICTURE = [32002, 28705, 13, 3195, 349, 5853, 684, 456, 3469, 28804, 2]
BEHIND_PICTURE += [28705, 13, 28789, 28766, 489, 11143, 28766, 28767, 13]


@pytest.fixture(scope="module")
def reference(tiny_checkpoint: Checkpoint) -> OmniLMM:
    from export.reference.model import OmniLMM

    return tiny_checkpoint.module(OmniLMM(tiny_checkpoint.config), "").eval()


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def reference_features(reference: OmniLMM, image: Image.Image) -> torch.Tensor:
    with torch.inference_mode():
        return reference.encode_image(torch.from_numpy(preprocess(image, reference.config.vision)))


# ---- numbers ----


def test_features_are_the_references(model: Model, reference: OmniLMM) -> None:
    features = model.encode_image(picture())
    config = model.config.resampler
    assert features.shape == (config.num_queries, config.hidden_size)
    assert features.dtype == np.float32
    expected = reference_features(reference, picture())[0].numpy()
    np.testing.assert_allclose(features, expected, rtol=0, atol=TOLERANCE)


def test_a_picture_is_the_same_from_a_path_from_bytes_and_from_pil(model: Model, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    expected = model.encode_image(picture())
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), buffer.getvalue()):
        np.testing.assert_array_equal(model.encode_image(source), expected)


def test_the_prompt_has_the_published_ids(model: Model) -> None:
    ids = model.encode_chat(QUESTION, image=True)
    start, queries = ids.index(32001), model.config.resampler.num_queries
    assert start == 39
    assert ids[: len(BEFORE_PICTURE)] == BEFORE_PICTURE
    assert ids[start + 1 :] == [32000] * queries + BEHIND_PICTURE


@pytest.mark.parametrize("with_picture", [True, False])
def test_logits_are_the_references(model: Model, reference: OmniLMM, with_picture: bool) -> None:
    ids = model.encode_chat(QUESTION, image=with_picture)
    features = model.encode_image(picture()) if with_picture else None
    logits = model.logits(ids, features)
    assert logits.shape == (len(ids), model.config.decoder.vocab_size)
    assert logits.dtype == np.float32
    with torch.inference_mode():
        given = reference_features(reference, picture()) if with_picture else None
        expected = reference(torch.tensor([ids]), given)[0].numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)


def test_logits_leave_a_conversation_as_it_was(model: Model) -> None:
    def answers(disturb: bool) -> list[str]:
        chat = model.chat(picture())
        said = []
        for question in ("What is this?", "And that?"):
            said.append(chat.ask(question, greedy=True, max_new_tokens=6))
            if disturb:
                model.logits(chat_ids(model, chat.messages), other)
        return said

    other = np.zeros((model.config.resampler.num_queries, model.config.decoder.hidden_size), np.float32)
    assert answers(disturb=True) == answers(disturb=False)


def chat_ids(model: Model, messages: list[dict[str, str]]) -> list[int]:
    return model.encode_chat(messages, image=True)


# ---- refusals ----


@pytest.mark.parametrize("ids", [[], [-1], [1, 32009], [10**12]])
def test_ids_that_are_no_tokens_are_refused(model: Model, ids: list[int]) -> None:
    with pytest.raises(InputError, match="each from 0 to 32008"):
        model.logits(ids)


def test_features_without_their_place_are_refused(model: Model) -> None:
    features = model.encode_image(picture())
    queries = model.config.resampler.num_queries
    for ids in ([1, 5, 6], [1, *[32000] * (queries - 1)], [1, *[32000] * (queries - 1), 5, 32000]):
        with pytest.raises(InputError, match=f"a run of {queries} image tokens"):
            model.logits(ids, features)


@pytest.mark.parametrize("cut", [np.s_[:-1], np.s_[:, :-1], np.s_[None]])
def test_features_of_another_shape_are_refused(model: Model, cut: Any) -> None:
    ids = model.encode_chat(QUESTION, image=True)
    features: NDArray[np.float32] = model.encode_image(picture())[cut]
    with pytest.raises(InputError, match="features: expected the shape"):
        model.logits(ids, features)


def test_ids_beyond_the_context_are_refused(tiny_bundle: Path) -> None:
    with pytest.raises(ContextFullError, match="room for 8 tokens"):
        load(tiny_bundle, context=8).logits(list(range(3, 12)))


def test_a_prompt_longer_than_the_context_is_refused(tiny_bundle: Path) -> None:
    chat = load(tiny_bundle, context=60).chat()
    with pytest.raises(ContextFullError, match="the context holds 60 together with the answer"):
        chat.ask("why " * 100)
    assert chat.messages == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 0}, "context: 0 is out of range; this model takes 1 to 32768 tokens"),
        ({"context": 32769}, "context: 32769 is out of range"),
        ({"threads": 0}, "threads: 0 is out of range"),
        ({"threads": 2_000_000}, "threads: 2000000 is out of range"),
        ({"device": "tpu"}, "device 'tpu' is unknown: choose auto, cpu or cuda"),
    ],
)
def test_options_out_of_range_are_refused(tiny_bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tiny_bundle, **options)


def test_the_context_is_bounded_unless_asked_for(model: Model, tiny_bundle: Path) -> None:
    assert model.text.decoder.context == DEFAULT_CONTEXT
    assert load(tiny_bundle, context=9).text.decoder.context == 9


# ---- devices ----

ON_CARD = DeviceChoice(Placement.on(Device.CUDA), "it is there")


@pytest.fixture
def cuda_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The shared bundle, as if it were built for a card."""
    folder = tmp_path / "cuda"
    folder.mkdir()
    for path in tiny_bundle.iterdir():
        (folder / path.name).hardlink_to(path)
    edit_manifest(folder, lambda data: data.update(target="cuda"))
    return folder


def test_a_cuda_bundle_falls_back_where_onnxruntime_has_no_cuda(cuda_bundle: Path) -> None:
    loaded = load(cuda_bundle)
    assert (loaded.device.device, loaded.device.is_fallback) == (Device.CPU, True)
    assert "built for CUDA, but" in loaded.device.reason


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_card_that_fails_at_the_first_session(
    cuda_bundle: Path, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """auto goes on with the CPU and says why; who asked for the card gets the error."""

    def fail_on_cuda(path: Path, where: DeviceId, threads: int | None, **options: bool) -> Any:
        if where.device is Device.CUDA:
            raise DeviceError("decoder.onnx can't run on cuda:0: no libcudart")
        return open_session(path, where, threads, **options)

    monkeypatch.setattr(model_module, "choose_device", lambda wanted, target, room: ON_CARD)
    monkeypatch.setattr(opening, "open_session", fail_on_cuda)
    if wanted == "cuda":
        with pytest.raises(DeviceError, match="no libcudart"):
            load(cuda_bundle, device=wanted)
        return
    loaded = load(cuda_bundle, device=wanted)
    assert loaded.device.is_fallback
    assert "no libcudart" in loaded.device.reason
    monkeypatch.setattr(model_module, "fitting_slots", lambda bundle, context, **options: 3)  # on the card
    assert [load(cuda_bundle, parallel=parallel).slots for parallel in (None, 2)] == [1, 2]
    assert loaded.chat().ask("Hello?", greedy=True, max_new_tokens=2)


def test_steps_are_recorded_on_a_card_and_refused_without_one(
    cuda_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, bool] = {}

    def remember(path: Path, where: DeviceId, threads: int | None, **options: bool) -> Any:
        opened[path.name] = options["cuda_graph"]
        return open_session(path, Device.CPU, threads, mapped=options["mapped"])

    with pytest.raises(InputError, match=r"--cuda-graph: only a CUDA card records steps, and this runs on the CPU \("):
        load(cuda_bundle, device="cpu", cuda_graph=True)
    monkeypatch.setattr(model_module, "choose_device", lambda wanted, target, room: ON_CARD)
    monkeypatch.setattr(opening, "open_session", remember)
    # the cache can't be put onto a card that isn't there
    monkeypatch.setattr(GraphDecoder, "open", lambda decoder: decoder.graphs._open_decode())
    load(cuda_bundle, device="cuda", cuda_graph=True)
    assert opened == {"decoder.onnx": True}


# ---- the package ----


def test_the_package_offers_the_documented_names() -> None:
    assert omnilmm_lite.load is load
    assert omnilmm_lite.Model is Model
    with pytest.raises(AttributeError, match="no attribute 'surprise'"):
        _ = omnilmm_lite.surprise
