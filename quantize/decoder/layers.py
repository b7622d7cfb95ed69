"""The whole decoder through GPTQ, layer by layer, each calibrated on what the quantized layers before it put out.

The original decoder runs beside it: each layer is made to come close to what the original puts out, so that it also
makes up for the layers before it. Only one layer of both is in memory, in float32, with one Hessian and one sequence.
Each finished layer is a file in the work folder, and so are the sequences as they enter the next one; a run that was
killed goes on there and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor, nn

from export.checkpoint.safetensors_file import write_tensors
from export.reference.model import DecoderLayer
from export.reference.streaming import load_module
from export.weights.weight import QuantizedWeight
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.durable import write_json
from omnilmm_lite.errors import InputError
from omnilmm_lite.json_file import read_json
from quantize.calibration.samples import Calibration
from quantize.calibration.source import DecoderSource
from quantize.decoder.correction import correct_weights
from quantize.decoder.input_statistics import InputStatistics, kept_aside
from quantize.decoder.report import ProjectionReport, parse_projections, report_json
from quantize.decoder.stages import LayerRun, get_linear
from quantize.decoder.stream import Stream
from quantize.disk import check_room, checkpoint_bytes, full_disk_said, spool_bytes
from quantize.folder.gptq_folder import LINEARS, REPORT_FILE, linear_from_tensors, linear_tensors, write
from quantize.folder.packing import Layout
from quantize.gptq.gptq import Columns, proxy_loss, round_to_nearest
from quantize.gptq.group_sizes import GROUP_SIZES
from quantize.gptq.settings import GPTQSettings
from quantize.work_folder import WorkFolder

NORMS = ("input_layernorm", "post_attention_layernorm")
PLAIN = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
TOKENIZER_FILE = "tokenizer.json"  # where `quantize.decoder.run` leaves it; others can't open the GPTQ folder without
WORK_FORMAT = 4  # raise it when the same arguments come to give other files

REPORT_ROWS = 1024  # of a weight, evenly spaced; up to twice as many where they don't divide it

Progress = Callable[[ProjectionReport], None]


@dataclass(frozen=True)
class Job:
    """A decoder to quantize, and how. `layouts` names the linear layers that are to be finer than `settings` say."""

    source: DecoderSource
    calibration: Calibration
    settings: GPTQSettings
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # immutable

    @property
    def decoder(self) -> DecoderConfig:
        return self.source.config.decoder

    def layout(self, name: str) -> Layout:
        return self.layouts.get(name, Layout(self.settings.bits, self.settings.group_size))

    def needed_bytes(self) -> int:
        """What the work folder takes at most."""
        default = Layout(self.settings.bits, self.settings.group_size)
        tokens = sum(len(sample.is_image) for sample in self.calibration.samples)
        return checkpoint_bytes(self.decoder, self.layouts, default) + 2 * spool_bytes(self.decoder, tokens)

    def arguments(self) -> dict[str, Any]:
        """All that the result depends on."""
        return {
            "work_format": WORK_FORMAT,
            "checkpoint": self.source.fingerprint(),
            "calibration": self.calibration.fingerprint,
            "device": self.device.type,
            "mixed": {name: f"{layout.bits} bits / {layout.group_size}" for name, layout in self.layouts.items()},
            **self.settings.to_dict(),
        }


def quantize_decoder(job: Job, work_dir: Path, progress: Progress | None = None) -> Path:
    """Quantizes every linear layer of the decoder but lm_head and returns the GPTQ folder, within `work_dir`.

    `progress` is called after each of the seven projections of every layer, also for those that an earlier run did.
    InputError where `work_dir` holds a run with other arguments, naming them, and where a layer can't be quantized;
    OmniLMMError where the disk has no room, before any work if that can be seen.
    """
    check_job(job)
    work_dir.mkdir(parents=True, exist_ok=True)
    work = WorkFolder(work_dir)
    work.check_arguments(job.arguments())
    if work.gptq.is_dir():
        _replay(parse_projections(read_json(work.gptq / REPORT_FILE)), progress)
        return work.gptq
    check_room(work_dir, job.needed_bytes() - _used(work_dir))
    with full_disk_said(work_dir), torch.inference_mode():
        reports = _Run(job, work, progress).run()
        write_tensors(work.plain, {name: _half(job.source, name) for name in PLAIN})
        shards = [work.plain, *(work.tensors(index) for index in range(job.decoder.num_hidden_layers))]
        report = report_json(reports, job.settings.to_dict())
        tokenizer = [file for file in (work_dir / TOKENIZER_FILE,) if file.is_file()]
        write(work.gptq, shards, job.decoder, job.source.config.tokens, job.settings, report, tokenizer)
    return work.gptq


class _Run:
    """One go at it, from wherever an earlier one ended."""

    def __init__(self, job: Job, work: WorkFolder, progress: Progress | None) -> None:
        self.job, self.work, self.progress = job, work, progress
        samples = job.calibration.samples
        lengths = [len(sample.is_image) for sample in samples]
        corrected = job.settings.error_correction
        self.aside = kept_aside([sample.tokens for sample in samples]) if corrected else {}
        self.weights = [torch.where(sample.is_image, job.settings.image_weight, 1.0) for sample in samples]
        self.original, self.quantized = (
            Stream(work.path, name, job.decoder, lengths, job.device) for name in ("original", "quantized")
        )

    def run(self) -> list[ProjectionReport]:
        count = self.job.decoder.num_hidden_layers
        finished = sum(self.work.tensors(index).is_file() for index in range(count))  # always the first ones
        reports = [report for index in range(finished) for report in self._finished(index)]
        for index in range(self._enter(finished) if finished < count else count, count):
            original, quantized = self._load(index), self._load(index)
            with self.original.enter(original, index) as expected, self.quantized.enter(quantized, index) as found:
                if index < finished:  # what it puts out was lost
                    _load_quantized(quantized, f"model.layers.{index}", self.work.tensors(index))
                    expected.finish()
                    found.finish()
                else:
                    reports += self._quantize_layer(expected, found, index)
            for stream in (self.original, self.quantized):
                stream.remove(index)
        for stream in (self.original, self.quantized):
            stream.remove(count)
        return reports

    def _finished(self, index: int) -> list[ProjectionReport]:
        return _replay(parse_projections(read_json(self.work.report(index))), self.progress)

    def _load(self, index: int) -> DecoderLayer:
        return load_module(self.job.source, f"model.layers.{index}", lambda: DecoderLayer(self.job.decoder)).to(
            self.job.device
        )

    def _enter(self, wanted: int) -> int:
        """The last layer, `wanted` at most, that both streams have reached on disk; brings them to layer 0 if none."""
        for index in range(wanted, -1, -1):
            if self.original.reached(index) and self.quantized.reached(index):
                return index
        for stream in (self.original, self.quantized):
            stream.start(sample.embed() for sample in self.job.calibration.samples)
        return 0

    def _quantize_layer(self, expected: LayerRun, found: LayerRun, index: int) -> list[ProjectionReport]:
        """Quantizes `found`'s layer in place, and keeps it in the work folder."""
        name, job = f"model.layers.{index}", self.job
        quantized: dict[str, QuantizedWeight] = {}
        reports: list[ProjectionReport] = []
        for (parts, passages), (_, originals) in zip(found.stages(), expected.stages(), strict=True):
            statistics = InputStatistics.gather(passages, originals, self.weights, self.aside)
            targets = _targets(found.layer, parts, statistics)
            hessian = statistics.whole_hessian()
            del statistics  # what is left of it may be as large again
            start = time.monotonic()  # so the first part's time has what all share in it
            with _named(f"{name}.{parts[0]}"):
                columns = Columns.of(hessian, desc_act=job.settings.desc_act, damp=job.settings.damp)
            for part in parts:
                linear, full_name = get_linear(found.layer, part), f"{name}.{part}"
                layout = job.layout(full_name)
                with _named(full_name):
                    quantized[part] = columns.quantize(
                        targets[part], layout.bits, layout.group_size, sym=job.settings.sym, grid=job.settings.grid
                    )
                _replace(linear, quantized[part])
                report = _report(full_name, targets.pop(part), quantized[part], hessian, job.settings.sym)
                reports += _replay([report], self.progress)
                self.work.log(asdict(report) | {"seconds": round(time.monotonic() - start, 2), "at": time.time()})
                start = time.monotonic()
            del hessian, columns  # before the next stage has its own
        norms = {f"{name}.{norm}.weight": _half(job.source, f"{name}.{norm}.weight") for norm in NORMS}
        linears = [linear_tensors(f"{name}.{part}", weight) for part, weight in quantized.items()]
        write_json(self.work.report(index), report_json(reports, job.settings.to_dict()))
        write_tensors(
            self.work.tensors(index), {key: value for part in (*linears, norms) for key, value in part.items()}
        )
        return reports


