"""Holds freshly built graphs against the reference model, on a seeded picture and prompt.

The reference runs in fp32 with one block or layer in memory at a time. A quantized decoder is compared with its own
dequantized weights, so the tolerance catches mistakes in the graph and not the loss of quantization; that loss is
measured beside it, as the distance between the dequantized and the original decoder's distributions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export import decoder as decoder_graph
from export import resampler as resampler_graph
from export import vision as vision_graph
from export.checkpoint import Checkpoint
from export.decoder import DecoderWeights
from export.reference import DecoderLayer, OmniLMM, causal_mask, rope_tables
from export.streaming import stream_model
from omnilmm_lite.conversations import seeded_picture
from omnilmm_lite.decoder import Decoder
from omnilmm_lite.device import Device, open_session
from omnilmm_lite.embeddings import EmbeddingTable
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.image import preprocess
from omnilmm_lite.manifest import Graphs
from omnilmm_lite.presets import Preset
from omnilmm_lite.prompt import encode_chat
from omnilmm_lite.tokenizer import Tokenizer
from quantize.weight import QuantizedWeight

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
    graphs: dict[str, Parity]
    quality: Quality | None  # None where nothing is quantized

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@torch.inference_mode()
def check_parity(
    checkpoint: Checkpoint, weights: DecoderWeights, folder: Path, preset: Preset, on_step: Callable[[str], None]
) -> ParityReport:
    """Checks the three graphs in `folder`, on the CPU; ParityError at the first that is off.

    `on_step` is called after each graph and each decoder layer.
    """
    graphs, results = Graphs(), {}
    reference = stream_model(checkpoint)
    pixels = preprocess(seeded_picture(checkpoint.config.vision.image_size), checkpoint.config.vision)

    patches = reference.model.vision_tower(torch.from_numpy(pixels)).numpy()  # (1, patches, kv_dim)
    (found,) = open_session(folder / graphs.vision, Device.CPU).run(["patches"], {"pixel_values": pixels})
    results["vision"] = compare(graphs.vision, found, patches, vision_graph.TOLERANCE[preset.vision])
    on_step("vision")

    features = reference.model.resampler(torch.from_numpy(patches)).numpy()  # (1, queries, hidden)
    (found,) = open_session(folder / graphs.resampler, Device.CPU).run(["features"], {"patches": patches})
    results["resampler"] = compare(graphs.resampler, found, features, resampler_graph.TOLERANCE[preset.resampler])
    on_step("resampler")

    results["embeddings"] = _compare_embeddings(checkpoint, folder / graphs.embeddings)
    tokenizer = Tokenizer(folder / graphs.tokenizer)
    ids = encode_chat(tokenizer, [{"role": "user", "content": QUESTION}], checkpoint.config, image=True)
    embeddings = reference.embed(torch.tensor([ids]), torch.from_numpy(features))  # (1, tokens, hidden)
    original, expected = _decoder_logits(reference, weights, embeddings, on_step)
    tolerance = decoder_tolerance(preset)
    results["decoder"] = compare(graphs.prefill, _run_decoder(checkpoint, folder, ids, embeddings), expected, tolerance)
    quality = compare_distributions(original, expected) if preset.quantized else None
    return ParityReport(results, quality)


def num_steps(checkpoint: Checkpoint) -> int:
    """How often `check_parity` calls `on_step`."""
    return 2 + checkpoint.config.decoder.num_hidden_layers


def decoder_tolerance(preset: Preset) -> float:
    if preset.quantized and preset.accuracy_level:
        return decoder_graph.TOLERANCE_INT8_ACTIVATIONS
    return decoder_graph.TOLERANCE[preset.decoder]


def compare(graph: str, found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> Parity:
    """ParityError where they differ too much, or the graph's answer isn't finite."""
    if found.shape != expected.shape:
        raise OmniLMMError(f"{graph}: the graph's answer has shape {found.shape}, the reference's {expected.shape}")
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= tolerance:  # also where it is NaN
        raise ParityError(graph, difference, tolerance)
    return Parity(difference, tolerance)


def compare_distributions(original: NDArray[np.float32], changed: NDArray[np.float32]) -> Quality:
    """Kullback-Leibler divergence and agreement of two sets of logits, (tokens, vocab) each."""
    p, q = (torch.from_numpy(logits).double().log_softmax(-1) for logits in (original, changed))
    kld = (p.exp() * (p - q)).sum(-1)
    agreement = (original.argmax(-1) == changed.argmax(-1)).mean()
    return Quality(len(original), float(kld.mean()), float(agreement))


def _compare_embeddings(checkpoint: Checkpoint, path: Path) -> Parity:
    """The table's rows, as the runtime reads them, at ids spread over the whole vocabulary."""
    config = checkpoint.config.decoder
    ids = [*range(0, config.vocab_size, EMBEDDING_STRIDE), config.vocab_size - 1]
    expected = checkpoint.tensor("model.embed_tokens.weight")[ids].float().numpy()
    return compare(path.name, EmbeddingTable(path, config)(ids), expected, EMBEDDING_TOLERANCE)


def _decoder_logits(
    reference: OmniLMM, weights: DecoderWeights, embeddings: Tensor, on_step: Callable[[str], None]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits of the original decoder and of the one that `weights` hold, (tokens, vocab) each, in one pass over the
    checkpoint's layers."""
    config = reference.config.decoder
    tokens = embeddings.shape[1]
    cos, sin = rope_tables(config, torch.arange(tokens))
    mask = causal_mask(tokens, config.sliding_window)
    original = changed = embeddings
    for i, layer in enumerate(reference.model.layers):
        original = layer(original, cos, sin, mask)
        if _take_weights(layer, weights, f"model.layers.{i}") or changed is not original:
            changed = layer(changed, cos, sin, mask)
        else:
            changed = original
        on_step(f"decoder layer {i + 1}/{config.num_hidden_layers}")
    norm, head = reference.model.norm, reference.lm_head
    before = head(norm(original))[0].numpy()
    _take_weight(head, weights, "lm_head")
    return before, head(norm(changed))[0].numpy()


def _take_weights(layer: DecoderLayer, weights: DecoderWeights, name: str) -> bool:
    """Replaces the layer's linear weights by dequantized ones; whether there were any."""
    replaced = False
    for path, module in layer.named_modules():
        if isinstance(module, torch.nn.Linear):
            replaced |= _take_weight(module, weights, f"{name}.{path}")
    return replaced


def _take_weight(module: torch.nn.Linear, weights: DecoderWeights, name: str) -> bool:
    weight = weights.linear(name)
    if not isinstance(weight, QuantizedWeight):
        return False
    module.weight = torch.nn.Parameter(torch.from_numpy(weight.dequantize()), requires_grad=False)
    return True


def _run_decoder(checkpoint: Checkpoint, folder: Path, ids: list[int], embeddings: Tensor) -> NDArray[np.float32]:
    """The graph's logits, (tokens, vocab): all but one token through prefill, the last through decode."""
    session = open_session(folder / Graphs().prefill, Device.CPU)
    decoder = Decoder(checkpoint.config.decoder, session, session, Device.CPU, context=len(ids))
    rows = embeddings[0].numpy()
    first = decoder.prefill_logits(ids[:-1], rows[:-1])
    return np.concatenate([first, decoder.decode(ids[-1], rows[-1:])[None]])
