"""A container's limits where they count: doctor, plan, loading, conversion."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import cli
from omnilmm_lite import model
from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import BUILTIN_NAME, Bundle
from omnilmm_lite.bundle.manifest import FileEntry, Graphs
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.commands.doctor import cores, memory
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.engine.device import DeviceChoice
from omnilmm_lite.engine.placement import Placement
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine import threads
from omnilmm_lite.machine.cores import Cores
from omnilmm_lite.machine.description import Machine
from omnilmm_lite.machine.memory import Limit
from omnilmm_lite.model import load
from omnilmm_lite.plan import here
from omnilmm_lite.plan.here import check_limit, describe_here, judge_here, resident_weights
from omnilmm_lite.plan.memory import Plan, make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from quantize.memory import check_memory, least_bytes
from tests.paths import ROOT

GIB = 1 << 30
FILE = Path("/sys/fs/cgroup/memory.max")
TINY = BUILTIN / BUILTIN_NAME

PLAIN = Machine(
    cpu="Processor",
    flags=(),
    physical_cores=2,
    logical_cores=2,
    usable_physical_cores=2,
    worthwhile_cores=2,
    cpu_quota=None,
    threads=2,
    memory_bytes=int(23.54 * GIB),
    memory_limit_bytes=None,
    memory_limit_file=None,
    system="Linux",
    versions={},
)


def planned(preset: str) -> Plan:
    return make_plan(PlannedModel.planned("openbmb/OmniLMM-12B", OmniLMMConfig(), PRESETS[preset]), 4096)


# ---- doctor ----


def test_doctor_says_what_of_the_machine_may_be_used() -> None:
    assert (cores(PLAIN), memory(PLAIN)) == ("2 physical, 2 usable: 2 threads", "23.5 GiB")
    limited = dataclasses.replace(PLAIN, cpu_quota=0.5, threads=1, memory_limit_bytes=900 << 20)
    assert cores(limited) == "2 physical, 2 usable, 0.5 by the container's quota: 1 thread"
    assert memory(limited) == "0.9 GiB by the container's limit, of 23.5 GiB"


def test_doctor_on_other_processors() -> None:
    hybrid = dataclasses.replace(
        PLAIN, physical_cores=16, logical_cores=24, usable_physical_cores=16, worthwhile_cores=8, threads=8
    )
    assert cores(hybrid) == "16 physical, 24 usable, 8 cores worth a thread: 8 threads"
    silent = dataclasses.replace(
        PLAIN, physical_cores=None, usable_physical_cores=None, worthwhile_cores=None, threads=None, memory_bytes=None
    )
    assert cores(silent) == "unknown physical, 2 usable: onnxruntime chooses the threads"
    assert memory(silent) == "unknown"


# ---- plan ----


def test_a_plan_is_held_against_this_machine() -> None:
    """`cpu` takes 11.94 GiB, see the README's table; 2 GiB of a machine are the system's, nothing of a limit is."""
    plan = planned("cpu")
    fits = judge_here(plan, 16 * GIB, None)
    assert fits is not None
    assert describe_here(fits, None) == "this machine's RAM, 16.0 GiB: fits with 2.1 GiB to spare"
    limit = Limit(12 * GIB, FILE)
    tight = judge_here(plan, 64 * GIB, limit)
    assert tight is not None and tight.fits
    assert describe_here(tight, limit).startswith(
        "this machine's RAM, 12.0 GiB (container's limit): fits with 0.1 GiB to spare"
    )
    limit = Limit(900 << 20, FILE)
    small = judge_here(plan, 64 * GIB, limit)
    assert small is not None
    assert small.text == "doesn't fit: 11.1 GiB too much; no preset fits in 0.9 GB of RAM"
    assert judge_here(plan, None, None) is None


def test_a_cards_plan_asks_little_of_the_machine() -> None:
    """1.14 GiB of host RAM for any of them, see the README's table."""
    for machine, fits in ((4 * GIB, True), (3 * GIB, False)):
        verdict = judge_here(planned("24gb"), machine, None)
        assert verdict is not None
        assert verdict.fits is fits
        assert verdict.advice == ""


