"""The same model by other tools, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.quantization.cpu_time import CpuClock
from benchmarks.quantization.evaluation import Weights, dequantize_folder
from omnilmm_lite.files.durable_file import write_json
from omnilmm_lite.files.json_file import read_json

_STATIC = ["--desc-act", "--static-groups", "--mse", "2.0"]
# gptqmodel with nothing but GPTQ itself, its own defaults, and the best of it that groups in column order allow.
GPTQMODEL_VARIANTS: Mapping[str, Sequence[str]] = {
    "gptqmodel 7.7, GPTQ alone": ["--no-act-group-aware"],
    "gptqmodel 7.7, its defaults": [],
    "gptqmodel 7.7, act-order in static groups, mse grids": _STATIC,
    "gptqmodel 7.7, the same with FOEM": [*_STATIC, "--foem", "0.25", "0.2"],
    "gptqmodel 7.7, the same with GPTAQ": [*_STATIC, "--gptaq", "0.25"],
}
LLAMACPP_VARIANTS: Mapping[str, str] = {
    "llama.cpp's Q4_0, no importance matrix": "Q4_0",
    "llama.cpp's Q4_K_M, no importance matrix": "Q4_K_M",
}


def by_gptqmodel(
    python: Path, model: Path, calibration: Path, options: Sequence[str], folder: Path, clock: CpuClock
) -> Weights:
    """`model`: a Hugging Face folder; `calibration`: token ids. `folder` is made, unless an earlier run has."""
    if not (folder / "config.json").is_file():
        arguments: list[str | Path] = ["--model", model, "--calibration", calibration, "--out", folder, *options]
        _run(python, "peer_gptqmodel.py", arguments)
        clock.keep()
    return dequantize_folder(folder)


def by_llamacpp(python: Path, gguf: Path, type_name: str, folder: Path, clock: CpuClock) -> Weights:
    """`folder` is made, unless an earlier run has."""
    report = folder / "report.json"
    if not report.is_file():
        write_json(report, _run(python, "peer_llamacpp.py", ["--gguf", gguf, "--type", type_name, "--out", folder]))
        clock.keep()
    return load_file(folder / "model.safetensors"), float(read_json(report)["bits_per_weight"])


def _run(python: Path, script: str, arguments: Sequence[str | Path]) -> dict[str, object]:
    """What the script says in its last line."""
    command = [python, Path(__file__).with_name(script), *arguments]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    said: dict[str, object] = json.loads(lines[-1])
    return said
