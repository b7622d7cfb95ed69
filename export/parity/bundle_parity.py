"""Holds freshly built graphs against the reference model, on a seeded picture and prompt.

The reference runs in fp32 with one block or layer in memory at a time. A quantized graph is compared with its own
weights, dequantized, or for the tower in int8 with what integers give, block by block. So the tolerance catches
mistakes in the graph and not the loss of quantization. That loss is measured beside it: the distance between the
quantized and the original decoder's distributions, and between the towers' patches. Graphs in fp16 run node by node,
so that every value is rounded as on a card; where powers of two are folded in, the weights without them are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint.checkpoint import Checkpoint
from export.graphs import decoder as decoder_graph
from export.graphs import prefill as prefill_graph
from export.graphs import resampler as resampler_graph
from export.graphs import vision as vision_graph
from export.graphs.decoder import DecoderWeights
from export.parity.cosines import Cosines
from export.parity.decoder_parity import Dequantized, Replacement, RoundedPrompts, decoder_logits, decoder_modules
from export.parity.segments import open_segments, run_segments
from export.reference.layerwise import layerwise_model
from export.reference.model import OmniLMM
from export.torch_device import TorchDevice
from export.weights.decoder_weights import FoldedDecoder
from export.weights.folded_tower import FoldedTower
from export.weights.tower_weights import TowerWeights, layerwise_tower
from export.weights.weight import Array
from omnilmm_lite.bundle.manifest import PREFILL, Graphs
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.config import DecoderConfig, VisionConfig
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.formats import Float, LinearFormat, Precision
from omnilmm_lite.picture.noise import noise_picture
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.quality.statistics import kl_divergence
from omnilmm_lite.text.prompt import encode_chat
from omnilmm_lite.text.tokenizer import Tokenizer

QUESTION = "What is interesting about this image?"

EMBEDDING_STRIDE = 97  # prime: no pattern of the table hides between the rows that are compared
EMBEDDING_TOLERANCE = 5e-4  # half a unit in fp16's last place is 2^-11


class ParityError(OmniLMMError):
    """A graph's numbers are further from the reference than its tolerance allows."""

    def __init__(self, graph: str, difference: float, tolerance: float) -> None:
        super().__init__(
            f"{graph}: the graph differs from the reference by {difference:.2e} of its largest value; {tolerance:g} is "
            "allowed: a mistake in the export, or weights too large for its precision; please report it"
        )
        self.graph, self.difference, self.tolerance = graph, difference, tolerance


@dataclass(frozen=True)
class Parity:
    """Largest difference to the reference, relative to the reference's largest value."""

    difference: float
    tolerance: float


@dataclass(frozen=True)
class Quality:
    """The quantized decoder's next-token distributions against the original's, over one prompt's positions."""

    tokens: int
    mean_kld: float  # nats
    top1_agreement: float


