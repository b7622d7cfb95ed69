"""How much the whole model suffers when one unit of it is quantized, measured by quantizing it.

All trials go through the decoder together, so that every layer is loaded once: a trial starts at the layer that it
changes, and from there on has states of its own. They are on disk, which holds a gigabyte or more of them; one trial is
in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from export.checkpoint.safetensors_file import write_checked_tensors
from export.reference.layerwise import load_module
from export.reference.model import DecoderLayer, causal_mask, rope_tables
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.files.checked_file import is_sound, remove_checked
from omnilmm_lite.quality.statistics import kl_divergence
from quantize.calibration.embedded_sequences import EmbeddedSequence
from quantize.decoder.budget import Unit, damages_json, parse_damages, unit_names
from quantize.decoder.job import QuantizationJob
from quantize.decoder.stages import STAGES, get_linear
from quantize.disk import check_room, full_disk_said, used_bytes
from quantize.folder.packing import Layout
from quantize.gptq.gptq import round_to_nearest
from quantize.gptq.settings import GPTQSettings
from quantize.work_folder import read_kept, write_kept

TOKENS = 512  # of text, that trials are measured on: enough to rank units, and 32 layers with 4 trials each take long
FINER_GROUPS = (64, 32)  # that a unit may get instead of the base's; or 8 bits in the base's groups

ORIGINAL = 0  # the trial that changes nothing; those of `unit_names` have the numbers from 1 on


def measure_steps(config: DecoderConfig) -> int:
    """How often `measure_damages` calls `on_step`: once a trial and layer, which all take as long, and once for each
    trial's logits."""
    layers = range(config.num_hidden_layers)
    return sum(_trials_until(index) for index in layers) + len(STAGES) * config.num_hidden_layers


@torch.inference_mode()
def measure_damages(
    job: QuantizationJob,
    folder: Path,
    on_step: Callable[[str], None],
    on_repair: Callable[[str], None] = lambda line: None,
) -> dict[Unit, dict[Layout, float]]:
    """For every unit the damage (see `Choice`) that its layouts do: that of the job's settings, and finer ones.

    The damage of the settings' own layout is measured, by rounding to nearest; finer ones do less in proportion to
    their squared rounding error, since a small error's divergence is quadratic.
    `folder` keeps what is finished: a run that was killed goes on there. The caller removes it once the result is safe.
    `on_step` is called `measure_steps` times, also for what an earlier run did; `on_repair` gets a line where that is
    damaged, and everything is measured again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measurement = _Measurement(job, folder, on_step)
    if not measurement.can_go_on():
        on_repair(f"{folder}: what was measured before is damaged; measuring again")
        shutil.rmtree(folder)
        folder.mkdir()
    with full_disk_said(folder), job.device.full_memory_said("the layers' sensitivity"):
        check_room(folder, measurement.needed_bytes() - used_bytes(folder))
        return measurement.run()


class _Measurement:
    """One run of it, which begins where an earlier run in the same folder ended."""

    def __init__(self, job: QuantizationJob, folder: Path, on_step: Callable[[str], None]) -> None:
        self.source, self.config, self.device = job.source, job.decoder, job.device.device
        self.settings, self.base = job.settings, Layout(job.settings.bits, job.settings.group_size)
        self.folder, self.on_step = folder, on_step
        self.samples = _evenly_spaced(job.calibration.sequences)
        self.units = unit_names(self.config)

    def needed_bytes(self) -> int:
        """The most that is on disk at once: every trial, the original twice, and the one that is being written."""
        tokens = sum(len(sample.is_image) for sample in self.samples)
        return (len(self.units) + 3) * 4 * self.config.hidden_size * tokens

    def run(self) -> dict[Unit, dict[Layout, float]]:
        ratios: dict[Unit, dict[Layout, float]] = {}
        for index in range(self.config.num_hidden_layers):
            if (kept := self._kept(index)) is not None:
                for _ in range(_trials_until(index)):
                    self.on_step(f"layer {index}")
            else:
                kept = self._pass_layer(index)
            remove_checked(self._states(ORIGINAL, index))
            ratios |= kept
        damages = dict(zip(self.units, self._divergences(), strict=True))
        return {unit: {layout: damages[unit] * ratio for layout, ratio in ratios[unit].items()} for unit in self.units}

    def can_go_on(self) -> bool:
        """Whether all is sound of what the first layer that isn't finished needs of an earlier run."""
        layers = range(self.config.num_hidden_layers)
        is_there = [self._finished(index).is_file() for index in layers]  # before damaged ones are removed
        finished = next((index for index in layers if self._kept(index) is None), len(layers))
        if any(is_there[finished:]):
            return False
        if not finished:  # nothing of an earlier run is read
            return True
        for number in range(len(STAGES) * finished + 1):
            behind, before = self._states(number, finished + 1), self._states(number, finished)
            if number and is_sound(behind):
                continue
            remove_checked(behind)
            if not is_sound(before):
                return False
        return True

    def _pass_layer(self, index: int) -> dict[Unit, dict[Layout, float]]:
        """Takes every trial through a layer, and begins those that change it; returns what it keeps of the layer."""
        layer = load_module(self.source, f"model.layers.{index}", lambda: DecoderLayer(self.config), self.device)
        if not index:
            embedded = (sample.embed() for sample in self.samples)
            self._write(ORIGINAL, 0, embedded)
        begun = len(STAGES) * index
        for number in range(1, begun + 1):
            if not self._states(number, index + 1).is_file():  # else the run was killed behind it
                self._write(number, index + 1, self._through(layer, number, index))
            remove_checked(self._states(number, index))
            self.on_step(f"layer {index}: {number} of {_trials_until(index)}")
        ratios: dict[Unit, dict[Layout, float]] = {}
        for number, stage in enumerate(STAGES, begun + 1):
            with _rounded(layer, stage, self.base, self.settings) as errors:
                self._write(number, index + 1, self._through(layer, ORIGINAL, index))
            ratios[self.units[number - 1]] = errors
            self.on_step(f"layer {index}: {number} of {_trials_until(index)}")
        self._write(ORIGINAL, index + 1, self._through(layer, ORIGINAL, index))
        write_kept(self._finished(index), damages_json(ratios))
        self.on_step(f"layer {index}: {_trials_until(index)} of {_trials_until(index)}")
        return ratios

    def _divergences(self) -> Iterator[float]:
        """Mean KL divergence, in nats, of each trial's next-token distributions from the original's, behind text."""
        norm, head = (
            self.source.tensor(f"{name}.weight").float().to(self.device) for name in ("model.norm", "lm_head")
        )
        is_text = [~sample.is_image.to(self.device) for sample in self.samples]
        epsilon, last = self.config.rms_norm_eps, self.config.num_hidden_layers

        def logits(number: int) -> Iterator[NDArray[np.float32]]:
            for state, chosen in zip(self._read(number, last), is_text, strict=True):
                normed = F.rms_norm(state[0][chosen], (self.config.hidden_size,), norm, epsilon)
                yield (normed @ head.T).cpu().numpy()  # (text tokens, vocab)

        original = list(logits(ORIGINAL))
        count = max(1, sum(int(chosen.sum()) for chosen in is_text))
        for number, unit in enumerate(self.units, 1):
            divergences = (
                float(kl_divergence(expected, changed).sum())
                for changed, expected in zip(logits(number), original, strict=True)
            )
            yield sum(divergences) / count
            self.on_step(f"logits with another {unit[0]}")

    def _through(self, layer: DecoderLayer, number: int, index: int) -> Iterator[Tensor]:
        return (_run(layer, state, self.config) for state in self._read(number, index))

    def _read(self, number: int, index: int) -> Iterator[Tensor]:
        """A trial's sequences as they enter a layer, (1, tokens, hidden) each."""
        tensors = load_file(self._states(number, index))
        return (tensors[str(place)].to(self.device) for place in range(len(self.samples)))

    def _write(self, number: int, index: int, states: Iterator[Tensor]) -> None:
        tensors = {str(place): state.cpu().numpy() for place, state in enumerate(states)}
        write_checked_tensors(self._states(number, index), tensors)

    def _states(self, number: int, index: int) -> Path:
        return self.folder / f"trial-{number:03}-layer-{index:03}.safetensors"

    def _kept(self, index: int) -> dict[Unit, dict[Layout, float]] | None:
        return read_kept(self._finished(index), parse_damages, lambda line: None)

    def _finished(self, index: int) -> Path:
        """What a layer's units lose by each layout, relative to the base's; written when all trials are behind it."""
        return self.folder / f"layer-{index:03}.json"


