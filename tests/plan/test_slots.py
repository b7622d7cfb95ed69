"""How many answers at once fit: by what the cache of each further one takes, worked out on paper."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from cli import main
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.presets import find_preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.graph_decoder import DecoderSlots
from omnilmm_lite.errors import InputError
from omnilmm_lite.machine.card import Card
from omnilmm_lite.model import LoadOptions, _check, load
from omnilmm_lite.model_source import BundleSource, MachineOptions
from omnilmm_lite.pipeline.parallel import Parallel
from omnilmm_lite.plan import here, slots
from omnilmm_lite.plan.memory import make_plan
from omnilmm_lite.plan.planned_model import KNOWN, PlannedModel
from omnilmm_lite.plan.verdict import SYSTEM_RAM
from tests.engine.fake_onnxruntime import CPU, CUDA, NEW, ONE, SECOND
from tests.engine.fake_onnxruntime import install as install
from tests.paths import ROOT

CONTEXT = 1024
CAT = ROOT / "examples" / "pictures" / "cat.png"
OPTIONS: MachineOptions = {"device": "auto", "context": CONTEXT, "threads": None, "drafts": False, "cuda_graph": False}


@pytest.fixture(scope="module")
def source() -> BundleSource:
    return BundleSource(None, Bundle.find(None))


@pytest.fixture(scope="module")
def one(source: BundleSource) -> int:
    """Bytes that one answer at a time needs."""
    return make_plan(PlannedModel.bundle("tiny", source.bundle), CONTEXT).needed_most


@pytest.fixture(scope="module")
def cache(source: BundleSource) -> int:
    """Bytes of an answer's keys and values, float32."""
    config = source.config.decoder
    return 2 * config.num_hidden_layers * config.num_key_value_heads * CONTEXT * config.head_dim * 4


def has_memory(
    monkeypatch: pytest.MonkeyPatch, machine: int | None, limit: int | None = None, free: int | None = None
) -> None:
    """Bytes of RAM beside what the system takes, of a container's limit, and those that nobody uses."""
    monkeypatch.setattr(slots, "available_bytes", lambda: free)
    monkeypatch.setattr(here, "machine_bytes", lambda: None if machine is None else machine + SYSTEM_RAM)
    monkeypatch.setattr(here, "memory_limit", lambda: None if limit is None else SimpleNamespace(size=limit))


