"""The whole decoder through GPTQ, layer by layer, each calibrated on what the quantized layers before it put out.

The original decoder runs beside it: each layer is made to come close to what the original puts out, so that it also
makes up for the layers before it. Only one layer of both is in memory, in float32, with one Hessian and one sequence.
Each finished layer is a file in the work folder, and so are the sequences as they enter the next one; a run that was
killed goes on there and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor, nn

from export.checkpoint.safetensors_file import write_checked_tensors
from export.reference.layerwise import load_module
from export.reference.model import DecoderLayer
from export.weights.weight import QuantizedWeight
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.checked_file import is_usable, remove_checked
from omnilmm_lite.files.json_file import read_json
from quantize.calibration.decoder_source import DecoderSource
from quantize.decoder.card_memory import states_bytes, step_bytes
from quantize.decoder.correction import correct_weights
from quantize.decoder.input_statistics import InputStatistics, kept_aside
from quantize.decoder.job import QuantizationJob, check_job
from quantize.decoder.report import ProjectionReport, parse_projections, report_json
from quantize.decoder.stages import LayerRun, get_linear
from quantize.decoder.state_files import StateFiles
from quantize.disk import check_room, full_disk_said
from quantize.folder.tensors import LINEARS, linear_from_tensors, linear_tensors
from quantize.folder.write import REPORT_FILE, write_gptq_folder
from quantize.gptq.gptq import Columns, proxy_loss, round_to_nearest
from quantize.work_folder import WorkFolder, read_kept, write_kept

NORMS = ("input_layernorm", "post_attention_layernorm")
PLAIN = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
TOKENIZER_FILE = "tokenizer.json"  # `quantize_checkpoint` leaves it; other tools open no GPTQ folder without

REPORT_ROWS = 1024  # of a weight, evenly spaced; up to twice as many where they don't divide it

OnProjection = Callable[[ProjectionReport], None]


def quantize_decoder(
    job: QuantizationJob,
    work_dir: Path,
    progress: OnProjection | None = None,
    on_repair: Callable[[str], None] = lambda line: None,
) -> Path:
    """Quantizes every linear layer of the decoder but lm_head and returns the GPTQ folder, within `work_dir`.

    `progress` is called after each of the seven projections of every layer, also for those that an earlier run did;
    `on_repair` gets a line for whatever of an earlier run is damaged, and therefore made again.
    InputError where `work_dir` holds a run with other arguments, naming them, and where a layer can't be quantized;
    OmniLMMError where the disk has no room, before any work if that can be seen.
    """
    check_job(job)
    work_dir.mkdir(parents=True, exist_ok=True)
    work = WorkFolder(work_dir)
    work.check_arguments(job.arguments())
    shards = [work.plain, *(work.tensors(index) for index in range(job.decoder.num_hidden_layers))]
    if work.gptq.is_dir():
        finished = _finished_reports(work.gptq)
        if finished is not None and not any(file.is_file() and not is_usable(file) for file in shards):
            _replay(finished, progress)
            return work.gptq
        on_repair(f"{work.gptq}: a file that it is made of is damaged; putting it together again")
        shutil.rmtree(work.gptq)
    check_room(work_dir, job.needed_bytes() - _used(work_dir))
    with full_disk_said(work_dir), torch.inference_mode():
        reports = _DecoderRun(job, work, progress, on_repair).run()
        write_checked_tensors(work.plain, {name: _half(job.source, name) for name in PLAIN})
        report = report_json(reports, job.settings.to_dict())
        tokenizer = [file for file in (work_dir / TOKENIZER_FILE,) if file.is_file()]
        write_gptq_folder(work.gptq, shards, job.decoder, job.source.config.tokens, job.settings, report, tokenizer)
    return work.gptq


class _DecoderRun:
    """One run of it, which begins where an earlier run in the same folder ended."""

    def __init__(
        self,
        job: QuantizationJob,
        work: WorkFolder,
        progress: OnProjection | None,
        on_repair: Callable[[str], None],
    ) -> None:
        self.job, self.work, self.progress, self.on_repair = job, work, progress, on_repair
        samples = job.calibration.sequences
        lengths = [len(sample.is_image) for sample in samples]
        corrected = job.settings.error_correction
        self.reports: list[list[ProjectionReport]] = []  # of the layers that an earlier run has finished
        self.aside = kept_aside([sample.tokens for sample in samples]) if corrected else {}
        self.weights = [torch.where(sample.is_image, job.settings.image_weight, 1.0) for sample in samples]
        needed = step_bytes(job.decoder, max(lengths)) + states_bytes(job.decoder, sum(lengths))
        held = job.device.free_bytes() >= needed  # never on the CPU
        self.original, self.quantized = (
            StateFiles(work.path, name, job.decoder, lengths, job.device.device, held=held)
            for name in ("original", "quantized")
        )

    def run(self) -> list[ProjectionReport]:
        count = self.job.decoder.num_hidden_layers
        finished = self._sound_layers(count)
        reports = [report for index in range(finished) for report in self._finished(index)]
        for index in range(self._enter(finished) if finished < count else count, count):
            with self.job.device.full_memory_said(f"model.layers.{index}"):
                reports += self._pass_layer(index, is_finished=index < finished)
            for states in (self.original, self.quantized):
                states.remove(index)
        for index in range(count + 1):  # earlier ones, too: a run may have been killed while it removed them
            for states in (self.original, self.quantized):
                states.remove(index)
        return reports

    def _pass_layer(self, index: int, *, is_finished: bool) -> list[ProjectionReport]:
        """Takes all sequences through a layer, which is quantized on the way unless it was before."""
        original, quantized = self._load(index), self._load(index)
        with self.original.enter(original, index) as expected, self.quantized.enter(quantized, index) as found:
            if not is_finished:
                return self._quantize_layer(expected, found, index)
            _load_quantized(quantized, f"model.layers.{index}", self.work.tensors(index))  # what it puts out was lost
            expected.finish()
            found.finish()
            return []

    def _finished(self, index: int) -> list[ProjectionReport]:
        return _replay(self.reports[index], self.progress)

    def _load(self, index: int) -> DecoderLayer:
        name, decoder = f"model.layers.{index}", self.job.decoder
        return load_module(self.job.source, name, lambda: DecoderLayer(decoder), self.job.device.device)

    def _sound_layers(self, count: int) -> int:
        """How many layers, from the first on, are finished and undamaged. Later ones, which were fitted to a damaged
        one, are removed, and so are the states behind it."""
        sound, broken = 0, self.work.tensors(0)
        while sound < count and is_usable(self.work.tensors(sound)):
            broken = self.work.report(sound)
            if (report := read_kept(broken, parse_projections, lambda line: None)) is None:
                break
            self.reports.append(report)
            sound += 1
            broken = self.work.tensors(sound)
        later = [index for index in range(sound, count) if self.work.tensors(index).is_file()]
        for index in later:
            remove_checked(self.work.tensors(index))
        if later:
            for index in range(sound + 1, count + 1):
                for states in (self.original, self.quantized):
                    states.remove(index)
            self.on_repair(f"{broken}: the file is damaged or lost; quantizing again from layer {sound}")
        return sound

    def _enter(self, wanted: int) -> int:
        """The last layer, `wanted` at most, whose input is on disk, undamaged, for both decoders; else 0, whose input
        it writes."""
        both = (self.original, self.quantized)
        for index in range(wanted, -1, -1):
            if all(states.reached(index) for states in both):
                return index
            if any(states.is_damaged(index) for states in both):
                self.on_repair(f"{self.work.path}: what enters layer {index} is damaged or too old; computing it again")
            for states in both:
                states.remove(index)
        for states in (self.original, self.quantized):
            states.start(sample.embed() for sample in self.job.calibration.sequences)
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
        write_kept(self.work.report(index), report_json(reports, job.settings.to_dict()))
        write_checked_tensors(
            self.work.tensors(index), {key: value for part in (*linears, norms) for key, value in part.items()}
        )
        return reports


def _targets(layer: DecoderLayer, parts: Sequence[str], statistics: InputStatistics) -> dict[str, Tensor]:
    """By linear layer, the weight (out, in) that quantization is to come close to: the original, corrected."""
    weights = [get_linear(layer, part).weight for part in parts]
    return dict(zip(parts, (each.weight for each in correct_weights(weights, statistics)), strict=True))


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the weight's name into an InputError of the block."""
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


def _finished_reports(folder: Path) -> list[ProjectionReport] | None:
    """What a finished GPTQ folder says of its layers; None where that is damaged."""
    try:
        return parse_projections(read_json(folder / REPORT_FILE))
    except InputError:
        return None


def _replay(reports: list[ProjectionReport], progress: OnProjection | None) -> list[ProjectionReport]:
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
    """Bytes of the files right in the folder, which an earlier run has left there."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
