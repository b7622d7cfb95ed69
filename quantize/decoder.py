"""The whole decoder through GPTQ, layer by layer, each calibrated on what the quantized layers before it put out.

Only one layer is in memory, in float32, with one Hessian and the sequences' hidden states. Each finished layer is a
file in the work folder; a run that was killed goes on behind the last one and ends with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor, nn

from export.checkpoint import Checkpoint
from export.durable import write_json, write_tensors
from export.json_file import read_json
from export.reference import DecoderLayer, causal_mask, rope_tables
from export.streaming import load_module
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError
from quantize.gptq import proxy_loss, quantize_weight, round_to_nearest
from quantize.gptq_folder import LINEARS, REPORT_FILE, linear_from_tensors, linear_tensors, write
from quantize.hessian import Hessian
from quantize.report import ProjectionReport, parse_projections, report_json
from quantize.samples import Calibration
from quantize.settings import GPTQSettings
from quantize.weight import QuantizedWeight

# Linear layers that share their input are quantized together, in the order in which they run.
STAGES = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
NORMS = ("input_layernorm", "post_attention_layernorm")
PLAIN = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
ARGUMENTS_FILE = "arguments.json"
WORK_FORMAT = 1  # raise it when the same arguments come to give other files

Progress = Callable[[ProjectionReport], None]


def quantize_decoder(
    checkpoint: Checkpoint,
    calibration: Calibration,
    settings: GPTQSettings,
    work_dir: Path,
    progress: Progress | None = None,
) -> Path:
    """Quantizes every linear layer of the decoder but lm_head and returns the GPTQ folder, within `work_dir`.

    `progress` is called after each of the seven projections of every layer, also for those that an earlier run did.
    InputError where `work_dir` holds a run with other arguments, naming them, and where a layer can't be quantized.
    """
    if not calibration.samples:
        raise InputError("there is nothing to calibrate on; give at least one picture or text")
    config = checkpoint.config.decoder
    _check_sizes(config, settings)
    work_dir.mkdir(parents=True, exist_ok=True)
    _check_arguments(work_dir, checkpoint, calibration, settings)
    folder = work_dir / "gptq"
    if folder.is_dir():
        _replay(parse_projections(read_json(folder / REPORT_FILE)), progress)
        return folder
    reports = _quantize_layers(checkpoint, calibration, settings, work_dir, progress)
    plain = work_dir / "plain.safetensors"
    write_tensors(plain, {name: _half(checkpoint, name) for name in PLAIN})
    shards = [plain, *(LayerFiles(work_dir, index).tensors for index in range(config.num_hidden_layers))]
    report = report_json(reports, settings.to_dict())
    write(folder, shards, config, checkpoint.config.tokens, settings, report)
    return folder


@dataclass(frozen=True)
class LayerFiles:
    """Where a finished layer stands. The tensors are written last: if they are there, the layer is finished."""

    work_dir: Path
    index: int

    @property
    def tensors(self) -> Path:
        return self.work_dir / f"layer-{self.index:03}.safetensors"

    @property
    def report(self) -> Path:
        return self.work_dir / f"layer-{self.index:03}.json"


@torch.inference_mode()
def _quantize_layers(
    checkpoint: Checkpoint,
    calibration: Calibration,
    settings: GPTQSettings,
    work_dir: Path,
    progress: Progress | None,
) -> list[ProjectionReport]:
    config = checkpoint.config.decoder
    files = [LayerFiles(work_dir, index) for index in range(config.num_hidden_layers)]
    finished = [file.tensors.is_file() for file in files]
    weights = [torch.where(sample.is_image, settings.image_weight, 1.0) for sample in calibration.samples]
    states = [sample.embeddings for sample in calibration.samples]  # each (1, tokens, hidden)
    reports: list[ProjectionReport] = []
    for index, file in enumerate(files):
        if finished[index]:
            reports += _replay(parse_projections(read_json(file.report)), progress)
            if all(finished[index:]):
                continue  # nobody needs the hidden states any more
        name = f"model.layers.{index}"
        layer = load_module(checkpoint, name, lambda: DecoderLayer(config))
        if finished[index]:
            _load_quantized(layer, name, file)
        else:
            quantized, done = _quantize_layer(layer, name, states, weights, config, settings, progress)
            norms = {f"{name}.{norm}.weight": _half(checkpoint, f"{name}.{norm}.weight") for norm in NORMS}
            linears = [linear_tensors(f"{name}.{part}", weight) for part, weight in quantized.items()]
            write_json(file.report, report_json(done, settings.to_dict()))
            write_tensors(file.tensors, {key: tensor for part in (*linears, norms) for key, tensor in part.items()})
            reports += done
        if index + 1 < len(files):
            states = [_run(layer, state, config) for state in states]
    return reports


def _quantize_layer(
    layer: DecoderLayer,
    name: str,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    config: DecoderConfig,
    settings: GPTQSettings,
    progress: Progress | None,
) -> tuple[dict[str, QuantizedWeight], list[ProjectionReport]]:
    """Quantizes the layer in place; also returns the codes and the reports of its linear layers."""
    quantized: dict[str, QuantizedWeight] = {}
    reports: list[ProjectionReport] = []
    for stage in STAGES:
        hessian = _gather(layer, stage[0], states, weights, config)
        for part in stage:
            linear = _linear(layer, part)
            quantized[part], report = _quantize_linear(linear.weight, hessian, f"{name}.{part}", settings)
            _replace(linear, quantized[part])
            reports += _replay([report], progress)
    return quantized, reports


def _quantize_linear(
    weight: Tensor, hessian: Tensor, name: str, settings: GPTQSettings
) -> tuple[QuantizedWeight, ProjectionReport]:
    start = time.monotonic()
    try:
        quantized = quantize_weight(
            weight,
            hessian,
            bits=settings.bits,
            group_size=settings.group_size,
            sym=settings.sym,
            desc_act=settings.desc_act,
            damp=settings.damp,
            grid=settings.grid,
        )
    except InputError as error:
        raise InputError(f"{name} can't be quantized: {error}") from error
    rounded = round_to_nearest(weight, bits=settings.bits, group_size=settings.group_size, sym=settings.sym)
    loss = proxy_loss(weight, quantized, hessian)
    report = ProjectionReport(
        name=name,
        bits=quantized.bits,
        group_size=quantized.group_size,
        error_to_rounding=_ratio(loss, proxy_loss(weight, rounded, hessian)),
        error_to_output=_ratio(loss, proxy_loss(weight, torch.zeros_like(weight), hessian)),
        seconds=time.monotonic() - start,
    )
    return quantized, report


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


# ---- running a layer ----


class _Captured(Exception):
    """Ends a forward pass as soon as the wanted input is known."""


def _gather(
    layer: DecoderLayer, part: str, states: Sequence[Tensor], weights: Sequence[Tensor], config: DecoderConfig
) -> Tensor:
    """The Hessian of the linear layer `part`: (in, in)."""
    linear = _linear(layer, part)
    hessian = Hessian(linear.in_features)
    captured: list[Tensor] = []

    def capture(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        captured.append(arguments[0][0])  # (tokens, in)
        raise _Captured

    handle = linear.register_forward_pre_hook(capture)
    try:
        for state, weight in zip(states, weights, strict=True):
            with suppress(_Captured):
                _run(layer, state, config)
            hessian.add(captured.pop(), weight)
    finally:
        handle.remove()
    return hessian.mean()


def _run(layer: DecoderLayer, state: Tensor, config: DecoderConfig) -> Tensor:
    """One layer over one sequence: (1, tokens, hidden) -> the same shape."""
    tokens = state.shape[1]
    cos, sin = rope_tables(config, torch.arange(tokens))  # (tokens, head_dim / 2)
    output: Tensor = layer(state, cos, sin, causal_mask(tokens, config.sliding_window))
    return output


def _linear(layer: DecoderLayer, part: str) -> nn.Linear:
    linear = layer.get_submodule(part)
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"{part} is a {type(linear).__name__}")
    return linear


def _replace(linear: nn.Linear, weight: QuantizedWeight) -> None:
    linear.weight = nn.Parameter(torch.from_numpy(weight.dequantize()), requires_grad=False)


def _load_quantized(layer: DecoderLayer, name: str, file: LayerFiles) -> None:
    tensors = load_file(file.tensors)
    for part in LINEARS:
        _replace(_linear(layer, part), linear_from_tensors(f"{name}.{part}", tensors))


# ---- files and arguments ----


def _replay(reports: list[ProjectionReport], progress: Progress | None) -> list[ProjectionReport]:
    for report in reports:
        if progress is not None:
            progress(report)
    return reports


def _half(checkpoint: Checkpoint, name: str) -> NDArray[np.float16]:
    tensor = checkpoint.tensor(name).half()
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{name} holds values that fp16 can't: a GPTQ checkpoint can't be made of it")
    array: NDArray[np.float16] = tensor.numpy()
    return array


def _check_sizes(config: DecoderConfig, settings: GPTQSettings) -> None:
    sizes = {"hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size, "q_dim": config.q_dim}
    for name, size in sizes.items():
        if settings.group_size != -1 and (settings.group_size < 1 or size % settings.group_size):
            raise InputError(
                f"groups of {settings.group_size} don't divide the decoder's {name} of {size}; "
                "choose another group size, or -1 for whole rows"
            )


def _check_arguments(work_dir: Path, checkpoint: Checkpoint, calibration: Calibration, settings: GPTQSettings) -> None:
    """Remembers the arguments at the first run; InputError if a later run brings others."""
    arguments: dict[str, Any] = {
        "work_format": WORK_FORMAT,
        "checkpoint": checkpoint.fingerprint(),
        "calibration": calibration.fingerprint,
        **settings.to_dict(),
    }
    file = work_dir / ARGUMENTS_FILE
    if not file.is_file():
        write_json(file, arguments)
        return
    before = read_json(file)
    changed = [name for name in arguments.keys() | before.keys() if arguments.get(name) != before.get(name)]
    if changed:
        listed = "; ".join(_difference(name, before, arguments) for name in sorted(changed))
        raise InputError(f"{work_dir} holds a run with other arguments ({listed}); use those, or another work folder")


def _difference(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if name in ("checkpoint", "calibration"):
        return f"{name}: other data"  # hashes tell nobody anything
    return f"{name}: {before.get(name)} there, {now.get(name)} here"