def _trials_until(index: int) -> int:
    """That go through a layer: the original, and those of this layer's units and of all before it."""
    return 1 + len(STAGES) * (index + 1)


def _evenly_spaced(samples: Sequence[EmbeddedSequence]) -> Sequence[EmbeddedSequence]:
    """So many that they hold TOKENS tokens of text, from all over the set: neighbours may be about one picture."""
    for count in range(1, len(samples)):
        taken = [samples[(2 * place + 1) * len(samples) // (2 * count)] for place in range(count)]
        if sum(int((~sample.is_image).sum()) for sample in taken) >= TOKENS:
            return taken
    return samples


@contextmanager
def _rounded(
    layer: DecoderLayer, stage: Sequence[str], base: Layout, settings: GPTQSettings
) -> Iterator[dict[Layout, float]]:
    """The layer with a stage's weights rounded; gives each layout's squared error, relative to the base's."""
    linears = {part: get_linear(layer, part) for part in stage}
    originals: dict[str, Tensor] = {part: linear.weight for part, linear in linears.items()}
    columns = next(iter(originals.values())).shape[1]
    groups = [size for size in FINER_GROUPS if size < base.group_size and columns % size == 0]
    fitting = [base, *(Layout(base.bits, size) for size in groups), Layout(8, base.group_size)]
    squares = dict.fromkeys(fitting, 0.0)
    for part, weight in originals.items():
        for layout in fitting:
            dense = _round(weight, layout, settings)
            squares[layout] += float((dense - weight).square().sum(dtype=torch.float64))
            if layout == base:
                linears[part].weight = nn.Parameter(dense, requires_grad=False)
    try:
        yield {
            layout: square / max(squares[base], torch.finfo(torch.float32).tiny) for layout, square in squares.items()
        }
    finally:
        for part, weight in originals.items():
            linears[part].weight = nn.Parameter(weight, requires_grad=False)


def _round(weight: Tensor, layout: Layout, settings: GPTQSettings) -> Tensor:
    rounded = round_to_nearest(weight, bits=layout.bits, group_size=layout.group_size, sym=settings.sym)
    return torch.from_numpy(rounded.dequantize()).to(weight.device)


def _run(layer: DecoderLayer, state: Tensor, config: DecoderConfig) -> Tensor:
    """(1, tokens, hidden) -> the same shape."""
    tokens = state.shape[1]
    cos, sin = rope_tables(config, torch.arange(tokens, device=state.device))  # (tokens, head_dim / 2)
    output: Tensor = layer(state, cos, sin, causal_mask(tokens, config.sliding_window, state.device))
    return output
