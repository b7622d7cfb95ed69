"""What somebody at the keyboard waits for: the first token of an answer, about a new picture and about a known one."""

from __future__ import annotations

import time
from dataclasses import dataclass

from omnilmm_lite.bench.result import Question
from omnilmm_lite.bench.series import Series, seconds
from omnilmm_lite.bench.workload import picture, question
from omnilmm_lite.chat import Chat
from omnilmm_lite.model import Model
from omnilmm_lite.progress import Progress
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.text.prompt import encode_chat

FIRST_SEED = 1000  # no other measurement has shown these pictures
OTHER_QUESTION = 7  # the word that the second question begins with


@dataclass(frozen=True)
class Wait:
    """Tokens of one question, then the seconds until its answer began, part by part."""

    prompt_tokens: int
    prefill_tokens: int
    picture: float
    opening: float
    prefill: float
    total: float


def measure_dialogue(model: Model, repeat: int, progress: Progress) -> tuple[Question, Question] | None:
    """A new picture with a question, then a second question about it, `repeat` times; None if there's no room."""
    tokenizer = model.text.tokenizer
    texts, lengths = zip(*(question(tokenizer, start) for start in (0, OTHER_QUESTION)), strict=True)
    if not _has_room(model, texts):
        return None
    progress.stage("questions", repeat + 1)
    waits: tuple[list[Wait], list[Wait]] = ([], [])
    for seed in range(FIRST_SEED, FIRST_SEED + repeat + 1):
        image = picture(seed)
        model.text.decoder.clear()  # else the system's text would still be there
        started = time.perf_counter()
        chat = model.chat(image)
        opening = seconds(model.text.decoder.open)  # the answer would do it, and not say how long it took
        waits[0].append(_ask(chat, texts[0], started, chat.vision_s, opening))
        waits[1].append(_ask(chat, texts[1], time.perf_counter(), 0.0, 0.0))
        progress.step("")
    first, second = (_question(length, found[1:]) for length, found in zip(lengths, waits, strict=True))
    return first, second


def _ask(chat: Chat, text: str, started: float, picture_s: float, opening_s: float) -> Wait:
    """`started`: when the clock was."""
    answer = chat.answer(text, SamplingParams.greedy(max_new_tokens=1))
    for _ in chat.follow(text, answer):
        pass
    total = time.perf_counter() - started
    timings = answer.timings
    return Wait(timings.prompt_tokens, timings.prefill_tokens, picture_s, opening_s, timings.prefill_s, total)


def _question(tokens: int, waits: list[Wait]) -> Question:
    return Question(
        question_tokens=tokens,
        prompt_tokens=max(wait.prompt_tokens for wait in waits),  # the first answers, one token each, may differ
        prefill_tokens=max(wait.prefill_tokens for wait in waits),
        picture=Series(tuple(wait.picture for wait in waits)),
        opening=Series(tuple(wait.opening for wait in waits)),
        prefill=Series(tuple(wait.prefill for wait in waits)),
        total=Series(tuple(wait.total for wait in waits)),
    )


def _has_room(model: Model, texts: tuple[str, ...]) -> bool:
    """Whether both questions and their answers, of one token each, fit."""
    turns = [{"role": "user", "content": texts[0]}, {"role": "assistant", "content": ""}]
    ids = encode_chat(
        model.text.tokenizer, [*turns, {"role": "user", "content": texts[1]}], model.config, image=True
    )  # fmt: skip
    longest_token = 16  # an answer's token may become several when its text is tokenized again
    return len(ids) + longest_token + 1 <= model.text.decoder.context
