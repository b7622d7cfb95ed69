"""`omnilmm-lite bench --vram`: the whole flow on a made-up card, whose memory is what the model has open."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli
from omnilmm_lite.bench.card import measure_fit
from omnilmm_lite.bench.card.ballast import SOLD, room_of, usable_bytes
from omnilmm_lite.bench.card.cudart import CudaRuntime
from omnilmm_lite.bench.card.fit import Prediction, Turns
from omnilmm_lite.bench.card.memory_watch import MemoryWatch
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import DeviceChoice, choose_device
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.card import Card, Cards
from omnilmm_lite.model import BundleModel, LoadOptions
from tests.machine.fake_nvml import FakeCard, FakeNvml

MIB, GIB = 1 << 20, 1 << 30
LARGE = 141 * GIB
CONTEXT, TOWER, DECODER, LEAK = 500 * MIB, 3 * GIB, 4 * GIB, 8 * MIB


class FakeCudart:
    """CUDA's runtime library over a card's memory."""

    def __init__(self, total: int = LARGE, before: int = GIB) -> None:
        self.total, self.before, self.context, self.taken = total, before, 0, 0
        self.model: BundleModel | None = None
        self.leaked = 0
        self.calls: list[str] = []

    @property
    def used(self) -> int:
        return self.before + self.context + self.taken + self._of_model()

    def _of_model(self) -> int:
        """What is open takes memory; of a tower that was let go, some is never given back."""
        if self.model is None:
            return 0
        decoder = self.model.text.decoder
        assert isinstance(decoder, GraphDecoder)
        graph = DECODER if decoder.graphs._decode_graph is not None else 0
        tower = TOWER if self.model.vision._encode is not None else 0
        return graph + tower + self.leaked

    def cudaSetDevice(self, index: ctypes.c_int) -> int:
        self.calls.append(f"set {index.value}")
        self.context = CONTEXT  # since CUDA 12
        return 0

    def cudaFree(self, pointer: ctypes.c_void_p | None) -> int:
        if pointer is None:
            self.context = CONTEXT
        else:
            self.taken = 0
            self.calls.append("free")
        return 0

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:
        free._obj.value, total._obj.value = self.total - self.used, self.total
        return 0

    def cudaMalloc(self, pointer: Any, size: ctypes.c_size_t) -> int:
        if size.value > self.total - self.used:
            return 2
        self.taken, pointer._obj.value = size.value, 4096
        return 0


@pytest.fixture
def bundle(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Small, as if it were built for a card where tower and decoder take turns."""
    manifest = dataclasses.replace(
        Bundle.open(tiny_bundle).manifest, target=Device.CUDA, preset="8gb", time_shared=True
    )
    found = Bundle(tiny_bundle, manifest)
    monkeypatch.setattr(Bundle, "find", lambda name: found)
    return found


@pytest.fixture
def on_card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeCudart]:
    """The model runs on the CPU, and everything else believes it to be on the card."""

    def put(total: int = LARGE, fails: str = "") -> FakeCudart:
        library = FakeCudart(total)
        nvml = FakeNvml([FakeCard("NVIDIA H", total)], on_use=lambda card: library.used)

        def open_model(bundle: Bundle, choice: DeviceChoice, options: LoadOptions) -> BundleModel:
            assert choice.device is Device.CUDA
            model = BundleModel(bundle, choose_device("cpu", Device.CUDA), dataclasses.replace(options, context=64))
            library.model = model
            model.text.decoder.open()
            encode = model.encode_image

            def leaking(image: Any) -> Any:
                if fails:
                    raise OmniLMMError(fails)
                library.leaked += LEAK
                return encode(image)

            monkeypatch.setattr(model, "encode_image", leaking)
            return model

        def choose(wanted: str, target: Device) -> DeviceChoice:
            if wanted == "cpu":
                return choose_device(wanted, target)
            cards = tuple(DeviceId(Device.CUDA, int(part[5:] or 0)) for part in wanted.split(","))
            return DeviceChoice(Placement(cards[0], cards[-1]), "it is there")

        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr("ctypes.CDLL", lambda name: library)
        monkeypatch.setattr(measure_fit, "BundleModel", open_model)
        monkeypatch.setattr(measure_fit, "choose_device", choose)
        monkeypatch.setattr(measure_fit, "DEFAULT_CONTEXT", 64)
        return library

    return put


