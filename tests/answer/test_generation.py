"""Answers and conversations: a decoder that says what it is told, then the small model against the torch reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from omnilmm_lite.answer.generation import Answer, FinishReason, Prompt, TextModel, Timings, cache_keys
from omnilmm_lite.chat import Chat
from omnilmm_lite.errors import ContextFullError, InputError
from omnilmm_lite.picture.preprocess import preprocess
from omnilmm_lite.sampling_params import SamplingParams, sampling_params
from tests.small_checkpoint import TINY

if TYPE_CHECKING:
    from export.checkpoint.checkpoint import Checkpoint
    from omnilmm_lite.model import Model

Array = NDArray[np.float32]

GREEDY = SamplingParams.greedy()


def picture(seed: int, width: int = 30, height: int = 20) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


# ---- a decoder that says what it is told ----


class Scripted:
    """Stands for a Decoder: gives each answer the same tokens, or raises what stands in their place."""

    def __init__(self, script: Sequence[int | BaseException], context: int = 1000) -> None:
        self.script, self.context = script, context
        self.version = 0
        self.runs = 0  # of this answer

    def reuse(self, keys: Sequence[Hashable]) -> int:
        self.version += 1
        self.runs = 0
        return 0

    def prefill(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        assert len(keys) == len(embeddings)
        return self._next()

    def decode(self, key: Hashable, embedding: Array) -> Array:
        assert key == self.script[self.runs - 1]
        return self._next()

    def _next(self) -> Array:
        token = self.script[self.runs]
        self.runs += 1
        if isinstance(token, BaseException):
            raise token
        logits = np.zeros(TINY.decoder.vocab_size, np.float32)
        logits[token] = 10
        return logits


def scripted(model: Model, script: Sequence[int | BaseException], context: int = 1000) -> tuple[TextModel, Scripted]:
    """`model`'s text side with such a decoder, which a chat of `model` uses as well; drafts have tests of their own."""
    decoder: Any = Scripted(script, context)
    model.text = dataclasses.replace(model.text, decoder=decoder, drafts=False)
    return model.text, decoder


def words(model: Model, text: str) -> list[int]:
    return model.text.tokenizer.encode_text(text)


EOS = TINY.tokens.eos
PROMPT = Prompt([1, 5, 6, 7])


def test_the_end_token_ends_the_answer_and_is_no_part_of_it(model: Model) -> None:
    said = words(model, "a red cat")
    text, decoder = scripted(model, [*said, EOS])
    answer = Answer(text, PROMPT, GREEDY)
    assert "".join(answer) == answer.text == "a red cat"
    assert answer.tokens == said
    assert answer.finish_reason is FinishReason.STOP
    assert decoder.runs == len(said) + 1
    timings = answer.timings
    assert (timings.prompt_tokens, timings.prefill_tokens) == (4, 4)
    assert (timings.new_tokens, timings.decode_steps) == (len(said), len(said))


def test_max_new_tokens_ends_the_answer_without_a_run_too_many(model: Model) -> None:
    said = words(model, "a red cat on a mat")
    text, decoder = scripted(model, [*said, EOS])
    answer = Answer(text, PROMPT, dataclasses.replace(GREEDY, max_new_tokens=2))
    list(answer)
    assert (answer.tokens, answer.finish_reason) == (said[:2], FinishReason.LENGTH)
    assert (decoder.runs, answer.timings.decode_steps) == (2, 1)


def test_the_end_token_in_the_last_place_is_a_stop(model: Model) -> None:
    text, _ = scripted(model, [EOS])
    answer = Answer(text, PROMPT, dataclasses.replace(GREEDY, max_new_tokens=1))
    assert (list(answer), answer.tokens, answer.finish_reason) == ([], [], FinishReason.STOP)
    assert answer.timings.tokens_per_s == 0


def test_the_context_ends_the_answer(model: Model) -> None:
    said = words(model, "a red cat on a mat")
    text, _ = scripted(model, [*said, EOS], context=len(PROMPT.ids) + 3)
    answer = Answer(text, PROMPT, GREEDY)
    list(answer)
    assert (answer.tokens, answer.finish_reason) == (said[:3], FinishReason.LENGTH)


@pytest.mark.parametrize("context", [1, 3, 4])
def test_a_prompt_that_leaves_no_room_is_refused_at_once(model: Model, context: int) -> None:
    text, _ = scripted(model, [EOS], context)
    with pytest.raises(ContextFullError, match=f"the prompt has 4 tokens, and the context holds {context} together"):
        Answer(text, PROMPT, GREEDY)


class SecondBest(Scripted):
    """Beside the script's token, at 10, token 8 has a logit of 1."""

    def _next(self) -> Array:
        logits = super()._next()
        logits[8] = 1
        return logits


