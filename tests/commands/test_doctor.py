"""`doctor` against machines that are whole and machines that aren't."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import pytest

import cli
from omnilmm_lite import doctor
from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.doctor import Provider, diagnose
from omnilmm_lite.proof import Family, Operator, OperatorProof
from tests.systems import not_on_windows


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


def test_card_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(device: Device) -> Provider:
        return Provider(device.value, device is Device.CPU, "libcudnn.so.9 is missing")

    monkeypatch.setattr(doctor, "_gpus", lambda: ("NVIDIA Card, 1.2, 24564 MiB",))
    monkeypatch.setattr(doctor, "_try_device", tried)
    assert diagnose().problems == ("there is an NVIDIA card, but it can't be used: libcudnn.so.9 is missing",)


def test_library_that_the_loader_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    def loading(path: str) -> None:
        raise OSError("libcudart.so.13: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("ctypes.CDLL", loading)
    assert doctor._missing_library(Path("capi")) == "libcudart.so.13"


@not_on_windows
def test_driver_tool_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    tool.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    tool.chmod(0o755)
    assert doctor._gpus() == ()
    tool.write_text("#!/bin/sh\necho 'NVIDIA Card, 1.2, 24564 MiB'\n")
    assert doctor._gpus() == ("NVIDIA Card, 1.2, 24564 MiB",)