def test_as_many_as_memory_has_room_for_and_eight_at_most(
    source: BundleSource, one: int, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for further, expected in ((-1, 1), (0, 1), (cache - 1, 1), (cache, 2), (4 * cache, 5), (99 * cache, 8)):
        has_memory(monkeypatch, one + further)
        assert Parallel.read("auto").slots(source, OPTIONS) == expected
    has_memory(monkeypatch, one + 99 * cache, one + 2 * cache)
    assert Parallel.read("auto").slots(source, OPTIONS) == 3
    has_memory(monkeypatch, one + 99 * cache, free=one + 3 * cache)
    assert Parallel.read("auto").slots(source, OPTIONS) == 4
    has_memory(monkeypatch, None)
    assert Parallel.read("auto").slots(source, OPTIONS) == 8


@pytest.mark.parametrize("target", Device)
def test_one_where_there_is_no_plan(source: BundleSource, target: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    has_memory(monkeypatch, None)
    manifest = dataclasses.replace(source.bundle.manifest, preset="another", target=target)
    unplanned = BundleSource(None, Bundle(source.bundle.folder, manifest))
    assert Parallel.read("auto").slots(unplanned, OPTIONS) == 1
    has_memory(monkeypatch, 0)
    here.check_resident(unplanned.bundle, CONTEXT, 1)  # nothing is known of it that would speak against it


def test_a_cards_bundle_has_as_many_as_its_card_has_room_for(
    source: BundleSource, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one answer where the CPU will run it, however much memory there is."""
    has_memory(monkeypatch, None)
    bundle = Bundle(source.bundle.folder, dataclasses.replace(source.bundle.manifest, target=Device.CUDA))
    model = PlannedModel.bundle("tiny", bundle)
    one, three = (make_plan(model, CONTEXT, answers).device_total for answers in (1, 3))
    two = dataclasses.replace(NEW, free=one), dataclasses.replace(SECOND, free=three)

    def found(device: str, *cards: Card) -> int:
        installed = dataclasses.replace(ONE, found=cards, is_known=bool(cards))
        install([CUDA, CPU], cards=installed)
        monkeypatch.setattr(slots, "read_cards", lambda: installed)
        return Parallel.read("auto").slots(BundleSource(None, bundle), {**OPTIONS, "device": device})

    assert [found(device, *two) for device in ("auto", "cuda", "cuda:1", "cpu", "cuda:7")] == [1, 1, 3, 1, 1]
    full = dataclasses.replace(NEW, free=0)
    assert [found("auto", full, two[1]), found("cuda", full), found("auto", full)] == [3, 1, 1]
    assert found("auto") == 1  # a card that nobody can ask about


def test_a_step_that_is_recorded_is_that_of_one_answer(source: BundleSource, monkeypatch: pytest.MonkeyPatch) -> None:
    has_memory(monkeypatch, None)
    assert Parallel.read("auto").slots(source, {**OPTIONS, "cuda_graph": True}) == 1


def test_a_number_is_taken_at_its_word(source: BundleSource, monkeypatch: pytest.MonkeyPatch) -> None:
    has_memory(monkeypatch, 0)
    assert [Parallel.read(text).slots(source, OPTIONS) for text in ("1", "4", "64")] == [1, 4, 64]
    for text in ("0", "65", "-1", "2.0", "many", "", "9" * 5000):  # of the last one Python makes no number
        with pytest.raises(InputError, match=r"--parallel: .* is out of range; give 1 to 64, or auto"):
            Parallel.read(text).slots(source, OPTIONS)


def old_bundle(folder: Path, length: str | int) -> Any:
    """Whose decoder's lengths have this axis."""
    value = helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, [length])
    graph = helper.make_graph([helper.make_node("Identity", ["seqlens_k"], ["out"])], "decoder", [value],
                              [helper.make_tensor_value_info("out", TensorProto.INT32, [length])])  # fmt: skip
    onnx.save(helper.make_model(graph), folder / "decoder.onnx")
    manifest = SimpleNamespace(name="old", graphs=SimpleNamespace(decode="decoder.onnx"))
    return SimpleNamespace(manifest=manifest, path=lambda name: folder / name)


def test_bundles_made_before_there_were_slots_answer_one_at_a_time(tmp_path: Path) -> None:
    assert slots.has_slots(old_bundle(tmp_path, "batch"))
    bundle = old_bundle(tmp_path, 1)
    assert slots.fitting_slots(bundle, CONTEXT) == 1
    assert Parallel.read("1").slots(BundleSource(None, bundle), OPTIONS) == 1
    with pytest.raises(InputError, match="old was converted for one answer at a time"):
        Parallel.read("2").slots(BundleSource(None, bundle), OPTIONS)


def test_one_slot_is_said_when_it_is_loaded(source: BundleSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Captioner would give each picture that error else, where the decoder is opened behind the tower."""
    monkeypatch.setattr("omnilmm_lite.model.has_slots", lambda bundle: False)
    with pytest.raises(InputError, match="parallel: tiny was converted for one answer at a time"):
        load("tiny", parallel=2)
    load("tiny", threads=1)


def test_a_checkpoint_answers_one_at_a_time() -> None:
    checkpoint: Any = SimpleNamespace(name="nf4")
    assert [Parallel.read(text).slots(checkpoint, OPTIONS) for text in ("auto", "1")] == [1, 1]
    with pytest.raises(InputError, match="nf4 is a checkpoint, which answers one at a time"):
        Parallel.read("2").slots(checkpoint, OPTIONS)


def test_what_is_resident_is_there_at_once(
    source: BundleSource, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parts of OmniLMM-12B by the preset for the CPU, which otherwise are there in turns."""
    config = KNOWN["openbmb/OmniLMM-12B"]
    model = PlannedModel.planned("openbmb/OmniLMM-12B", config, find_preset("cpu"))
    picture, answer = make_plan(model, CONTEXT).phases
    (both,) = make_plan(model.resident(), CONTEXT, 4).phases
    assert (both.vision, both.resampler) == (picture.vision, picture.resampler)
    assert (both.decoder, both.kv_cache) == (answer.decoder, 4 * answer.kv_cache)
    assert both.workspace > answer.workspace
    assert main(["plan", "openbmb/OmniLMM-12B", "--preset", "cpu", "--resident", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["phases"]) == 1


def test_what_is_resident_has_to_fit(
    source: BundleSource, one: int, cache: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has_memory(monkeypatch, one - cache)
    words = ["run", str(CAT), "-p", "What is this?", "--model", "tiny", "--context", str(CONTEXT), "--resident"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "--resident: it takes" in told and "give --no-resident, or a smaller --context" in told
    has_memory(monkeypatch, one + cache)
    assert load("tiny", context=CONTEXT, threads=1, parallel=None).slots == 2
    assert main([*words, "--greedy"]) == 0
    assert capsys.readouterr().out.strip().endswith("This is a cat.")


def test_what_takes_turns_needs_less_than_what_is_resident(
    source: BundleSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = dataclasses.replace(source.bundle.manifest, time_shared=True)
    bundle = Bundle(source.bundle.folder, manifest)
    model = PlannedModel.bundle("tiny", bundle)
    in_turns, resident = (make_plan(each, CONTEXT).needed_most for each in (model, model.resident()))
    assert in_turns < resident
    has_memory(monkeypatch, resident - 1)
    with pytest.raises(InputError, match="--resident: it takes"):
        here.check_resident(bundle, CONTEXT, 1)
    has_memory(monkeypatch, resident)
    here.check_resident(bundle, CONTEXT, 1)
    has_memory(monkeypatch, make_plan(model, CONTEXT, 3).needed_most)
    assert slots.fitting_slots(bundle, CONTEXT) == 3
    assert slots.fitting_slots(bundle, CONTEXT, resident=True) < 3


def test_graphs_are_chosen_where_all_are_resident(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[DecoderSlots] = []
    monkeypatch.setattr(DecoderSlots, "choose_graphs", lambda self: chosen.append(self))
    load("tiny", threads=1, parallel=2)
    assert not chosen
    model = load("tiny", threads=1, parallel=2, resident=True)
    assert chosen == [model.parts.slots]


def test_a_card_has_no_use_for_it(source: BundleSource) -> None:
    config = source.config
    options = LoadOptions.checked(config, None, None, drafts=False, cuda_graph=False)
    card: Any = SimpleNamespace(device=Device.CUDA)
    _check(source.bundle, options, card)
    with pytest.raises(InputError, match="--resident: a card's graphs"):
        _check(source.bundle, dataclasses.replace(options, resident=True), card)
