"""Whether this device computes what another bundle, or the same one, gives on the CPU.

One model is loaded at a time, so the two may each need most of the memory. What is compared: the pictures' features;
logits of whole conversations, which the prefill graph gives; logits of answers taken token by token, which the decode
graph gives over the cache that prefill left; and greedy answers.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.answer.generation import FinishReason
from omnilmm_lite.bench.check_report import CheckReport, Side
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import DEFAULT_CONTEXT, Model, load
from omnilmm_lite.progress import Progress
from omnilmm_lite.quality.compared_model import check_comparable
from omnilmm_lite.quality.data import EvaluationSequence, build_samples, positions
from omnilmm_lite.quality.statistics import Ints, Scores, score, summarize
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.conversations import Conversation, read_source
from omnilmm_lite.text.tokenizer import Tokenizer

Array = NDArray[np.float32]

CONVERSATIONS = 3  # with a picture, and as many without
ANSWER_TOKENS = 24  # of each answer: given ones token by token, and greedy ones


@dataclass(frozen=True)
class Unloaded:
    """A bundle as `check_comparable` wants it, without its graphs."""

    name: str
    config: OmniLMMConfig
    tokenizer: Tokenizer

    @classmethod
    def of(cls, bundle: Bundle) -> Unloaded:
        manifest = bundle.manifest
        return cls(manifest.name, manifest.config, Tokenizer(bundle.path(manifest.graphs.tokenizer)))


@dataclass(frozen=True)
class Exam:
    """What both models are asked: conversations, and the tokens of each in `samples`."""

    conversations: list[Conversation]
    samples: list[EvaluationSequence]
    config: OmniLMMConfig

    @classmethod
    def build(cls, tokenizer: Tokenizer, config: OmniLMMConfig) -> Exam:
        """The first of the built-in conversations that the model has room for; InputError where it has for none."""
        data = read_source(None)
        assert isinstance(data, list)
        context = min(DEFAULT_CONTEXT, config.decoder.max_position_embeddings)
        chosen: list[tuple[Conversation, EvaluationSequence]] = []
        for with_picture in (True, False):
            of_kind = [each for each in data if (each.image is not None) is with_picture]
            samples = build_samples(of_kind, tokenizer, config, len(of_kind))
            fitting = [pair for pair in zip(of_kind, samples, strict=True) if len(pair[1].ids) <= context]
            chosen += fitting[:CONVERSATIONS]
        if not chosen:
            raise InputError(f"--check: a context of {context} tokens has no room for a conversation")
        return cls([each for each, _ in chosen], [sample for _, sample in chosen], config)


@dataclass(frozen=True)
class Observation:
    """What one model gave: an entry a picture in `features`, an entry a conversation in the others."""

    side: Side
    features: list[Array]  # (queries, hidden)
    prompts: list[Array]  # (positions that count, vocab)
    steps: list[Array]  # (tokens of the answer, vocab)
    answers: list[tuple[int, ...]]

    @property
    def arrays(self) -> list[Array]:
        return [*self.features, *self.prompts, *self.steps]


def check(
    bundle: Bundle,
    other: Bundle,
    device: str,
    threads: int | None,
    progress: Progress,
    *,
    cuda_graph: bool = False,
) -> CheckReport:
    """`bundle` on `device` against `other` on the CPU. InputError where they are not two forms of one model."""
    form, other_form = Unloaded.of(bundle), Unloaded.of(other)
    check_comparable(form, other_form)
    if form.config.resampler.hidden_size != other_form.config.resampler.hidden_size:
        raise InputError(f"{form.name} and {other_form.name} can't be compared: give two forms of one model")
    exam = Exam.build(form.tokenizer, form.config)
    found = observe(bundle, device, threads, exam, progress, cuda_graph=cuda_graph)
    gc.collect()  # the model is let go before the other one comes
    expected = observe(other, "cpu", threads, exam, progress)
    prompts, prompt_scores = _scores(expected.prompts, found.prompts, _prompt_targets(exam))
    steps, step_scores = _scores(expected.steps, found.steps, [answer_ids(sample) for sample in exam.samples])
    first = [_first_difference(a, b) for a, b in zip(found.answers, expected.answers, strict=True)]
    cosines = _cosines(found.features, expected.features)
    return CheckReport(
        subject=found.side,
        base=expected.side,
        features_mean=None if cosines is None else float(cosines.mean()),
        features_worst=None if cosines is None else float(cosines.min()),
        prompts=summarize(prompt_scores, prompts),
        steps=summarize(step_scores, steps),
        answers_differ_at=tuple(first),
        is_exact=all(map(np.array_equal, found.arrays, expected.arrays)),
    )


def observe(
    bundle: Bundle,
    device: str,
    threads: int | None,
    exam: Exam,
    progress: Progress,
    *,
    cuda_graph: bool = False,
) -> Observation:
    """Loads a bundle and asks it everything, token by token: drafts are another order of sums."""
    model = load(bundle.folder, device=device, threads=threads, drafts=False, cuda_graph=cuda_graph, check_files=False)
    name = bundle.manifest.name
    images = [each.image for each in exam.conversations]
    progress.stage(f"pictures, {name}", sum(image is not None for image in images))
    features: list[Array | None] = []
    for image in images:  # all of them first: a bundle may have no room for the tower beside the decoder
        if image is None:
            features.append(None)
            continue
        features.append(model.encode_image(image))
        progress.step(image.name)
    progress.stage(f"logits, {name}", len(exam.samples))
    prompts, steps = [], []
    for sample, which, picture in zip(exam.samples, positions(exam.samples, exam.config), features, strict=True):
        prompts.append(model.logits(sample.ids, picture)[which.rows])
        steps.append(step_logits(model, sample, picture))
        progress.step("")
    progress.stage(f"answers, {name}", len(exam.conversations))
    answers = []
    for conversation in exam.conversations:
        answers.append(_greedy(model, conversation))
        progress.step("")
    side = Side(name, bundle.manifest.preset, str(model.device.placement), model.device.reason)
    return Observation(side, [each for each in features if each is not None], prompts, steps, answers)


def answer_ids(sample: EvaluationSequence) -> Ints:
    """The first ids of the answer, which are given one by one."""
    assert sample.answer_start is not None  # built-in conversations all have answers
    return np.asarray(sample.ids[sample.answer_start :][:ANSWER_TOKENS], dtype=np.int64)


def step_logits(model: Model, sample: EvaluationSequence, features: Array | None) -> Array:
    """Logits before each of `answer_ids`: (tokens, vocab). The first come from prefill, the others from decode."""
    text, decoder = model.text, model.text.decoder
    prompt = list(sample.ids[: sample.answer_start])
    decoder.clear()
    logits = [decoder.prefill(prompt, text.embed(prompt, features))]
    for token in answer_ids(sample)[:-1].tolist():
        logits.append(decoder.decode(token, text.embeddings([token])))
    decoder.clear()  # the keys above don't say which picture the image tokens were
    return np.stack(logits)


def _greedy(model: Model, conversation: Conversation) -> tuple[int, ...]:
    """An answer's tokens, with the end token if it came to that."""
    chat = model.chat(conversation.image)
    answer = chat.answer(conversation.question, SamplingParams.greedy(max_new_tokens=ANSWER_TOKENS))
    for _ in answer:
        pass
    end = [model.config.tokens.eos] if answer.finish_reason is FinishReason.STOP else []
    return (*answer.tokens, *end)


def _prompt_targets(exam: Exam) -> list[Ints]:
    return [which.targets for which in positions(exam.samples, exam.config)]


def _scores(base: Sequence[Array], model: Sequence[Array], targets: Sequence[Ints]) -> tuple[Ints, Scores]:
    """Each position's conversation, and how the two compare there."""
    scores = [score(*each) for each in zip(base, model, targets, strict=True)]
    sequences = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
    return sequences, Scores.concatenate(scores)


def _cosines(a: Sequence[Array], b: Sequence[Array]) -> NDArray[np.float64] | None:
    """Between the tokens of all pictures, (pictures * queries,); None without pictures."""
    if not a:
        return None
    x, y = (np.concatenate(each).astype(np.float64) for each in (a, b))
    cosines: NDArray[np.float64] = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return cosines


def _first_difference(a: tuple[int, ...], b: tuple[int, ...]) -> int | None:
    """Index of the first token in which two answers differ; None where they are the same."""
    if a == b:
        return None
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