@dataclass(frozen=True)
class ParityReport:
    """What was compared, by the graph's name, and what quantization has cost."""

    graphs: dict[str, Parity]
    quality: Quality | None  # None where nothing is quantized
    prefill_quality: Quality | None  # of the graph for prompts, where there is one
    tower_quality: Cosines | None  # the quantized tower's patches against the original's; likewise

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@torch.inference_mode()
def check_parity(
    checkpoint: Checkpoint,
    tower: TowerWeights,
    weights: DecoderWeights,
    folder: Path,
    preset: Preset,
    on_step: Callable[[str], None],
    device: TorchDevice = TorchDevice(),  # noqa: B008  # immutable
) -> ParityReport:
    """Checks the three graphs in `folder`, on the CPU; ParityError at the first that is off.

    The reference runs on `device`, but for what is compared with integers.
    `on_step` is called after each segment of the tower, the resampler and each decoder layer of the reference.
    """
    tower = tower.weights if isinstance(tower, FoldedTower) else tower
    weights = weights.weights if isinstance(weights, FoldedDecoder) else weights
    graphs, results, side = Graphs(), {}, checkpoint.config.vision.image_size
    reference, place = layerwise_model(checkpoint, device.device), device.device
    pixels = preprocess(noise_picture(side, side), checkpoint.config.vision)

    patches = reference.model.vision_tower(torch.from_numpy(pixels).to(place)).cpu().numpy()  # (1, patches, kv_dim)
    path = folder / graphs.vision
    if tower.format is LinearFormat.INT8:
        found, results["vision"] = run_int8_tower(tower, checkpoint.config.vision, path, pixels, on_step)
    else:
        own = _dequantized_patches(tower, checkpoint.config.vision, pixels, patches)
        found, results["vision"] = _run_tower(preset.vision, path, pixels, own, on_step)
    quantized = tower.format is not LinearFormat.FLOAT
    tower_quality = Cosines.between(torch.from_numpy(found), torch.from_numpy(patches)) if quantized else None

    features = reference.model.resampler(torch.from_numpy(patches).to(place)).cpu().numpy()  # (1, queries, hidden)
    path, node_by_node = folder / graphs.resampler, _is_fp16(preset.resampler)
    found = run_segments(path, {"patches": patches}, node_by_node=node_by_node)["features"]
    results["resampler"] = compare(graphs.resampler, found, features, resampler_graph.TOLERANCE[preset.resampler])
    on_step("resampler")

    results["embeddings"] = _compare_embeddings(checkpoint, folder / graphs.embeddings)
    tokenizer = Tokenizer(folder / graphs.tokenizer)
    ids = encode_chat(tokenizer, [{"role": "user", "content": QUESTION}], checkpoint.config, image=True)
    embeddings = reference.embed(
        torch.tensor([ids], device=place), torch.from_numpy(features).to(place)
    )  # (1, tokens, hidden)
    forms: dict[str, Replacement] = {"original": lambda name: None}
    if preset.quantized:
        forms["decoder"] = Dequantized(weights)
    expected = decoder_logits(reference, forms, embeddings, on_step)
    quality = compare_distributions(expected["original"], expected["decoder"]) if preset.quantized else None

    rows = embeddings[0].cpu().numpy()
    path, node_by_node = folder / graphs.decode, _is_fp16(preset.decoder)
    found = run_decoder(checkpoint.config.decoder, path, rows, node_by_node=node_by_node)
    own_weights = expected.get("decoder", expected["original"])
    results["decoder"] = compare(graphs.decode, found, own_weights, _tolerance(preset))
    prefill_quality = None
    if preset.int8_prefill:
        found, results["prefill"] = run_int8_prefill(
            layerwise_model(checkpoint), weights, folder / PREFILL, rows, on_step
        )
        prefill_quality = compare_distributions(expected["original"], found)
    return ParityReport(results, quality, prefill_quality, tower_quality)


def num_steps(checkpoint: Checkpoint, preset: Preset) -> int:
    """How often `check_parity` calls `on_step`."""
    blocks, layers = checkpoint.config.vision.num_hidden_layers, checkpoint.config.decoder.num_hidden_layers
    # before the tower's blocks are the patches, behind them the last norm; behind the prompts' layers is lm_head
    return (blocks + 2) + 1 + layers + (layers + 1 if preset.int8_prefill else 0)


def _is_fp16(precision: Precision) -> bool:
    return precision.compute is Float.FP16


def _tolerance(preset: Preset) -> float:
    if preset.quantized and preset.accuracy_level:
        return decoder_graph.TOLERANCE_INT8_ACTIVATIONS
    return decoder_graph.TOLERANCE[preset.decoder]