def test_the_repetition_penalty_sees_the_answer_and_not_the_prompt(model: Model) -> None:
    """A penalty of 11 brings token 7 to 10 / 11, behind token 8: not while only the prompt holds it."""
    assert 7 in PROMPT.ids
    decoder: Any = SecondBest([7, 7])
    text = dataclasses.replace(model.text, decoder=decoder, drafts=False)
    answer = Answer(text, PROMPT, SamplingParams.greedy(repetition_penalty=11, max_new_tokens=2))
    list(answer)
    assert answer.tokens == [7, 8]


def test_half_a_character_is_held_back_and_finished(model: Model) -> None:
    euro = [token for token in words(model, "\U0001f98a") if token != 28705]  # four bytes, a token each
    assert len(euro) == 4
    text, _ = scripted(model, [*euro, *euro[:2], EOS])
    assert list(Answer(text, PROMPT, GREEDY)) == ["\U0001f98a", "\ufffd"]


@pytest.mark.parametrize(
    ("stop", "shown", "reason"),
    [
        (["cat"], "a red ", FinishReason.STOP),
        (["d c", "mat"], "a re", FinishReason.STOP),  # across two tokens
        (["mat."], "a red cat on a mat", FinishReason.LENGTH),  # held back in vain
        ([], "a red cat on a mat", FinishReason.LENGTH),
    ],
)
def test_a_stop_string_ends_the_answer(model: Model, stop: list[str], shown: str, reason: FinishReason) -> None:
    said = words(model, "a red cat on a mat")
    text, decoder = scripted(model, [*said, *said])
    answer = Answer(text, PROMPT, dataclasses.replace(GREEDY, max_new_tokens=len(said)), stop)
    pieces = list(answer)
    assert "".join(pieces) == answer.text == shown
    assert answer.finish_reason is reason
    assert decoder.runs == len(answer.tokens) == answer.timings.new_tokens
    assert (len(answer.tokens) < len(said)) == (reason is FinishReason.STOP)


def test_white_space_ends_an_answer_at_once(model: Model) -> None:
    newline = words(model, "\n")[-1]
    text, _ = scripted(model, [*words(model, "a cat"), newline, newline, newline, EOS])
    answer = Answer(text, PROMPT, GREEDY, ["\n"])
    assert "".join(answer) == "a cat"
    assert answer.finish_reason is FinishReason.STOP
    assert answer.tokens[-1] == newline
    assert answer.tokens.count(newline) == 1


# ---- conversations, scripted ----


def test_a_turn_is_kept_when_the_reader_stops(model: Model) -> None:
    said = words(model, "one two three")
    scripted(model, [*said, EOS])
    chat = model.chat()
    pieces = chat.stream("count")
    first = next(pieces)
    del pieces
    assert chat.messages == [{"role": "user", "content": "count"}, {"role": "assistant", "content": first}]


def test_a_turn_is_kept_when_it_is_interrupted(model: Model) -> None:
    scripted(model, [*words(model, "one two"), KeyboardInterrupt()])
    chat = model.chat()
    with pytest.raises(KeyboardInterrupt):
        chat.ask("count", greedy=True)
    assert chat.messages[-1] == {"role": "assistant", "content": "one two"}


def test_a_turn_in_which_nothing_was_said_leaves_no_trace(model: Model) -> None:
    scripted(model, [KeyboardInterrupt()])
    chat = model.chat()
    with pytest.raises(KeyboardInterrupt):
        chat.ask("count")
    chat.stream("never begun")
    assert chat.messages == []


def test_an_empty_answer_is_a_turn(model: Model) -> None:
    scripted(model, [EOS])
    chat = model.chat(system="Be silent.")
    assert chat.ask("why") == ""
    assert [message["role"] for message in chat.messages] == ["system", "user", "assistant"]


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused_and_leaves_no_trace(model: Model, question: str) -> None:
    chat = model.chat()
    with pytest.raises(InputError, match="the prompt is empty"):
        chat.ask(question)
    assert chat.messages == []


def test_options_change_the_bundles_defaults_and_nothing_else() -> None:
    defaults = SamplingParams(temperature=0.5, top_k=7)
    assert sampling_params(defaults, {}) == defaults
    assert sampling_params(defaults, {"top_p": 0.3}) == dataclasses.replace(defaults, top_p=0.3)
    assert sampling_params(defaults, {"greedy": True, "temperature": 2.0}).is_greedy
    assert sampling_params(defaults, {"greedy": False}) == defaults
    with pytest.raises(InputError, match="top_p: 3 is out of range"):
        sampling_params(defaults, {"top_p": 3})


def test_cache_keys_tell_pictures_apart(model: Model) -> None:
    ids = model.encode_chat([{"role": "user", "content": "what"}], image=True)
    a, b = (Prompt(ids, model.vision.encode(picture(seed))) for seed in (0, 1))
    keys_a, keys_b = cache_keys(a, TINY), cache_keys(b, TINY)
    differs = [i for i, (x, y) in enumerate(zip(keys_a, keys_b, strict=True)) if x != y]
    assert differs == [i for i, token in enumerate(ids) if token == TINY.tokens.im_patch]
    assert cache_keys(Prompt(ids), TINY) == ids


