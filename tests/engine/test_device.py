"""Device choice against stand-ins for onnxruntime: no machine here has a card, and each failure of one must be said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine import device
from omnilmm_lite.engine.device import (
    DeviceError,
    choose_device,
    graph_errors,
    import_onnxruntime,
    open_session,
    run_graph,
)
from omnilmm_lite.engine.placement import DeviceId
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.card import ORDER
from tests.engine.fake_onnxruntime import CPU, CUDA
from tests.engine.fake_onnxruntime import install as install
from tests.paths import ROOT

# ---- the choice ----


def test_auto_follows_a_cpu_bundle_even_where_cuda_is_there(install: Any) -> None:
    install([CUDA, CPU])
    choice = choose_device("auto", Device.CPU)
    assert (choice.device, choice.is_fallback) == (Device.CPU, False)


def test_auto_takes_cuda_for_a_cuda_bundle_and_preloads_its_libraries(install: Any) -> None:
    ort = install([CUDA, CPU])
    choice = choose_device("auto", Device.CUDA)
    assert (choice.device, choice.is_fallback) == (Device.CUDA, False)
    assert "preload_dlls" in ort.calls


def test_auto_without_cuda_falls_back_and_says_why(install: Any) -> None:
    install([CPU])
    choice = choose_device("auto", Device.CUDA)
    assert (choice.device, choice.is_fallback) == (Device.CPU, True)
    assert "9.9.9" in choice.reason
    assert "omnilmm-lite[gpu]" in choice.reason


def test_cuda_that_is_not_built_in_is_refused(install: Any) -> None:
    install([CPU])
    with pytest.raises(DeviceError, match=r"CUDA was asked for, but .*omnilmm-lite\[gpu\]"):
        choose_device("cuda", Device.CUDA)


def test_what_is_asked_for_wins_over_the_bundle(install: Any) -> None:
    install([CUDA, CPU])
    assert choose_device("cpu", Device.CUDA).device is Device.CPU
    assert choose_device("cuda", Device.CUDA).device is Device.CUDA


def test_a_bundle_for_the_cpu_does_not_go_onto_a_card(install: Any) -> None:
    """docs/gpu-kernels.md: CUDA has no fp32 GroupQueryAttention and no MatMulIntegerToFloat; the CPU has both."""
    install([CUDA, CPU])
    with pytest.raises(InputError, match="built for the CPU"):
        choose_device("cuda", Device.CPU)


@pytest.mark.parametrize("wanted", ["gpu", "CPU", "", "cuda:", "cuda:x", "cuda:-1", "cuda,cpu", "cuda,", "0", "cuda:²"])
def test_unknown_devices_are_refused_with_the_choices(install: Any, wanted: str) -> None:
    install([CPU])
    with pytest.raises(InputError, match="choose auto, cpu or cuda"):
        choose_device(wanted, Device.CPU)


def look_only_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For onnxruntime; what is loaded already comes back at the end."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    del sys.modules["onnxruntime"]
    monkeypatch.setattr(sys, "path", [str(folder)])


def test_what_another_builds_uninstall_left_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()  # a folder without a module imports all the same
    look_only_in(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"installed but damaged \(parts of it are missing\): uninstall"):
        import_onnxruntime()


def test_an_onnxruntime_that_fails_to_load_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    look_only_in(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"installed but damaged \(libgomp"):
        import_onnxruntime()


def test_a_missing_onnxruntime_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install '.*\[cpu\]', with gpu in place of cpu for an NVIDIA card"):
        choose_device("auto", Device.CUDA)


def test_what_onnxruntime_prints_about_missing_libraries_is_said_by_us(
    install: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    install([CUDA, CPU])
    choose_device("cuda", Device.CUDA)
    assert capsys.readouterr() == ("", "")


def test_cards_are_counted_as_the_driver_does(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA itself would put the fastest first, and a number mean another card than in `doctor`."""
    install([CUDA, CPU])
    for before, after in ((None, "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")):
        if before is None:
            monkeypatch.delenv(ORDER, raising=False)
        else:
            monkeypatch.setenv(ORDER, before)
        choose_device("cuda", Device.CUDA)
        assert os.environ[ORDER] == after


# ---- sessions ----


def test_a_cpu_session_gets_the_cpu_alone(install: Any) -> None:
    ort = install([CUDA, CPU])
    open_session(Path("a.onnx"), Device.CPU, threads=3)
    assert ort.arguments["providers"] == [CPU]
    assert ort.arguments["options"].intra_op_num_threads == 3
    # an entry that changes the thread's float mode for the whole program must not come back
    assert ort.arguments["options"].entries == {}


@pytest.mark.parametrize(("limited", "asked"), [(None, 0), (3, 3)])
def test_threads_are_onnxruntimes_choice_where_nothing_limits_them(
    install: Any, monkeypatch: pytest.MonkeyPatch, limited: int | None, asked: int
) -> None:
    monkeypatch.setattr(device, "limited_threads", lambda: limited)
    ort = install([CPU])
    open_session(Path("a.onnx"), Device.CPU)
    assert ort.arguments["options"].intra_op_num_threads == asked


def test_a_cuda_session_bounds_its_arena_and_never_falls_back(install: Any) -> None:
    ort = install([CUDA, CPU], used=[CUDA, CPU])
    session: Any = open_session(Path("a.onnx"), Device.CUDA)
    (name, options), second = ort.arguments["providers"]
    assert (name, second) == (CUDA, CPU)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert (options["cudnn_conv_algo_search"], options["cudnn_conv_use_max_workspace"]) == ("HEURISTIC", "0")
    assert "enable_cuda_graph" not in options
    assert options["device_id"] == "0"
    assert ort.arguments["enable_fallback"] == 0
    assert session.fallback is False


