"""`doctor` against machines that are whole and machines that aren't."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cli
from omnilmm_lite import doctor
from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.commands.doctor import driver
from omnilmm_lite.doctor import Driver, diagnose
from omnilmm_lite.engine.device import DeviceChoice, DeviceError
from omnilmm_lite.engine.placement import DeviceId, Placement
from omnilmm_lite.errors import InputError
from omnilmm_lite.home.model_record import ModelKind, ModelRecord
from omnilmm_lite.home.models import ModelStore
from omnilmm_lite.proof import Family, Operator, OperatorProof
from tests.machine.fake_nvml import FakeCard, FakeNvml


def test_whole_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert found["auto"] == "cpu"
    assert found["providers"][0] == {"device": "cpu", "works": True, "detail": "a graph was opened on it"}
    assert {proof["operator"] for proof in found["arithmetic"]["proofs"]} == {operator.value for operator in Operator}
    assert found["arithmetic"]["speed"]["int8_gops"] > 0


def test_what_is_computed_right_has_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    rows = {line[:16].rstrip(): line[17:] for line in capsys.readouterr().out.splitlines()}
    assert rows["int8 products"] == "exact"
    assert all(rows[family.value].startswith(("exact", "within tolerance")) for family in Family)
    assert rows["int8 sums"].startswith(("saturate at 16 bits", "in 32 bits"))
    assert "times as fast as fp32" in rows["int8 speed"]


def test_wrong_operators_are_problems(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = OperatorProof(Operator.INT8_PRODUCT, "whole numbers", 3.0, 0.0, "0: why", 12.0, 15.0)
    lacking = OperatorProof(Operator.GELU, "any", math.inf, 0.0, "why", math.nan, math.nan, "no kernel")
    monkeypatch.setattr(doctor, "prove_operators", lambda: (wrong, lacking))
    assert doctor.diagnose().problems[1].endswith("that bundles need: BiasGelu doesn't run: no kernel")
    assert cli.main(["doctor"]) == 1
    output = capsys.readouterr()
    assert "int8 products    WRONG: MatMulIntegerToFloat (whole numbers): found 12, expected 15" in output.out
    assert "activations      WRONG: BiasGelu doesn't run: no kernel" in output.out
    assert "int8 speed" not in output.out
    assert "problems found: 2; the first: this processor with onnxruntime" in output.err
    assert cli.main(["doctor", "--json"]) == 1
    proofs = json.loads(capsys.readouterr().out)["arithmetic"]["proofs"]
    assert [proof["found"] for proof in proofs] == [12.0, None]


def test_processor_without_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "unsupported_reason", lambda: "s390x keeps numbers in big-endian order")
    assert diagnose().problems == ("s390x keeps numbers in big-endian order",)


def test_damaged_bundle_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(BUILTIN / "tiny", bundle)
    graph = bundle / "resampler.onnx.data"
    data = bytearray(graph.read_bytes())
    data[0] ^= 1
    graph.write_bytes(data)
    assert cli.main(["doctor", "--model", str(bundle)]) == 1
    output = capsys.readouterr()
    assert "problem" in output.out
    assert "resampler.onnx.data" in output.err


def test_no_engine_is_a_finding_and_no_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert cli.main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["versions"]["onnxruntime"] == "none that works"
    assert [provider["works"] for provider in found["providers"]] == [False, False]
    assert found["arithmetic"] is None
    assert "onnxruntime is not installed" in found["problems"][0]


def test_both_engines_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.32.0")
    assert "overwrite each other" in diagnose().problems[0]


# ---- what mends it ----


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look at what the processor computes, which takes a second."""
    monkeypatch.setattr(doctor, "_prove", lambda machine: None)


def fixes(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """What --fix prints, without the comments."""
    assert cli.main(["doctor", "--fix", *options]) == 1
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("# ")]


def pip(*words: str) -> list[str]:
    return [sys.executable, "-m", "pip", *words]


@pytest.mark.usefixtures("unproven")
def test_where_nothing_is_wrong_nothing_is_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--fix"]) == 0
    assert capsys.readouterr().out == "# nothing is wrong here\n"


@pytest.mark.usefixtures("unproven")
def test_two_engines_are_replaced_by_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.32.0")
    uninstall, install = fixes(capsys)
    assert shlex.split(uninstall) == pip("uninstall", "-y", "onnxruntime", "onnxruntime-gpu")
    assert shlex.split(install)[:4] == pip("install")
    assert install.rstrip("'").endswith("[cpu]")


@pytest.mark.usefixtures("unproven")
def test_no_engine_is_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    install, *_ = fixes(capsys)
    assert install.rstrip("'").endswith("[cpu]")


