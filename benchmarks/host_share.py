"""What the host adds to a token on a card: `python -m benchmarks.host_share [--json]`.

Everything between two runs of the decoder that Python does, at the full model's sizes, part by part: sampling, the
embedding's row, binding the step's inputs and outputs, text. No decoder runs, and no card is needed: the share is
computed against the time that a token is hoped to take on one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from omnilmm_lite.answer.sampling import Sampler
from omnilmm_lite.answer.stop_strings import StopStrings
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.tokenizer import Tokenizer, TrailingSpace

TOKEN_S = 5.3e-3  # computed: 190 tokens/s, which docs/gpu.md's floor for an RTX 4090 leaves room for
LIMIT = 0.03  # of it
ANSWER = 200  # tokens, after which the penalty has many to look at
CONFIG = DecoderConfig()  # the full model's

SAMPLERS = {
    "greedy": SamplingParams.greedy(),
    "greedy, penalty": SamplingParams.greedy(repetition_penalty=1.1),
    "defaults": SamplingParams(seed=0),
    "defaults, min-p": SamplingParams(seed=0, min_p=0.05),
    "top-p alone": SamplingParams(seed=0, top_k=0),
    "nothing filtered": SamplingParams(seed=0, top_k=0, top_p=1.0),
}


@dataclass(frozen=True)
class Part:
    """Microseconds a token, of whole answers; whether it belongs to every answer or is one of several ways."""

    name: str
    median: float
    best: float
    is_sampling: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeat", type=int, default=25, help=f"answers of {ANSWER} tokens for each part (default: 25)"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    parts = list(measure(args.repeat))
    common = sum(part.median for part in parts if not part.is_sampling)
    shares = {part.name: (part.median + common) / 1e6 / TOKEN_S for part in parts if part.is_sampling}
    if args.json:
        times = {part.name: {"median_us": round(part.median, 1), "best_us": round(part.best, 1)} for part in parts}
        print(json.dumps({"parts": times, "share_computed": {name: round(each, 4) for name, each in shares.items()}}))
        return
    print(f"{'microseconds a token':<28} {'median':>8} {'best':>8}")
    for part in parts:
        print(f"{part.name:<28} {part.median:8.1f} {part.best:8.1f}")
    print(f"{'all but sampling':<28} {common:8.1f}")
    print(f"\nwith all of it, of a token of {1e3 * TOKEN_S:.1f} ms (computed; at most {LIMIT:.0%} are wanted):")
    for name, share in shares.items():
        print(f"{name:<28} {share:8.1%}")


def measure(repeat: int) -> Iterator[Part]:
    random = np.random.default_rng(0)
    logits = [logits_like_a_models(random) for _ in range(ANSWER)]
    for name, params in SAMPLERS.items():
        yield Part(f"sampling: {name}", *timed(partial(draw, params, logits), repeat), is_sampling=True)
    ids = random.integers(0, CONFIG.vocab_size, ANSWER).tolist()
    with tempfile.TemporaryDirectory() as folder:
        rows = table(Path(folder))
        yield Part("embedding's row", *timed(lambda: look_up(rows, ids), repeat))
        decoder = idle_decoder(Path(folder))
        yield Part("binding inputs and outputs", *timed(lambda: bind(decoder, ids), repeat))
    yield from text_parts(repeat)


def timed(answer: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Microseconds a token: the median of whole answers, and the best; one before them warms up.

    The thread's own time: other programs that take turns with it would count in the clock's.
    """
    times = []
    for _ in range(repeat + 1):
        started = time.thread_time()
        answer()
        times.append(time.thread_time() - started)
    return 1e6 * median(times[1:]) / ANSWER, 1e6 * min(times[1:]) / ANSWER


def logits_like_a_models(random: np.random.Generator) -> NDArray[np.float32]:
    """(vocab,): a few likely tokens over a bell of unlikely ones."""
    logits = random.normal(-4, 2.5, CONFIG.vocab_size).astype(np.float32)
    logits[random.integers(0, CONFIG.vocab_size, 12)] += random.uniform(8, 18, 12).astype(np.float32)
    return logits


def draw(params: SamplingParams, logits: list[NDArray[np.float32]]) -> None:
    sampler = Sampler(params)
    for row in logits:
        sampler.next(row)


def table(folder: Path) -> EmbeddingTable:
    """Of the full size; a hole in the file where the rows would be."""
    path = folder / "embeddings.npy"
    shape = (CONFIG.vocab_size, CONFIG.hidden_size)
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape).flush()
    return EmbeddingTable(path, CONFIG)


def look_up(embeddings: EmbeddingTable, ids: list[int]) -> None:
    for token in ids:
        embeddings([token])


# ---- binding ----


class IdleSession:
    """Binds as the session behind it does, and runs nothing."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run_with_iobinding(self, binding: object, options: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def idle_decoder(folder: Path) -> GraphDecoder:
    """One over a graph with the full decoder's inputs and outputs."""
    path = folder / "decoder.onnx"
    onnx.save(empty_graph(), path)
    session: Any = IdleSession(open_session(path, Device.CPU, 1))
    return GraphDecoder(DecoderGraphs(CONFIG, lambda: session, Device.CPU, ANSWER + 1))


def empty_graph() -> onnx.ModelProto:
    """As the decoder's, with the products left out: nothing but names and shapes matters to who binds them."""
    shape: list[str | int | None] = [1, CONFIG.num_key_value_heads, "context", CONFIG.head_dim]
    inputs = [
        helper.make_tensor_value_info("inputs_embeds", TensorProto.FLOAT, [1, "tokens", CONFIG.hidden_size]),
        helper.make_tensor_value_info("logits_rows", TensorProto.INT64, ["rows"]),
        helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, [1]),
        helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, []),
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "tokens", CONFIG.hidden_size])
    nodes = [helper.make_node("Identity", ["inputs_embeds"], ["logits"])]
    outputs = [logits]
    for layer in range(CONFIG.num_hidden_layers):
        for part in ("key", "value"):
            past, present = f"past.{layer}.{part}", f"present.{layer}.{part}"
            inputs.append(helper.make_tensor_value_info(past, TensorProto.FLOAT16, shape))
            outputs.append(helper.make_tensor_value_info(present, TensorProto.FLOAT16, shape))
            nodes.append(helper.make_node("Identity", [past], [present]))
    graph = helper.make_graph(nodes, "decoder", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def bind(decoder: GraphDecoder, ids: list[int]) -> None:
    decoder.clear()
    row: NDArray[Any] = np.zeros((1, CONFIG.hidden_size), np.float32)
    for token in ids:
        decoder.decode(token, row)


# ---- text ----


def text_parts(repeat: int) -> Iterator[Part]:
    """The built-in model's tokenizer; a token costs the same in a larger one."""
    bundle = Bundle.find(None)
    tokenizer = Tokenizer(bundle.path(bundle.manifest.graphs.tokenizer))
    ids = (tokenizer.encode_text("The quick brown fox jumps over the lazy dog. " * ANSWER))[:ANSWER]

    def detokenize() -> list[str]:
        detokenizer = tokenizer.detokenizer()
        return [detokenizer.push(token) for token in ids]

    pieces = detokenize()

    def stop() -> None:
        stops, space = StopStrings(("\n\nUser:", "</answer>", "###", "Question:")), TrailingSpace()
        for piece in pieces:
            space.push(stops.push(piece))

    yield Part("detokenisation", *timed(detokenize, repeat))
    yield Part("four stop strings", *timed(stop, repeat))


if __name__ == "__main__":
    main()
