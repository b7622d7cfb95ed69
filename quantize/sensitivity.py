"""How much the whole model suffers when one unit of it is quantized, measured by quantizing it.

All trials go through the decoder together, so that every layer is loaded once: a trial starts at the layer that it
changes, and from there on has states of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.reference import DecoderLayer, causal_mask, rope_tables
from export.streaming import load_module
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.presets import Preset
from quantize.budget import Choice, unit_bytes
from quantize.gptq import round_to_nearest
from quantize.packing import Layout
from quantize.samples import Calibration, Sample
from quantize.settings import GPTQSettings
from quantize.source import DecoderSource
from quantize.stages import STAGES, get_linear

TOKENS = 1024  # that the trials are measured on: enough to rank units, and 32 layers with 4 trials each take long
FINER_GROUPS = (64, 32)  # that a unit may get instead of the base's; or 8 bits in the base's groups

Unit = tuple[str, ...]
ORIGINAL: Unit = ()  # the trial that changes nothing


@torch.inference_mode()
def measure_choices(
    source: DecoderSource,
    calibration: Calibration,
    settings: GPTQSettings,
    preset: Preset,
    device: torch.device,
    on_layer: Callable[[str], None],
) -> dict[Unit, list[Choice]]:
    """For every unit its choices: that of `settings`, and finer ones.

    The damage of `settings`' own layout is measured, by rounding to nearest; finer ones do less in proportion to their
    squared rounding error, since a small error's divergence is quadratic.
    """
    config = source.config.decoder
    base = Layout(settings.bits, settings.group_size)
    states: dict[Unit, list[Tensor]] = {ORIGINAL: [sample.embed().to(device) for sample in _first(calibration.samples)]}
    ratios: dict[Unit, dict[Layout, float]] = {}
    for index in range(config.num_hidden_layers):
        name = f"model.layers.{index}"
        layer = load_module(source, name, lambda: DecoderLayer(config)).to(device)
        trials: dict[Unit, list[Tensor]] = {}
        for stage in STAGES:
            unit = tuple(f"{name}.{part}" for part in stage)
            with _rounded(layer, stage, base, settings) as errors:
                trials[unit] = [_run(layer, state, config) for state in states[ORIGINAL]]
            ratios[unit] = errors
        states = {unit: [_run(layer, state, config) for state in each] for unit, each in states.items()} | trials
        on_layer(name)
    damages = _divergences(source, states, [~sample.is_image.to(device) for sample in _first(calibration.samples)])
    return {
        unit: [
            Choice(layout, unit_bytes(config, unit, layout, preset), damages[unit] * ratio)
            for layout, ratio in ratios[unit].items()
        ]
        for unit in damages
    }


def _first(samples: Sequence[Sample]) -> list[Sample]:
    """So many that they hold TOKENS tokens."""
    taken: list[Sample] = []
    for sample in samples:
        if sum(len(each.is_image) for each in taken) >= TOKENS:
            break
        taken.append(sample)
    return taken


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
    output: Tensor = layer(state, cos, sin, causal_mask(tokens, config.sliding_window).to(state.device))
    return output


def _divergences(
    source: DecoderSource, states: Mapping[Unit, Sequence[Tensor]], is_text: Sequence[Tensor]
) -> dict[Unit, float]:
    """Mean KL divergence, in nats, of each trial's next-token distributions from the original's, behind text tokens."""
    config = source.config.decoder
    norm, head = (source.tensor(f"{name}.weight").float() for name in ("model.norm", "lm_head"))

    def log_probabilities(state: Tensor, chosen: Tensor) -> Tensor:
        normed = F.rms_norm(state[0][chosen], (config.hidden_size,), norm.to(state.device), config.rms_norm_eps)
        return (normed @ head.to(state.device).T).log_softmax(-1)  # (text tokens, vocab)

    totals = {unit: 0.0 for unit in states if unit}
    for index, chosen in enumerate(is_text):
        original = log_probabilities(states[ORIGINAL][index], chosen)
        for unit in totals:
            changed = log_probabilities(states[unit][index], chosen)
            totals[unit] += float(F.kl_div(changed, original, reduction="sum", log_target=True))
    count = max(1, sum(int(chosen.sum()) for chosen in is_text))
    return {unit: total / count for unit, total in totals.items()}