def compare(graph: str, found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> Parity:
    """The largest difference over `expected`'s largest value; ParityError where that is above `tolerance` or NaN."""
    if found.shape != expected.shape:
        raise OmniLMMError(f"{graph}: the graph's answer has shape {found.shape}, the reference's {expected.shape}")
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= tolerance:  # also where it is NaN
        raise ParityError(graph, difference, tolerance)
    return Parity(difference, tolerance)


def compare_distributions(original: NDArray[np.float32], changed: NDArray[np.float32]) -> Quality:
    """Kullback-Leibler divergence and agreement of two sets of logits, (tokens, vocab) each."""
    agreement = (original.argmax(-1) == changed.argmax(-1)).mean()
    return Quality(len(original), float(kl_divergence(original, changed).mean()), float(agreement))


def _dequantized_patches(
    tower: TowerWeights, config: VisionConfig, pixels: NDArray[np.float32], original: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a graph of these weights should give for the same pixels, float32 (1, patches, kv_dim)."""
    if tower.format is LinearFormat.FLOAT:
        return original
    patches: NDArray[np.float32] = layerwise_tower(tower, config)(torch.from_numpy(pixels)).numpy()
    return patches


def _compare_embeddings(checkpoint: Checkpoint, path: Path) -> Parity:
    """The table's rows, as the runtime reads them, at ids spread over the whole vocabulary."""
    config = checkpoint.config.decoder
    ids = [*range(0, config.vocab_size, EMBEDDING_STRIDE), config.vocab_size - 1]
    expected = checkpoint.tensor("model.embed_tokens.weight")[ids].float().numpy()
    return compare(path.name, EmbeddingTable(path, config)(ids), expected, EMBEDDING_TOLERANCE)


def _run_tower(
    precision: Precision,
    path: Path,
    pixels: NDArray[np.float32],
    expected: NDArray[np.float32],
    on_step: Callable[[str], None],
) -> tuple[NDArray[np.float32], Parity]:
    """The graph's patches, and their largest difference from those expected."""
    feeds, node_by_node = {"pixel_values": pixels}, _is_fp16(precision)
    found = run_segments(path, feeds, lambda: on_step("vision"), node_by_node=node_by_node)["patches"]
    return found, compare(path.name, found, expected, vision_graph.TOLERANCE[precision])


def run_int8_tower(
    tower: TowerWeights, config: VisionConfig, path: Path, pixels: NDArray[np.float32], on_step: Callable[[str], None]
) -> tuple[NDArray[np.float32], Parity]:
    """The graph's patches, and the largest difference of any block's output from what integers give for the same input.

    Not of the end's: where an activation lies between two codes, either may be taken, and over many blocks such
    steps grow to what rounding itself costs.
    """
    own = layerwise_tower(tower, config)
    values: dict[str, Array] = {"pixel_values": pixels}
    worst = 0.0
    modules: Iterable[Callable[[Tensor], Tensor]] = chain([own.embed], own.blocks, [own.finish])
    for segment, module in zip(open_segments(path), modules, strict=True):
        (given,) = map(torch.from_numpy, values.values())
        # the graph's residual stream has no axis for pictures
        expected = module(given if given.ndim == 4 else given[None])
        values = segment.run(values)
        (found,) = values.values()
        parity = compare(path.name, found, expected.reshape(found.shape).numpy(), vision_graph.TOLERANCE_INT8)
        worst = max(worst, parity.difference)
        on_step("vision")
    return values["patches"], Parity(worst, vision_graph.TOLERANCE_INT8)


def run_int8_prefill(
    reference: OmniLMM,
    weights: DecoderWeights,
    path: Path,
    embeddings: NDArray[np.float32],
    on_step: Callable[[str], None],
) -> tuple[NDArray[np.float32], Parity]:
    """The graph's logits (tokens, vocab) for (tokens, hidden), and the largest difference of any layer's output from
    what integers give for the same input: as `run_int8_tower`, and for its reason."""
    config, tokens = reference.config.decoder, len(embeddings)
    shape = (1, config.num_key_value_heads, tokens, config.head_dim)
    values, worst = _decoder_feeds(embeddings, tokens), 0.0
    modules = decoder_modules(reference, RoundedPrompts(weights), tokens)
    for segment, module in zip(open_segments(path), modules, strict=True):
        expected = module(torch.from_numpy(_residual(values))).numpy()
        past = {name: np.zeros(shape, dtype) for name, dtype in segment.inputs.items() if name.startswith("past.")}
        values = {name: value for name, value in segment.run(values | past).items() if not name.startswith("present.")}
        parity = compare(path.name, _residual(values), expected, prefill_graph.TOLERANCE)
        worst = max(worst, parity.difference)
        on_step("decoder for prompts")
    return values["logits"][0], Parity(worst, prefill_graph.TOLERANCE)


def _residual(values: Mapping[str, Array]) -> NDArray[np.float32]:
    """The residual stream, (1, tokens, hidden): what crosses a decoder's seam is that and a branch that isn't added to
    it yet. Behind the last segment, the logits (1, tokens, vocab)."""
    total: NDArray[np.float32] = np.sum([value for value in values.values() if value.ndim == 3], axis=0)
    return total


def run_decoder(
    config: DecoderConfig, path: Path, embeddings: NDArray[np.float32], *, node_by_node: bool = False
) -> NDArray[np.float32]:
    """A decoder graph's logits (tokens, vocab) for (tokens, hidden): all but one token at once, the last by itself.
    Each layer is loaded once, for both."""
    tokens = len(embeddings)
    shape = (1, config.num_key_value_heads, tokens, config.head_dim)
    prompt, last = _decoder_feeds(embeddings[:-1], tokens - 1), _decoder_feeds(embeddings[-1:], tokens)
    for segment in open_segments(path, node_by_node=node_by_node):
        past = {name: np.zeros(shape, dtype) for name, dtype in segment.inputs.items() if name.startswith("past.")}
        prompt = segment.run(prompt | past)
        last = segment.run(last | {name: prompt.pop(name.replace("past", "present")) for name in past})
    return np.concatenate([prompt["logits"][0], last["logits"][0]])


def _decoder_feeds(embeddings: NDArray[np.float32], total: int) -> dict[str, Array]:
    """One step that ends with `total` tokens in the cache: logits for each of (tokens, hidden)."""
    return {
        "inputs_embeds": embeddings[None],
        "logits_rows": np.arange(len(embeddings)),
        "seqlens_k": np.asarray([total - 1], dtype=np.int32),
        "total_sequence_length": np.asarray(total, dtype=np.int32),
    }