# ---- the small model itself ----


def test_greedy_answers_are_the_references(model: Model, tiny_checkpoint: Checkpoint) -> None:
    from export.reference.model import OmniLMM

    reference = tiny_checkpoint.module(OmniLMM(TINY), "").eval()
    for image in (picture(3), None):
        ids = model.encode_chat([{"role": "user", "content": "What is this?"}], image=image is not None)
        pixels = None if image is None else torch.from_numpy(preprocess(image, TINY.vision))
        chat = model.chat(image)
        answer = chat.answer("What is this?", dataclasses.replace(GREEDY, max_new_tokens=10))
        list(answer)
        assert answer.tokens == reference.chat(ids, pixels, max_new_tokens=10)


def test_the_second_turn_runs_only_what_is_new(model: Model) -> None:
    chat = model.chat(picture(0))
    params = dataclasses.replace(GREEDY, max_new_tokens=6)
    first = follow(chat, "What is this?", params)
    second = follow(chat, "And that?", params)
    assert first.timings.prefill_tokens == first.timings.prompt_tokens
    new = second.timings.prompt_tokens - first.timings.prompt_tokens
    assert 0 < second.timings.prefill_tokens <= new


def test_a_second_turn_is_what_a_fresh_model_says_to_the_same_conversation(model: Model, tiny_bundle: Path) -> None:
    from omnilmm_lite.model import load

    params = dataclasses.replace(GREEDY, max_new_tokens=6)
    chat = model.chat(picture(0))
    stopped = chat.answer("What is this?", params)
    pieces = chat.follow("What is this?", stopped)
    next(pieces)
    del pieces  # the reader stops in the middle
    second = follow(chat, "And that?", params)

    fresh = load(tiny_bundle, threads=1).chat(picture(0))
    fresh.messages = chat.messages[:2]
    assert fresh.messages[1]["content"] == stopped.text
    assert follow(fresh, "And that?", params).tokens == second.tokens


def test_another_picture_under_the_same_question_is_not_answered_from_the_cache(
    model: Model, tiny_bundle: Path
) -> None:
    from omnilmm_lite.model import load

    params = dataclasses.replace(GREEDY, max_new_tokens=6)
    answers = [follow(model.chat(picture(seed)), "What is this?", params).tokens for seed in (0, 1)]
    fresh = follow(load(tiny_bundle, threads=1).chat(picture(1)), "What is this?", params).tokens
    assert answers[1] == fresh != answers[0]


def test_answers_that_take_turns_do_not_disturb_each_other(model: Model) -> None:
    params = dataclasses.replace(GREEDY, max_new_tokens=5)
    alone = [follow(model.chat(image), "What is this?", params).tokens for image in (picture(0), None)]
    chats = [model.chat(picture(0)), model.chat()]
    answers = [chat.answer("What is this?", params) for chat in chats]
    under_way: list[Iterator[str]] = [iter(answer) for answer in answers]
    while under_way:
        under_way = [pieces for pieces in under_way if next(pieces, None) is not None]
    assert [answer.tokens for answer in answers] == alone


def test_streaming_gives_what_asking_gives(model: Model) -> None:
    asked = model.chat().ask("Tell me.", greedy=True, max_new_tokens=12)
    pieces = list(model.chat().stream("Tell me.", greedy=True, max_new_tokens=12))
    assert len(pieces) > 1
    assert "".join(pieces) == asked != ""


def test_a_seed_draws_the_same_answer_again(model: Model) -> None:
    answers = [
        model.chat().ask("Tell me.", temperature=2.0, top_k=0, top_p=1.0, seed=seed, max_new_tokens=8)
        for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1] != answers[2]


def follow(chat: Chat, question: str, params: SamplingParams) -> Answer:
    """Runs a whole answer."""
    answer = chat.answer(question, params)
    for _ in chat.follow(question, answer):
        pass
    return answer


def test_timings_as_json() -> None:
    timings = Timings(
        prompt_tokens=300, prefill_tokens=40, new_tokens=9, decode_steps=6, drafted_tokens=5, accepted_tokens=3,
        prefill_s=1.23456, decode_s=3.0,
    )  # fmt: skip
    assert timings.as_json(queue_s=0.00004, vision_s=2) == {
        "queue_s": 0.0, "vision_s": 2, "prefill_s": 1.2346, "decode_s": 3.0, "prompt_tokens": 300,
        "prefill_tokens": 40, "new_tokens": 9, "drafted_tokens": 5, "accepted_tokens": 3, "tokens_per_s": 3.0,
    }  # fmt: skip
    assert Timings().as_json()["tokens_per_s"] == 0
