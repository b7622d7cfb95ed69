"""How fast the device's memory is: a large copy from it to itself, by onnxruntime alone.

    python -m benchmarks.card.copy_bandwidth WORK

prints bytes a second. A process of its own: what it takes of a card, onnxruntime gives back at the end of the process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from benchmarks.card.run import ROOT, Run
from export.graphs.graph import IR_VERSION, OPSET
from omnilmm_lite.bench.series import seconds
from omnilmm_lite.engine.device import choose_device, import_onnxruntime, providers, session_options
from omnilmm_lite.errors import OmniLMMError

MIB = 1 << 20
SIZE, SMALL_SIZE = 512 * MIB, 64 * MIB
COPIES = 4  # a run, so that starting it is a small part
RUNS, WARM_UP = 10, 3


def copy_bandwidth(run: Run) -> float:
    """Bytes a second, read and written. OmniLMMError where it can't be measured."""
    command = [sys.executable, "-m", "benchmarks.card.copy_bandwidth", str(run.work)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise OmniLMMError(f"a copy on the device failed: {last}")
    return float(done.stdout)


def use_device(run: Run) -> None:
    """Loads what the device's sessions need; DeviceError where a card can't be used."""
    if run.on_card:
        choose_device(run.device.value, run.device)


def measure(run: Run) -> float:
    """`copy_bandwidth`, in this process."""
    use_device(run)
    size = SMALL_SIZE if run.small else SIZE
    ort = import_onnxruntime()
    options = session_options(ort, None)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # else copies may be optimized away
    with tempfile.TemporaryDirectory() as folder:
        path = _write_graph(Path(folder) / "copy.onnx")
        session = ort.InferenceSession(str(path), options, providers=providers(run.device), enable_fallback=0)
    source = ort.OrtValue.ortvalue_from_numpy(np.ones(size, np.uint8), run.device.value, 0)
    binding, targets = session.io_binding(), []
    binding.bind_ortvalue_input("x", source)
    for index in range(COPIES):
        targets.append(ort.OrtValue.ortvalue_from_numpy(np.zeros(size, np.uint8), run.device.value, 0))
        binding.bind_ortvalue_output(f"y{index}", targets[-1])
    times = [seconds(lambda: session.run_with_iobinding(binding)) for _ in range(RUNS + WARM_UP)]
    if not all(target.numpy()[-1] == 1 for target in targets):
        raise OmniLMMError("onnxruntime didn't copy what it was to copy")
    return 2 * COPIES * size / statistics.median(times[WARM_UP:])


def _write_graph(path: Path) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["bytes"])
    names = [f"y{index}" for index in range(COPIES)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["bytes"]) for name in names]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    graph = helper.make_graph(nodes, "copy", [x], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    path.write_bytes(model.SerializeToString())
    return path


def main() -> int:
    try:
        print(measure(Run.read(Path(sys.argv[1]))))
    except OmniLMMError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
