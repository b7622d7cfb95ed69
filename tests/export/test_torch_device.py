"""Where torch computes: what a user may ask for, and what is said where a card is missing, small or full."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import torch

from export.torch_device import TorchDevice
from omnilmm_lite.errors import InputError, OmniLMMError
from tests.quantize.pretend_card import CARD, with_memory

GB = 10**9


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test sets is taken back."""
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")
    monkeypatch.delenv("CUDA_DEVICE_ORDER")


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize(
    ("name", "found"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_names_of_devices(name: str, found: str) -> None:
    assert TorchDevice.find(name).device == torch.device(found)


@pytest.mark.usefixtures("two_cards")
def test_cards_are_counted_as_the_runtime_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    TorchDevice.find("cuda:1")
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")  # the user's own wish
    TorchDevice.find("cuda:1")
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"


@pytest.mark.usefixtures("no_card")
def test_auto_takes_the_cpu_silently_where_no_card_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert TorchDevice.find("auto", 8 * GB) == TorchDevice()
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:", "cuda:-1", "cuda:one", "cpu:0", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^--device: '{name}' is unknown; choose auto, cpu, cuda or cuda:N$"):
        TorchDevice.find(name)


@pytest.mark.usefixtures("two_cards")
def test_a_card_that_isnt_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--device cuda:2: torch sees cards up to cuda:1; name one of those$"):
        TorchDevice.find("cuda:2")


@pytest.mark.usefixtures("no_card")
@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, r"is built for the CPU alone; install its build for CUDA, .*--device cpu"),
        ("13.0", r"sees no card; look"),
    ],
)
def test_a_torch_without_cards_says_what_to_do(version: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line: which torch it is, and what is missing, the build or the card."""
    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(InputError, match=rf"^--device cuda: torch {re.escape(torch.__version__)} {said}.*$"):
        TorchDevice.find("cuda")


def test_memory_without_a_card_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--vram: it caps a card's memory, and --device cpu takes no card"):
        TorchDevice.find("cpu", 8 * GB)


def test_room_is_checked_against_the_smaller_of_cap_and_card() -> None:
    with with_memory(24 * GB):
        TorchDevice(CARD).check_room(24 * GB, "work")
        TorchDevice(CARD, 8 * GB).check_room(8 * GB, "work")
        said = r"^cuda:0: work takes 8\.1 GB of the card's memory at most, and 8\.0 GB are left of --vram 8\.0 GB: "
        with pytest.raises(OmniLMMError, match=said):
            TorchDevice(CARD, 8 * GB).check_room(8_100_000_000, "work")
        with pytest.raises(OmniLMMError, match=r"at most, and 24\.0 GB are free there: make room"):
            TorchDevice(CARD, None).check_room(25 * GB, "work")
    TorchDevice().check_room(10**15, "work")  # no card, no question


def test_what_is_in_use_is_left_out_and_what_is_reserved_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 24 GB others have 10; this process has 6 of which 5 are in use."""
    with with_memory(24 * GB):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8 * GB, 24 * GB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 6 * GB)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 5 * GB)
        assert TorchDevice(CARD).free_bytes() == 9 * GB
        assert TorchDevice(CARD, 7 * GB).free_bytes() == 2 * GB


def test_a_full_card_is_one_line_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 7_900_000_000)
    said = (
        r"^cuda:0: its memory is full at model\.layers\.3: 7\.9 GB in use at most, 8\.0 GB allowed; what is finished "
    )
    device = TorchDevice(CARD, 8 * GB)
    with (
        with_memory(24 * GB),
        pytest.raises(OmniLMMError, match=said) as raised,
        device.full_memory_said("model.layers.3"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.53 GiB.\nIt goes on for lines.")
    assert "\n" not in str(raised.value)
    with pytest.raises(KeyError), TorchDevice(CARD).full_memory_said("anything"):
        raise KeyError


def test_prepare_keeps_fp32_whole_and_caps_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's settings and its allocator's, for the process: they are put back here."""
    asked = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: asked.append(given))
    backends: Any = torch.backends
    kept, attention = (backends.fp32_precision, backends.cudnn.deterministic), torch.backends.cuda
    try:
        TorchDevice().prepare()
        assert backends.cudnn.conv.fp32_precision == "tf32"  # torch's default, which nobody needs changed here
        with with_memory(24 * GB):
            TorchDevice(CARD, 6 * GB).prepare()
        assert backends.cudnn.conv.fp32_precision == "ieee"
        assert backends.cuda.matmul.fp32_precision == "ieee"
        assert not backends.cuda.matmul.allow_tf32
        assert attention.math_sdp_enabled()
        assert not (attention.flash_sdp_enabled() or attention.mem_efficient_sdp_enabled())
        assert asked == [(0.25, CARD)]
    finally:
        backends.fp32_precision, backends.cudnn.deterministic = kept
        backends.cudnn.conv.fp32_precision = "tf32"
        for switch in (attention.enable_flash_sdp, attention.enable_mem_efficient_sdp, attention.enable_cudnn_sdp):
            switch(True)
