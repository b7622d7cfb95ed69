"""Conversion on a card that isn't there: nothing is left on the CPU, and what comes out is what the CPU computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from export.checkpoint.checkpoint import Checkpoint
from export.reference.layerwise import layerwise_model
from export.reference.pictures import encode_pictures
from export.torch_device import TorchDevice
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import OmniLMMError
from quantize.calibration.answer_writer import write_answers
from quantize.calibration.embedded_sequences import Calibration, EmbeddedSequence
from quantize.decoder.card_memory import check_card, states_bytes, step_bytes, tower_bytes
from quantize.decoder.job import QuantizationJob
from quantize.decoder.quantizer import quantize_decoder
from quantize.decoder.report import ProjectionReport
from quantize.decoder.sensitivity import measure_damages
from quantize.disk import TOWER
from quantize.gptq.gptq import Columns
from quantize.gptq.settings import GPTQSettings
from quantize.tower.quantizer import quantize_tower
from tests.conftest import Quiet
from tests.quantize.pretend_card import CARD, PretendCard, pretend_card, with_memory
from tests.small_checkpoint import TINY, write_checkpoint

SIZE = replace(
    TINY,
    resampler=replace(TINY.resampler, hidden_size=32),
    decoder=replace(TINY.decoder, hidden_size=32, num_attention_heads=1, num_key_value_heads=1, intermediate_size=64),
)
SETTINGS = GPTQSettings(group_size=16)
DEVICE = TorchDevice(CARD)
TOKENS, SEQUENCES = 40, 16
LARGE = 10**12  # bytes of a card


class Killed(BaseException):
    """Stands for the end of the process."""


class KilledAt(Quiet):
    """Progress that ends the process at its `at`-th step; 0: never."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, line: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


@contextmanager
def on_a_card(total: int = LARGE) -> Iterator[PretendCard]:
    with with_memory(total), pretend_card() as card:
        yield card


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    """On the CPU, too: its fused kernel sums in another order."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Weights are so small here that threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint.open(write_checkpoint(tmp_path_factory.mktemp("checkpoint"), size=SIZE))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    generator = torch.Generator().manual_seed(0)
    return Calibration.from_embeddings([torch.randn(1, TOKENS, 32, generator=generator) for _ in range(SEQUENCES)])


@pytest.fixture(scope="module")
def work(checkpoint: Checkpoint, calibration: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the CPU."""
    folder = tmp_path_factory.mktemp("work")
    with sdpa_kernel(SDPBackend.MATH):
        quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Everything in a folder but what holds times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "log.jsonl")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# ---- the decoder ----


def test_the_decoder_comes_out_as_on_the_cpu(
    work: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    """With the states in memory and without, within the memory that is asked for; report and all."""
    job = QuantizationJob(checkpoint, calibration, SETTINGS, device=DEVICE)
    needed = step_bytes(SIZE.decoder, TOKENS)
    cards = {}
    for total in (needed, needed + states_bytes(SIZE.decoder, SEQUENCES * TOKENS)):
        with on_a_card(total) as cards[total]:
            quantize_decoder(job, tmp_path / str(total))
        assert digests(tmp_path / str(total)) == digests(work)
        assert total / 3 < cards[total].peak <= total
    read, held = cards.values()
    passes = 2 * SIZE.decoder.num_hidden_layers * 4 * SEQUENCES * TOKENS * SIZE.decoder.hidden_size  # of both decoders
    assert read.copied - held.copied == 11 * passes  # 10 readings and 3 writings a layer become 1 of each


@pytest.mark.parametrize("first", [TorchDevice(), DEVICE], ids=["cpu", "card"])
def test_a_run_goes_on_on_the_other_device(
    first: TorchDevice, work: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    second = DEVICE if first == TorchDevice() else TorchDevice()
    done: list[ProjectionReport] = []

    def kill_in_the_second_layer(report: ProjectionReport) -> None:
        done.append(report)
        if len(done) == 9:
            raise Killed

    with on_a_card(), pytest.raises(Killed):
        job = QuantizationJob(checkpoint, calibration, SETTINGS, device=first)
        quantize_decoder(job, tmp_path, kill_in_the_second_layer)
    with on_a_card():
        quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS, device=second), tmp_path)
    assert digests(tmp_path) == digests(work)


def test_a_full_card_costs_the_layer_at_hand_only(
    work: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, whole, calls = QuantizationJob(checkpoint, calibration, SETTINGS), Columns.of, count()

    def of(*given: Any, **options: Any) -> Columns:
        if next(calls) == 5:  # the second layer's second stage
            raise torch.OutOfMemoryError("CUDA out of memory.\nThere are more lines of this.")
        return whole(*given, **options)

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 7 * 10**9)
    with on_a_card(), monkeypatch.context() as patch:
        patch.setattr(Columns, "of", of)
        with pytest.raises(
            OmniLMMError, match=r"^cuda:0: its memory is full at model\.layers\.1: 7\.0 GB in use"
        ) as said:
            quantize_decoder(replace(job, device=DEVICE), tmp_path)
    assert "\n" not in str(said.value)
    assert (tmp_path / "layer-000.safetensors").is_file()
    quantize_decoder(job, tmp_path)
    assert digests(tmp_path) == digests(work)


def test_a_run_of_a_version_that_kept_the_device_goes_on(
    work: Path, checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path
) -> None:
    arguments = json.loads((work / "arguments.json").read_text())
    assert "device" not in arguments
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        (folder / "arguments.json").write_text(json.dumps(arguments | {"device": device}))
        (folder / "gptq").symlink_to(work / "gptq")
        assert quantize_decoder(QuantizationJob(checkpoint, calibration, SETTINGS), folder) == folder / "gptq"


