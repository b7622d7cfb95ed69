"""`doctor` against machines that are whole and machines that aren't."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

import cli
from omnilmm_lite import doctor
from omnilmm_lite.bundle import BUILTIN
from omnilmm_lite.device import Device
from omnilmm_lite.doctor import Provider, diagnose


def test_whole_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert found["auto"] == "cpu"
    assert found["providers"][0] == {"device": "cpu", "works": True, "detail": "a graph was opened on it"}


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


def test_driver_tool_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    tool.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    tool.chmod(0o755)
    assert doctor._gpus() == ()
    tool.write_text("#!/bin/sh\necho 'NVIDIA Card, 1.2, 24564 MiB'\n")
    assert doctor._gpus() == ("NVIDIA Card, 1.2, 24564 MiB",)