def test_plan_prints_the_limit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("omnilmm_lite.machine.memory.machine_bytes", lambda root=None: 64 * GIB)
    monkeypatch.setattr("omnilmm_lite.machine.memory.memory_limit", lambda root=None: Limit(14 * GIB, FILE))
    assert cli.main(["plan", "openbmb/OmniLMM-12B", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine_bytes"] == 14 * GIB
    assert cli.main(["plan", "openbmb/OmniLMM-12B"]) == 0
    assert "this machine's RAM, 14.0 GiB (container's limit): fits with 2.1 GiB" in capsys.readouterr().out


# ---- loading ----


@pytest.fixture
def warned_anew() -> Iterator[None]:
    here._warn_once.cache_clear()
    yield
    here._warn_once.cache_clear()


def limit_to(monkeypatch: pytest.MonkeyPatch, size: int | None, fatal: int | None) -> None:
    monkeypatch.setattr(here, "memory_limit", lambda: None if size is None else Limit(size, FILE))
    monkeypatch.setattr(here, "fatal_limit", lambda: None if fatal is None else Limit(fatal, FILE))


def test_the_decoders_weights_have_to_be_there() -> None:
    """Those of the prompts' graph only where they aren't mapped; a graph that serves both counts once."""
    sizes = {"vision.onnx.data": 1, "decoder.onnx": 2, "decoder.onnx.data": 4, "prefill.onnx.data": 8}
    files = tuple(FileEntry(name, size, "") for name, size in sizes.items())
    for prefill, mapped, expected in (
        ("decoder.onnx", (), 4),
        ("prefill.onnx", (), 12),
        ("prefill.onnx", ("vision.onnx", "prefill.onnx"), 4),
    ):
        manifest = dataclasses.replace(
            Bundle.open(TINY).manifest, files=files, graphs=Graphs(prefill=prefill), mapped=mapped
        )
        assert resident_weights(Bundle(TINY, manifest)) == expected


def test_a_limit_below_the_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = resident_weights(Bundle.open(TINY))
    limit_to(monkeypatch, weights - 1, weights - 1)
    with pytest.raises(OmniLMMError, match=r"GiB \(/sys/fs/cgroup/memory\.max\): raise that limit") as caught:
        load(device="cpu", threads=1)
    assert not isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)
    limit_to(monkeypatch, weights - 1, weights)
    assert load(device="cpu", threads=1).load_s > 0


@pytest.mark.usefixtures("warned_anew")
def test_a_limit_below_the_plan_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    bundle = Bundle.open(TINY)
    needed = make_plan(PlannedModel.bundle("tiny", bundle), 2048).needed
    for limit, count in ((None, 0), (needed, 0), (needed - 1, 1), (needed - 1, 1)):
        limit_to(monkeypatch, limit, limit)
        check_limit(bundle, 2048)
        assert len(caplog.records) == count
    assert caplog.records[0].levelno == logging.WARNING
    assert "(/sys/fs/cgroup/memory.max)" in caplog.records[0].getMessage()


def test_a_card_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(monkeypatch, 1, 1)
    options = model.LoadOptions(512, None, False, True)
    model._check(Bundle.open(TINY), options, DeviceChoice(Placement.on(Device.CUDA), "asked for"))


# ---- conversion ----


def test_what_quantizing_takes_at_least() -> None:
    """OmniLMM-12B, by hand: a layer's matrices and two norms twice in fp32, and two Hessians of `down`."""
    layer = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096 + 2 * 4096
    assert least_bytes(OmniLMMConfig().decoder) == 4 * (2 * layer + 2 * 14336 * 14336)


def test_conversion_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = ROOT / "examples/tiny/checkpoint"
    monkeypatch.setattr("quantize.memory.fatal_limit", lambda: Limit(1 << 20, FILE))
    assert cli.main(["convert", str(checkpoint), str(tmp_path / "bundle")]) == 1
    assert "1.0 MB (/sys/fs/cgroup/memory.max): raise that limit" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_finished_decoder_needs_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is quantized then; a run that was killed has the layers it finished, and no such folder."""
    monkeypatch.setattr("quantize.memory.fatal_limit", lambda: Limit(1 << 20, FILE))
    config = Bundle.open(TINY).manifest.config.decoder
    (tmp_path / "layer-000.safetensors").touch()
    with pytest.raises(OmniLMMError, match="raise that limit"):
        check_memory(config, tmp_path)
    (tmp_path / "gptq").mkdir()
    check_memory(config, tmp_path)


# ---- threads ----


@pytest.mark.parametrize(
    ("cores", "quota", "expected"),
    [
        (Cores(2, 2, 2, 2), None, None),
        (Cores(2, 2, 2, 2), 0.5, 1),
        (Cores(2, 2, 2, 2), 2.0, None),
        (Cores(8, 8, 4, 4), None, 4),  # kept to half of them
        (Cores(12, 16, 12, 4), None, 4),
        (Cores(None, 4, None, None), None, None),
        (Cores(None, 4, None, None), 2.0, 2),
    ],
)
def test_onnxruntime_is_told_what_it_would_not_choose(
    monkeypatch: pytest.MonkeyPatch, cores: Cores, quota: float | None, expected: int | None
) -> None:
    monkeypatch.setattr(threads, "read_cores", lambda: cores)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert threads.limited_threads.__wrapped__() == expected


def test_the_cores_are_read_once_however_many_sessions_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Cores] = []

    def read() -> Cores:
        reads.append(Cores(2, 2, 2, 2))
        return reads[-1]

    monkeypatch.setattr(threads, "read_cores", read)
    monkeypatch.setattr(threads, "cpu_quota", lambda: 0.5)
    threads.limited_threads.cache_clear()
    try:
        assert [threads.limited_threads() for _ in range(3)] == [1, 1, 1]
        assert len(reads) == 1
    finally:
        threads.limited_threads.cache_clear()


def test_torch_keeps_to_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from export.torch_setup import limit_torch_threads

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        for default, expected in ((None, 4), (8, 4), (1, 1)):
            monkeypatch.setattr(threads, "default_threads", lambda default=default: default)
            limit_torch_threads()
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