def test_a_cuda_graph_is_recorded_only_where_it_is_asked_for(install: Any) -> None:
    ort = install([CUDA, CPU], used=[CUDA, CPU])
    open_session(Path("a.onnx"), Device.CUDA, cuda_graph=True)
    (_, options), _ = ort.arguments["providers"]
    assert options["enable_cuda_graph"] == "1"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    ort = install([CUDA, CPU])
    open_session(Path("a.onnx"), Device.CPU, cuda_graph=True)
    assert ort.arguments["providers"] == [CPU]


def test_weights_are_mapped_on_the_cpu_alone(install: Any) -> None:
    ort = install([CUDA, CPU])
    open_session(Path("a.onnx"), Device.CPU, mapped=True)
    assert ort.arguments["options"].entries == {"session.disable_prepacking": "1"}
    ort = install([CUDA, CPU], used=[CUDA, CPU])
    open_session(Path("a.onnx"), Device.CUDA, mapped=True)
    assert ort.arguments["options"].entries == {}


def test_a_session_goes_onto_the_card_of_its_number(install: Any) -> None:
    ort = install([CUDA, CPU], used=[CUDA, CPU])
    open_session(Path("a.onnx"), DeviceId(Device.CUDA, 3))
    (_, options), _ = ort.arguments["providers"]
    assert options["device_id"] == "3"


def test_onnxruntime_is_silent_while_it_tries_a_card(install: Any) -> None:
    """Its default logger says in red what we say in one line; whatever happens, it speaks again afterwards."""
    ort = install([CUDA, CPU], error=RuntimeError("CUDA failure 35: driver too old"))
    with pytest.raises(DeviceError):
        open_session(Path("a.onnx"), Device.CUDA)
    assert ort.calls[-3:] == ["severity 4", "InferenceSession", "severity 2"]
    ort = install([CUDA, CPU])
    open_session(Path("a.onnx"), Device.CPU)
    assert ort.calls[-1] == "InferenceSession"
    assert "severity 4" not in ort.calls


def test_onnxruntime_says_nothing_beside_our_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It logs in red what it raises, unless it is told not to: of a graph that can't be loaded, and one that fails."""
    inputs = [
        helper.make_tensor_value_info("table", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("place", TensorProto.INT64, [1]),
    ]
    outputs = [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1])]
    graph = helper.make_graph([helper.make_node("Gather", ["table", "place"], ["found"])], "g", inputs, outputs)
    path = tmp_path / "gather.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    session = open_session(path, Device.CPU)
    binding = session.io_binding()
    binding.bind_cpu_input("table", np.zeros(3, np.float32))
    binding.bind_cpu_input("place", np.asarray([9]))
    binding.bind_output("found")
    with pytest.raises(OmniLMMError, match=r"^gather: onnxruntime failed while running it: .* out of data bounds"):
        run_graph(session, binding, "gather")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(OmniLMMError, match="onnxruntime can't load this graph"):
        open_session(path, Device.CPU)
    assert capfd.readouterr() == ("", "")


def test_a_session_that_silently_runs_on_the_cpu_is_refused(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install([CUDA, CPU], used=[CPU])
    with pytest.raises(DeviceError, match=r"decoder\.onnx was to run on cuda:0.*9\.9\.9 chose CPUExecutionProvider"):
        open_session(Path("/bundle/decoder.onnx"), Device.CUDA)

    def load(path: str) -> None:
        raise OSError("libfoo.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("ctypes.CDLL", load)  # by then it may be asked what it is linked against
    with pytest.raises(DeviceError, match=r"libfoo\.so\.1 is missing or has the wrong version: install"):
        open_session(Path("/bundle/decoder.onnx"), Device.CUDA)


def test_a_broken_graph_on_the_cpu_is_no_device_error(install: Any) -> None:
    install([CPU], error=ValueError(""))
    with pytest.raises(OmniLMMError, match=r"a\.onnx: onnxruntime can't load this graph: ValueError") as caught:
        open_session(Path("a.onnx"), Device.CPU)
    assert not isinstance(caught.value, DeviceError)


def test_errors_while_a_graph_runs_become_one_line_and_interrupts_pass() -> None:
    with (
        pytest.raises(OmniLMMError, match=r"^decoder: onnxruntime failed while running it: first$"),
        graph_errors("decoder"),
    ):
        raise RuntimeError("first\nsecond")
    with pytest.raises(KeyboardInterrupt), graph_errors("decoder"):
        raise KeyboardInterrupt


# ---- the real module, in a process of its own ----

IMPORTS = """
import socket, sys
class NoNetwork(socket.socket):
    def connect(self, address):
        raise SystemExit(f"connects to {address}")
    connect_ex = sendto = connect
socket.socket = NoNetwork
def refuse(*arguments, **options):
    raise SystemExit(f"looks up {arguments}")
socket.getaddrinfo = socket.create_connection = refuse

import omnilmm_lite
assert "onnxruntime" not in sys.modules, "importing the package starts the engine"
from PIL import Image
chat = omnilmm_lite.load(sys.argv[1]).chat(Image.new("RGB", (8, 8)))
chat.ask("What is this?", max_new_tokens=2)
forbidden = {"torch", "onnx", "transformers", "sentencepiece", "safetensors", "export", "quantize"}
print(sorted(forbidden & sys.modules.keys()))
"""


def test_the_runtime_imports_no_torch_and_touches_no_network(tiny_bundle: Path) -> None:
    result = run_python(IMPORTS, str(tiny_bundle))
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


TELEMETRY = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
from omnilmm_lite.engine.device import import_onnxruntime
import_onnxruntime()
"""


def test_telemetry_is_off_before_onnxruntime_loads() -> None:
    assert run_python(TELEMETRY).stdout.split() == ["1"]


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
