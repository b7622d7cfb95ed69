"""What is done beside a picture, and when: on a bundle that says its weights are mapped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine import graph_opener as opening
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.graph_opener import GraphOpener
from omnilmm_lite.engine.interrupt import Interrupt, Interrupted, interruptible
from omnilmm_lite.engine.placement import DeviceId, Placement

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[np.float32]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which files were brought into memory, and how."""
    found: list[str] = []
    for name in ("populate", "read_ahead"):
        monkeypatch.setattr(opening, name, lambda file, name=name: found.append(f"{name} {file.name}"))
    return found


def opener(folder: Path, *, two_graphs: bool = True, mapped: bool = True, time_shared: bool = True) -> GraphOpener:
    """Of a bundle whose one decoder graph serves as two, if wanted."""
    bundle = Bundle.open(folder)
    graphs = bundle.manifest.graphs
    manifest = dataclasses.replace(
        bundle.manifest,
        time_shared=time_shared,
        mapped=(graphs.vision, *((graphs.prefill,) if two_graphs else ())) if mapped else (),
    )
    return GraphOpener(Bundle(folder, manifest), Placement.on(Device.CPU), 1)


def decoder(opener: GraphOpener, *, two_graphs: bool = True) -> DecoderGraphs:
    manifest = opener.bundle.manifest

    def decode() -> InferenceSession:
        return open_session(opener.bundle.path(manifest.graphs.decode), Device.CPU, 1)

    def prefill() -> InferenceSession:
        return opener.session(manifest.graphs.prefill)

    open_prefill = prefill if two_graphs else None
    return DecoderGraphs(manifest.config.decoder, decode, Device.CPU, 64, open_prefill=open_prefill)


def pixels(opener: GraphOpener) -> Array:
    size = opener.bundle.manifest.config.vision.image_size
    return np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)


def test_the_first_picture_brings_what_the_prompt_will_need(tiny_bundle: Path, calls: list[str]) -> None:
    """The prompts' graph is read, but not opened nor mapped: it would count beside the tower."""
    opened = opener(tiny_bundle)
    two = decoder(opened)
    encode = opened.tower(two)
    assert calls == ["populate vision.onnx.data"]
    features = encode(pixels(opened))
    assert calls == ["populate vision.onnx.data", "read_ahead decoder.onnx.data"]
    assert two._decode_graph is not None
    assert two._prefill_graph is None
    np.testing.assert_array_equal(encode(pixels(opened)), features)
    assert len(calls) == 2  # once is enough while the tower stays open
    two.open()
    assert calls[2:] == ["populate decoder.onnx.data"]
    two.release()
    two.open()
    assert calls[3:] == ["populate decoder.onnx.data"]  # what was let go of is mapped anew


def test_one_graph_for_all_is_not_loaded_beside_a_tower_that_it_makes_room_for(
    tiny_bundle: Path, calls: list[str]
) -> None:
    opened = opener(tiny_bundle, two_graphs=False)
    one = decoder(opened, two_graphs=False)
    opened.tower(one)(pixels(opened))
    assert calls == ["populate vision.onnx.data"]
    assert one._decode_graph is None


def test_nothing_is_done_beside_where_nothing_is_mapped_or_shared(tiny_bundle: Path, calls: list[str]) -> None:
    opened = opener(tiny_bundle, mapped=False, time_shared=False)
    one = decoder(opened, two_graphs=False)
    opened.tower(one)(pixels(opened))
    assert calls == []
    assert one._decode_graph is None


def test_what_is_resident_is_packed_and_takes_no_turns(
    tiny_bundle: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: list[bool] = []

    def remember(path: Path, where: DeviceId, threads: int | None, **options: bool) -> InferenceSession:
        mapped.append(options["mapped"])
        return open_session(path, Device.CPU, threads)

    monkeypatch.setattr(opening, "open_session", remember)
    opened = dataclasses.replace(opener(tiny_bundle), resident=True)
    two = decoder(opened)
    two.open()
    prompts = two._prefill_graph
    opened.tower(two)(pixels(opened))
    assert not opened.takes_turns and calls == [] and not any(mapped) and len(mapped) == 3
    assert two._prefill_graph is prompts is not None  # it hasn't made room


def test_interrupted_work_is_done_beside_the_next_picture(
    tiny_bundle: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opener(tiny_bundle)
    two = decoder(opened)
    interrupt = Interrupt()

    def open_kept() -> None:
        calls.append("open")
        if not interrupt.is_set:
            interrupt.set()
            raise Interrupted("stopped")

    monkeypatch.setattr(two, "open_kept", open_kept)
    encode = opened.tower(two)
    with interruptible(interrupt), pytest.raises(Interrupted):
        encode(pixels(opened))
    encode(pixels(opened))
    assert calls == ["populate vision.onnx.data", "open", "open", "read_ahead decoder.onnx.data"]


@pytest.mark.parametrize("split", [False, True])
def test_tower_and_decoder_go_where_they_are_placed(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, split: bool
) -> None:
    """Two cards: what takes turns on one is loaded on both at the same time. The sessions here are the CPU's."""
    opened: dict[str, str] = {}

    def remember(path: Path, where: DeviceId, threads: int | None, **options: bool) -> InferenceSession:
        opened[path.name] = str(where)
        return open_session(path, Device.CPU, threads)

    monkeypatch.setattr(opening, "open_session", remember)
    one = opener(tiny_bundle, two_graphs=False, mapped=False)
    second = DeviceId(Device.CUDA, 1)
    placed = dataclasses.replace(
        one, placement=Placement(DeviceId(Device.CUDA), second) if split else Placement.on(second)
    )
    held = decoder(placed, two_graphs=False)
    monkeypatch.setattr(held, "_open_decode", lambda: placed.session("decoder.onnx"))
    held.open()
    encode = placed.tower(held)
    tower = "cuda:0" if split else "cuda:1"
    assert opened == {"decoder.onnx": "cuda:1", "vision.onnx": tower, "resampler.onnx": tower}
    assert (held._decode_graph is not None) is split
    bound: list[tuple[str, int]] = []

    class Tower:
        """Notes where its output is asked for; an error then ends the run."""

        def io_binding(self) -> Tower:
            return self

        def bind_cpu_input(self, name: str, value: Array) -> None: ...

        def bind_output(self, name: str, device: str, index: int) -> None:
            bound.append((device, index))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        encode.func(Tower(), None, pixels(placed), **encode.keywords)  # type: ignore[attr-defined]
    assert bound == [("cuda", 0 if split else 1)]