def _targets(layer: DecoderLayer, parts: Sequence[str], statistics: InputStatistics) -> dict[str, Tensor]:
    """What the quantized weights are to come close to."""
    weights = [get_linear(layer, part).weight for part in parts]
    return dict(zip(parts, (each.weight for each in correct_weights(weights, statistics)), strict=True))


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """An InputError of the block says which weight it was."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name} can't be quantized: {error}") from error


def _report(name: str, target: Tensor, quantized: QuantizedWeight, hessian: Tensor, sym: bool) -> ProjectionReport:
    """Measured on some of the rows, which know nothing of each other: all would take longer than rounding them."""
    rows = slice(None, None, max(1, len(target) // REPORT_ROWS))
    target, found = target[rows], torch.from_numpy(quantized.rows(rows).dequantize()).to(target.device)
    rounded = round_to_nearest(target, bits=quantized.bits, group_size=quantized.group_size, sym=sym)
    loss = proxy_loss(target, found, hessian)
    return ProjectionReport(
        name=name,
        bits=quantized.bits,
        group_size=quantized.group_size,
        error_to_rounding=_ratio(loss, proxy_loss(target, rounded, hessian)),
        error_to_output=_ratio(loss, proxy_loss(target, torch.zeros_like(target), hessian)),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _replace(linear: nn.Linear, weight: QuantizedWeight) -> None:
    dense = torch.from_numpy(weight.dequantize()).to(linear.weight.device)
    linear.weight = nn.Parameter(dense, requires_grad=False)


def _load_quantized(layer: DecoderLayer, name: str, file: Path) -> None:
    tensors = load_file(file)
    for part in LINEARS:
        _replace(get_linear(layer, part), linear_from_tensors(f"{name}.{part}", tensors))


def _replay(reports: list[ProjectionReport], progress: Progress | None) -> list[ProjectionReport]:
    for report in reports:
        if progress is not None:
            progress(report)
    return reports


def _half(source: DecoderSource, name: str) -> NDArray[np.float16]:
    tensor = source.tensor(name).half()
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{name} holds values that fp16 can't: a GPTQ checkpoint can't be made of it")
    array: NDArray[np.float16] = tensor.numpy()
    return array


def _used(folder: Path) -> int:
    """Bytes that an earlier run has put there already."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def check_job(job: Job) -> None:
    """InputError for what can be seen before any work."""
    if not job.calibration.samples:
        raise InputError("there is nothing to calibrate on; give at least one picture or text")
    check_group_sizes(job.decoder, [job.settings.group_size, *(layout.group_size for layout in job.layouts.values())])


def check_group_sizes(config: DecoderConfig, group_sizes: Iterable[int]) -> None:
    """InputError, naming those that can be chosen, where groups don't divide the decoder's rows."""
    sizes = {"hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size, "q_dim": config.q_dim}
    fitting = [str(size) for size in GROUP_SIZES if not any(row % size for row in sizes.values())]
    for group_size in set(group_sizes) - {-1}:  # the whole row
        for name, size in sizes.items():
            if group_size < 1 or size % group_size:
                raise InputError(
                    f"groups of {group_size} don't divide the decoder's {name} of {size}; "
                    + (f"--group-size can be {', '.join(fitting)}" if fitting else "no --group-size does")
                )