@pytest.mark.usefixtures("unproven")
def test_a_card_without_its_engine_gets_it(
    cards: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cards(FakeNvml([NEW]), "this onnxruntime is built without CUDA")
    assert [command.split()[3] for command in fixes(capsys)] == ["uninstall", "install"]
    monkeypatch.setattr(doctor, "_version", lambda name: "1.31.0" if name == "onnxruntime-gpu" else None)
    cards(FakeNvml([NEW]), "onnxruntime-gpu 1.31.0 needs libcudnn.so.9: install omnilmm-lite[gpu]")
    (install,) = fixes(capsys)
    assert install.rstrip("'").endswith("[gpu]")
    cards(FakeNvml([NEW]), "the driver 470 is too old: install driver 580 or newer")
    assert fixes(capsys) == []  # which is no package


@pytest.mark.usefixtures("unproven")
def test_a_damaged_model_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMNILMM_HOME", str(tmp_path))
    store = ModelStore.here()
    for name, record in (
        ("mine", ModelRecord(ModelKind.BUNDLE, source="openbmb/OmniLMM-12B")),
        ("theirs", ModelRecord(ModelKind.BUNDLE, origin="someone/bundle")),
    ):
        (store.folder(name)).mkdir(parents=True)
        store.add(name, record)
    assert fixes(capsys, "--model", "mine") == [
        "omnilmm-lite models remove mine", "omnilmm-lite setup openbmb/OmniLMM-12B"
    ]  # fmt: skip
    assert fixes(capsys, "--model", "theirs") == [
        "omnilmm-lite models remove theirs",
        "omnilmm-lite pull someone/bundle",
    ]
    (tmp_path / "elsewhere").mkdir()
    assert fixes(capsys, "--model", str(tmp_path / "elsewhere")) == []


@pytest.mark.usefixtures("unproven")
def test_a_damaged_built_in_model_is_installed_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verify(bundle: Bundle) -> None:
        raise InputError("tiny: the file is damaged")

    monkeypatch.setattr(Bundle, "verify", verify)
    (install,) = fixes(capsys)
    assert shlex.split(install)[:6] == pip("install", "--force-reinstall", "--no-deps")


@pytest.mark.usefixtures("unproven")
def test_nothing_is_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.32.0")
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("os.system", None)
    assert len(fixes(capsys)) == 2


# ---- cards ----

NEW = FakeCard(computing=[(7, 3 << 30)])
OLD = FakeCard("NVIDIA GeForce GTX 1080", 8 << 30, 0, (6, 1), "GPU-b")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Puts a made-up driver and onnxruntime in place; on which devices a graph was tried."""

    def put(nvml: FakeNvml, missing: str = "", fails: str = "") -> list[str]:
        tried: list[str] = []

        def open_graph(where: DeviceId) -> None:
            tried.append(str(where))
            if fails and where.device is Device.CUDA:
                raise DeviceError(fails)

        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(doctor, "missing_cuda", lambda cards: cards.reason or missing)
        monkeypatch.setattr(doctor, "_open_graph", open_graph)
        return tried

    return put


def row(out: str, name: str) -> str:
    return next(line[17:] for line in out.splitlines() if line[:16].rstrip() == name)


def test_cards_have_a_row_each(cards: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    tried = cards(FakeNvml([OLD, NEW], names={7: "/usr/bin/python3"}))
    assert cli.main(["doctor"]) == 0  # an old card beside one that works is no problem
    out = capsys.readouterr().out
    assert tried == ["cuda:1", "cpu"]
    assert row(out, "NVIDIA driver") == "580.65.06, for CUDA 13.0 at most"
    assert row(out, "cuda:0").startswith(
        "NVIDIA GeForce GTX 1080, compute capability 6.1, 8.0 of 8.0 GiB free; no: cuda:0 (NVIDIA GeForce GTX 1080) has"
    )
    assert row(out, "cuda:1") == (
        "NVIDIA GeForce RTX 4090, compute capability 8.9, 23.0 of 24.0 GiB free, used by python3 (process 7); works: a "
        "graph was opened on it"
    )
    assert row(out, "cuda") == "works: a graph was opened on it"
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["driver"] == {"version": "580.65.06", "cuda": "13.0", "is_wsl": False, "reason": ""}
    assert [each["works"] for each in found["cards"]] == [False, True]
    assert found["cards"][1]["card"] == {
        "index": 1, "name": "NVIDIA GeForce RTX 4090", "total": 24 << 30, "free": 23 << 30, "capability": [8, 9],
        "processes": [{"pid": 7, "name": "python3", "used": 3 << 30}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("missing", "fails"), [("libcudnn.so.9 is missing", ""), ("", "resampler.onnx can't run on cuda:0: CUDA error 2")]
)
def test_card_that_cannot_be_used(cards: Callable[..., list[str]], missing: str, fails: str) -> None:
    cards(FakeNvml([NEW]), missing, fails)
    found = diagnose()
    assert found.problems == (f"there is an NVIDIA card, but it can't be used: {missing or fails}",)
    assert [(each.works, each.detail) for each in found.cards] == [(False, missing or fails)]


def test_no_card_is_no_problem(cards: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    cards(FakeNvml(fails=12))
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert row(out, "NVIDIA driver").startswith("no NVIDIA driver was found: if there is a card, install")
    assert row(out, "cuda").startswith("no: no NVIDIA driver was found")


def test_auto_takes_no_card_that_no_graph_could_be_opened_on(
    cards: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def card_one(wanted: str, target: Device, room: object) -> DeviceChoice:
        return DeviceChoice(Placement.on(DeviceId(Device.CUDA, 1)), "it is there")

    monkeypatch.setattr(doctor, "choose_device", card_one)
    cards(FakeNvml([OLD, NEW]), fails="the card's memory is full")
    found = diagnose()
    assert (found.auto, found.auto_reason) == ("cpu", "the bundle is built for CUDA, but the card's memory is full")
    cards(FakeNvml([OLD, NEW]))
    found = diagnose()
    assert (found.auto, found.auto_reason) == ("cuda:1", "it is there")


def test_wsl_is_said() -> None:
    assert driver(Driver("580.1", "13.0", True, "")) == (
        "580.1, for CUDA 13.0 at most; this is WSL, where the driver is Windows' own"
    )
    assert driver(
        Driver(
            None,
            None,
            True,
            "no NVIDIA driver was found: if there is a card, install its driver in Windows, not in WSL",
        )
    ).endswith("in Windows, not in WSL; this is WSL, where the driver is Windows' own")