def test_damages_are_measured_as_on_the_cpu(checkpoint: Checkpoint, calibration: Calibration, tmp_path: Path) -> None:
    few = Calibration(calibration.sequences[:2], "")
    job = QuantizationJob(checkpoint, few, SETTINGS)
    expected = measure_damages(job, tmp_path / "cpu", lambda _: None)
    with on_a_card():
        assert measure_damages(replace(job, device=DEVICE), tmp_path / "card", lambda _: None) == expected


@pytest.mark.parametrize("total", [0, LARGE], ids=["layers read for each token", "layers kept"])
@torch.inference_mode()
def test_answers_are_written_as_on_the_cpu(total: int, checkpoint: Checkpoint) -> None:
    generator = torch.Generator().manual_seed(1)
    openings = [
        EmbeddedSequence(
            torch.zeros(tokens, dtype=torch.bool), partial(torch.randn, 1, tokens, 32, generator=generator)
        )
        for tokens in (9, 17)
    ]
    states = generator.get_state()
    expected = write_answers(checkpoint, openings, 4, TorchDevice(), lambda _: None)
    generator.set_state(states)
    with on_a_card(total):
        assert write_answers(checkpoint, openings, 4, DEVICE, lambda _: None) == expected


def test_too_small_a_card_is_refused_before_any_work() -> None:
    """At the full size: with the numbers, whether the card is small or the cap is."""
    config, needed = OmniLMMConfig(), step_bytes(OmniLMMConfig().decoder)
    with with_memory(6 * 10**9):
        check_card(config, DEVICE, quantizes=False)
        with pytest.raises(
            OmniLMMError, match=r"^cuda:0: quantizing a layer of the decoder takes 6\.6 GB .* and 6\.0 GB"
        ):
            check_card(config, DEVICE, quantizes=True)
    with with_memory(LARGE):
        check_card(config, TorchDevice(CARD, needed), quantizes=True)
        with pytest.raises(OmniLMMError, match=r"^cuda:0: the reference in fp32, .* left of --vram 3\.0 GB: "):
            check_card(config, TorchDevice(CARD, 3 * 10**9), quantizes=False)
    check_card(config, TorchDevice(), quantizes=True)


# ---- pictures, the tower, the reference ----


def test_pictures_are_encoded_as_on_the_cpu(checkpoint: Checkpoint, pictures: list[Path]) -> None:
    expected = encode_pictures(checkpoint, pictures)
    with on_a_card() as card:
        found = encode_pictures(checkpoint, pictures, CARD)
    assert torch.equal(found, expected)
    assert card.peak <= tower_bytes(SIZE.vision)


def test_the_tower_comes_out_as_on_the_cpu(checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path) -> None:
    _, expected = quantize_tower(checkpoint, pictures, tmp_path / "cpu", Quiet())
    with on_a_card() as card:
        _, report = quantize_tower(checkpoint, pictures, tmp_path / "card", Quiet(), DEVICE)
    assert report == expected
    assert digests(tmp_path / "card" / TOWER) == digests(tmp_path / "cpu" / TOWER)
    assert card.operators > 1000  # GPTQ was there, not only the pictures


def test_a_tower_goes_on_on_the_other_device(checkpoint: Checkpoint, pictures: list[Path], tmp_path: Path) -> None:
    """Killed among the statistics, and again among the rounded blocks."""
    quantize_tower(checkpoint, pictures, tmp_path / "cpu", Quiet())
    with on_a_card():
        for at, device in ((1, TorchDevice()), (3, DEVICE), (0, TorchDevice())):
            with pytest.raises(Killed) if at else nullcontext():
                quantize_tower(checkpoint, pictures, tmp_path / "both", KilledAt(at), device)
    assert digests(tmp_path / "both" / TOWER) == digests(tmp_path / "cpu" / TOWER)


@torch.inference_mode()
def test_the_reference_answers_as_on_the_cpu(checkpoint: Checkpoint) -> None:
    ids = torch.arange(5, 25)[None]
    expected = layerwise_model(checkpoint)(ids)
    with on_a_card():
        model = layerwise_model(checkpoint, CARD)
        assert torch.equal(model(ids.to(CARD)).cpu(), expected)
        assert model.chat(ids[0].tolist(), max_new_tokens=2)


# ---- the pretended card itself ----


@torch.inference_mode()
def test_a_pretended_card_refuses_what_a_card_would() -> None:
    with pretend_card():
        there, here = torch.ones(2, 2, device="cuda"), torch.ones(2, 2)
        for mixed in (
            lambda: there + here,
            lambda: torch.addmm(there, there, here),
            lambda: there.addmm_(here, here),
            lambda: torch.where(there > 0, here, there),
            lambda: there.__setitem__(0, here[0]),
            lambda: here[there.long()],
        ):
            with pytest.raises(RuntimeError, match="one tensor is on the card, another on the CPU"):
                mixed()
        with pytest.raises(TypeError, match="can't convert"):
            there.numpy()
        assert there.device == (there * 2).device == there[0].device == CARD
        assert (there + torch.tensor(1.0)).sum().item() == 8  # single numbers may come from the host


@torch.inference_mode()
def test_a_pretended_card_counts_what_lies_there_at_once() -> None:
    with pretend_card() as card:
        for _ in range(5):
            there = torch.zeros(1000, device="cuda")
            again = there + 1
            del there, again
        assert card.peak == 8000
        assert card.copied == 0
        torch.zeros(10).to("cuda").cpu()
        assert card.copied == 80