def bench(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert cli.main(["bench", *words]) == code
    out, err = capsys.readouterr()
    return out, err


# ---- the flow ----


@pytest.mark.usefixtures("bundle")
def test_every_stage_and_what_the_plan_says(
    on_card: Callable[..., FakeCudart], capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: a context of 500 MiB; 4 GiB of decoder; 3 of tower while a picture is read, whose loading may be seen
    beside the decoder; 8 MiB are lost with every picture."""
    library = on_card()
    out, _ = bench(capsys, "--vram", "12", "--device", "cuda", "--turns", "3", "--json")
    found = json.loads(out)
    assert (found["card"], found["device"], found["vram"], found["context"]) == ("NVIDIA H", "cuda:0", 12, 64)
    usable = (12288 - 400) * MIB
    assert found["room"] == {
        "usable": usable, "before": GIB, "context": CONTEXT, "ballast": LARGE - GIB - usable,
    }  # fmt: skip
    assert [(each["stage"], each["used"]) for each in found["stages"]] == [
        ("CUDA's context", CONTEXT),
        ("loaded", CONTEXT + DECODER),
        ("first picture", CONTEXT + LEAK),
        ("first prompt", CONTEXT + DECODER + LEAK),
        ("first answer", CONTEXT + DECODER + LEAK),
        ("second picture", CONTEXT + 2 * LEAK),
        ("context filled", CONTEXT + DECODER + 2 * LEAK),
        ("3 turns", CONTEXT + DECODER + 5 * LEAK),
    ]
    assert all(each["peak"] >= each["used"] for each in found["stages"])
    assert found["peak"] == max(each["peak"] for each in found["stages"])
    assert found["turns"] == {"used": [CONTEXT + DECODER + lost * LEAK for lost in (3, 4, 5)], "drift": 2 * LEAK}
    assert [each["what"] for each in found["predictions"]] == [
        "one picture and one question", "more pictures, the context filled",
    ]  # fmt: skip
    first = found["predictions"][0]
    assert first["measured"] == max(each["peak"] for each in found["stages"][:5]) >= CONTEXT + DECODER + LEAK
    assert first["difference"] == pytest.approx(first["measured"] / first["predicted"] - 1, abs=1e-4)
    assert first["is_close"] is False
    assert found["failure"] is None
    assert library.calls[-1] == "free"  # the ballast is given back
    assert library.calls[0] == "set 0"


@pytest.mark.usefixtures("bundle")
def test_the_table(on_card: Callable[..., FakeCudart], capsys: pytest.CaptureFixture[str]) -> None:
    on_card()
    out, _ = bench(capsys, "--vram", "8", "--device", "cuda", "--turns", "2")
    for text in (
        "(preset 8gb) on cuda:0, NVIDIA H, driver 580.65.06; context 64",
        "as on a card of 8 GB, which leaves 7,788 MiB beside a desktop: ",
        "MiB are taken away, 1,024 were in use before",
        "memory of the card, MiB",
        "first prompt",
        "one picture and one question: ",
        ", not within 5%",
        "2 turns of tower and decoder: 4,620 MiB after the first, 4,628 after the last, at most 4,628: a drift of +8",
        "fits: at most ",
    ):
        assert text in out, text


@pytest.mark.usefixtures("bundle")
def test_what_does_not_fit_is_said_with_its_stage(
    on_card: Callable[..., FakeCudart], capsys: pytest.CaptureFixture[str]
) -> None:
    library = on_card(fails="vision tower: the memory is full")
    out, err = bench(capsys, "--vram", "8", "--device", "cuda", "--json", code=1)
    found = json.loads(out)
    assert found["failure"] == "first picture: vision tower: the memory is full"
    assert found["stages"][-1]["stage"] == "first picture: failed"
    assert found["predictions"] == []
    assert "omnilmm-lite: doesn't fit a card of 8 GB: first picture: vision tower: the memory is full" in err
    assert library.calls[-1] == "free"


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(
    ("words", "total", "said"),
    [
        (("--vram", "24", "--device", "cpu"), LARGE, "--vram: it measures a card's memory, and this runs on the CPU ("),
        (("--vram", "24", "--device", "cuda:0,cuda:1"), LARGE, "--vram: it measures one card; give --device cuda:0"),
        (("--vram", "24", "--device", "cuda:1"), LARGE, "--vram: nothing tells what memory the card has"),
        (("--vram", "20", "--device", "cuda"), LARGE, "--vram: 20 is none of the sizes that can be tried: give one of"),
        (("--vram", "24", "--device", "cuda", "--turns", "-1"), LARGE, "--turns: -1 is out of range"),
        (("--vram", "24", "--device", "cuda"), 16380 * MIB,
         "--vram 24: NVIDIA H has 16,380 MiB, 15,356 of them free, and such a card leaves 24,164: give --vram 12"),
        (("--vram", "8", "--device", "cuda"), 6 * GIB,
         "--vram 8: NVIDIA H has 6,144 MiB, 5,120 of them free, and such a card leaves 7,788: end other programs"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_line(
    on_card: Callable[..., FakeCudart],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    total: int,
    said: str,
) -> None:
    on_card(total)
    out, err = bench(capsys, *words, code=2)
    assert out == ""
    complaint = [line for line in err.splitlines() if line.startswith("omnilmm-lite: ")]
    assert len(complaint) == 1
    assert said in complaint[0]


@pytest.mark.usefixtures("bundle")
def test_without_nvidia_ml_py_nothing_can_be_measured(
    on_card: Callable[..., FakeCudart], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_card()
    cards = Cards((Card(0, "NVIDIA A", LARGE, LARGE, (9, 0)),))  # as the driver's own tool tells
    monkeypatch.setattr(measure_fit, "read_cards", lambda: cards)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    _, err = bench(capsys, "--vram", "24", "--device", "cuda", code=2)
    assert "--vram: only nvidia-ml-py tells what a card has in use: install omnilmm-lite[gpu]" in err


# ---- the parts ----


def test_a_card_of_that_very_size_needs_no_ballast() -> None:
    library = FakeCudart(SOLD[24] * MIB)
    card = Card(0, "NVIDIA A", library.total, 0, (8, 9))
    with room_of(24, card, CudaRuntime(0, library), lambda: library.used) as room:
        assert (room.ballast, room.usable) == (0, usable_bytes(24))
    assert "free" not in library.calls


def test_what_is_left_is_what_a_smaller_card_leaves() -> None:
    library = FakeCudart()
    card = Card(0, "NVIDIA A", library.total, 0, (8, 9))
    with pytest.raises(KeyboardInterrupt), room_of(16, card, CudaRuntime(0, library), lambda: library.used) as room:
        assert library.total - library.used + room.context == (16380 - 400) * MIB
        raise KeyboardInterrupt
    assert library.taken == 0


def test_cudas_refusals_are_one_line() -> None:
    library = FakeCudart(total=GIB, before=0)
    with pytest.raises(OmniLMMError, match=r"^cudaMalloc: CUDA error 2: the card's memory is full: "):
        CudaRuntime(0, library).allocate(2 * GIB)


def test_a_runtime_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", load)
    with pytest.raises(OmniLMMError, match=r"13.* can't be loaded: install omnilmm-lite\[gpu\]"):
        CudaRuntime.load(0)


def test_a_peak_between_two_notes_is_seen() -> None:
    seen: list[int] = []
    sizes = iter([15, 15, 90, 15])

    def used() -> int:
        seen.append(next(sizes, 15))
        return seen[-1]

    with MemoryWatch(used, base=10) as watch:
        while len(seen) < 8:
            pass
        assert watch.note("first").peak == 80
        assert watch.note("second").peak == 5
    assert (watch.peak, [each.used for each in watch.footprints]) == (80, [5, 5])


def test_a_look_that_takes_long_leaves_the_next_stage_its_own_peak() -> None:
    answers = iter([90, 5])
    looking, may_end, looks_again = threading.Event(), threading.Event(), threading.Event()

    def used() -> int:
        if threading.current_thread() is threading.main_thread():
            return 5
        answer = next(answers, None)
        if answer == 5:
            looking.set()
            may_end.wait()
        elif answer is None:
            looks_again.set()
        return answer or 5

    with MemoryWatch(used, base=0) as watch:
        looking.wait()
        threading.Timer(0.05, may_end.set).start()
        assert watch.note("first").peak == 90
        looks_again.wait()
        assert watch.note("second").peak == 5


def test_a_driver_that_is_busy_for_a_moment_is_asked_again() -> None:
    answers: list[int | None] = [None, None, 7, 9]

    def used() -> int:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            raise OSError("busy")
        return answer

    with MemoryWatch(used, base=0) as watch:
        while len(answers) > 1:
            pass
        assert watch.note("all").peak == 9


def test_within_five_percent_of_the_prediction() -> None:
    for measured, close in ((96, True), (94, False), (104, True), (106, False)):
        assert Prediction("", 100, measured).is_close is close
    assert Prediction("", 100, 106).difference == pytest.approx(0.06)
    assert Turns((5, 9, 7)).drift == 2
    with pytest.raises(InputError):
        usable_bytes(48)
