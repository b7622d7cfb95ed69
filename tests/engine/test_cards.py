"""What can be wrong with cards, and which of several is taken: each a line, none of them seen on a card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import DeviceError, choose_device, graph_errors, open_session
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.card import Cards
from tests.engine.fake_onnxruntime import CPU, CUDA, NEW, OLD, SECOND, FakeOnnxRuntime
from tests.engine.fake_onnxruntime import install as install

TWO = Cards((NEW, SECOND), "580.65.06", (13, 0))
NONE = Cards(reason="no NVIDIA driver was found: install one")
WRONG = {
    "no card": ({"cards": NONE}, "no NVIDIA driver was found: install one"),
    "driver": (
        {"cards": Cards((NEW,), "535.129.03", (12, 2))},
        "driver 535.129.03 supports CUDA 12.2, and onnxruntime-gpu 9.9.9 needs CUDA 13: install driver 580 or newer",
    ),
    "driver by its tool": (
        {"cards": Cards((NEW,), "575.51.03", None)},
        "the driver 575.51.03 is too old, and onnxruntime-gpu 9.9.9 needs CUDA 13: install driver 580 or newer",
    ),
    "driver of WSL": (
        {"cards": Cards((NEW,), "566.14", (12, 7), is_wsl=True)},
        "needs CUDA 13: install driver 580 or newer in Windows, whose driver WSL uses",
    ),
    "old card": (
        {"cards": Cards((OLD,), "580.65.06", (13, 0))},
        "cuda:0 (NVIDIA GeForce GTX 1080) has compute capability 6.1, and onnxruntime-gpu 9.9.9 needs 7.5, an RTX 20 "
        "or newer: take another card, or --device cpu",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(install: Any, case: str) -> None:
    """`auto` goes on with the CPU and says why, `cuda` refuses with the same words."""
    options, said = WRONG[case]
    install([CUDA, CPU], **options)
    with pytest.raises(DeviceError) as caught:
        choose_device("cuda", Device.CUDA)
    choice = choose_device("auto", Device.CUDA)
    assert (choice.device, choice.is_fallback) == (Device.CPU, True)
    assert choice.reason.startswith("the bundle is built for CUDA, but ")
    for text in (str(caught.value), choice.reason):
        assert said in text
        assert "\n" not in text


LINUX = ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcudnn.so.9")
WINDOWS = ("cudart64_13.dll", "cublasLt64_13.dll", "cublas64_13.dll", "cudnn64_9.dll")


@pytest.mark.parametrize(
    ("system", "library"), [*(("linux", each) for each in LINUX), *(("win32", each) for each in WINDOWS)]
)
def test_a_missing_library_is_named_before_a_session_is_tried(
    install: Any, monkeypatch: pytest.MonkeyPatch, system: str, library: str
) -> None:
    ort = install([CUDA, CPU], lacks=library)
    monkeypatch.setattr(sys, "platform", system)
    said = rf"onnxruntime-gpu 9\.9\.9 needs {library}, which can't be loaded: install omnilmm-lite\[gpu\], which brings"
    with pytest.raises(DeviceError, match=said):
        choose_device("cuda", Device.CUDA)
    assert "InferenceSession" not in ort.calls
    assert choose_device("auto", Device.CUDA).is_fallback


def test_a_build_for_cuda_12_wants_less(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeOnnxRuntime, "cuda_version", "12.8")
    install([CUDA, CPU], cards=Cards((NEW,), "535.129.03", (12, 2)), lacks="libcudart.so.13")
    assert choose_device("cuda", Device.CUDA).device is Device.CUDA


def test_cards_that_nobody_can_ask_about_are_left_to_the_session(install: Any) -> None:
    install([CUDA, CPU], cards=Cards(reason="no NVIDIA driver was found", is_known=False))
    for wanted in ("auto", "cuda"):
        assert choose_device(wanted, Device.CUDA).placement == Placement.on(Device.CUDA)
    assert choose_device("cuda:7", Device.CUDA).placement == Placement.on(DeviceId(Device.CUDA, 7))


def test_a_card_is_taken_by_its_number(install: Any) -> None:
    install([CUDA, CPU], cards=TWO)
    first, second = DeviceId(Device.CUDA, 0), DeviceId(Device.CUDA, 1)
    for wanted, expected, name in (
        ("cuda", Placement(first, first), "cuda:0"),
        ("cuda:1", Placement(second, second), "cuda:1"),
        ("cuda:0,cuda:1", Placement(first, second), "cuda:0,cuda:1"),
        ("cuda:1,cuda", Placement(second, first), "cuda:1,cuda:0"),
        ("cuda:1,cuda:1", Placement(second, second), "cuda:1"),
    ):
        choice = choose_device(wanted, Device.CUDA)
        assert (choice.placement, str(choice.placement), choice.device) == (expected, name, Device.CUDA)


@pytest.mark.parametrize("wanted", ["cuda:2", "cuda:0,cuda:2"])
def test_a_number_that_no_card_has_is_refused_with_those_that_are_there(install: Any, wanted: str) -> None:
    install([CUDA, CPU], cards=TWO)
    names = "cuda:0 is NVIDIA GeForce RTX 4090, cuda:1 is NVIDIA GeForce RTX 3060"
    with pytest.raises(InputError, match=f"^device '{wanted}': there is no cuda:2; {names}$"):
        choose_device(wanted, Device.CUDA)


def test_auto_takes_the_first_card_that_can_be_used(install: Any) -> None:
    install([CUDA, CPU], cards=Cards((OLD, SECOND), "580.65.06", (13, 0)))
    choice = choose_device("auto", Device.CUDA)
    assert (str(choice.placement), choice.is_fallback) == ("cuda:1", False)
    assert choice.reason.startswith(
        "the bundle is built for CUDA, and NVIDIA GeForce RTX 3060 is there; not the first, as"
    )
    assert "compute capability 6.1" in choice.reason
    with pytest.raises(DeviceError, match=r"^--device cuda: cuda:0 \(NVIDIA GeForce GTX 1080\) has"):
        choose_device("cuda", Device.CUDA)


def test_room_is_asked_for_before_a_card_is_taken(install: Any) -> None:
    install([CUDA, CPU], cards=TWO)
    asked: list[str] = []

    def room(placement: Placement, cards: Cards) -> str:
        asked.append(str(placement))
        return "" if placement.decoder.index == 1 else "cuda:0 is full"

    assert str(choose_device("auto", Device.CUDA, room).placement) == "cuda:1"
    assert asked == ["cuda:0", "cuda:1"]
    assert str(choose_device("cuda:0,cuda:1", Device.CUDA, room).placement) == "cuda:0,cuda:1"
    with pytest.raises(DeviceError, match=r"^--device cuda: cuda:0 is full$"):
        choose_device("cuda", Device.CUDA, room)
    nowhere = choose_device("auto", Device.CUDA, lambda placement, cards: f"{placement} is full")
    assert nowhere.reason == "the bundle is built for CUDA, but cuda:0 is full"
    assert (nowhere.device, nowhere.is_fallback) == (Device.CPU, True)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "CUDA failure 35: CUDA driver version is insufficient ; GPU=0",
            "CUDA error 35: the driver is missing or too old",
        ),
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=h", "CUDA error 2: the card's memory is full: end other"),
        ("CUDA failure 209: no kernel image is available", "CUDA error 209: the card is too old, or too new"),
        ("Failed to allocate memory for requested buffer of size 5242880", "the memory is full, 5 MiB more were asked"),
        ("Non-zero status code: \nCUDA failure 2: out of memory", "CUDA error 2: the card's memory is full: end other"),
        ("CUDA failure 4242: new ; GPU=0", "CUDA failure 4242: new ; GPU=0"),
        ("anything else", "anything else"),
    ],
)
def test_a_card_that_fails_is_a_device_error_of_one_line(install: Any, error: str, said: str) -> None:
    install([CUDA, CPU], error=RuntimeError(f"{error}\nat line 7"))
    with pytest.raises(DeviceError) as caught:
        open_session(Path("/bundle/decoder.onnx"), DeviceId(Device.CUDA, 1))
    assert str(caught.value).startswith(f"decoder.onnx can't run on cuda:1: {said}")
    assert "\n" not in str(caught.value)
    with (
        pytest.raises(OmniLMMError, match=r"^tower: onnxruntime failed while running it: ") as running,
        graph_errors("tower"),
    ):
        raise RuntimeError(error)
    assert said in str(running.value)
