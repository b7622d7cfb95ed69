"""Answers with drafts are those without: over a decoder that is a table, then over real graphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from omnilmm_lite.answer.generation import Answer, FinishReason, Prompt, TextModel
from omnilmm_lite.answer.grammar import GrammarCompiler
from omnilmm_lite.errors import ContextFullError
from omnilmm_lite.model import load
from omnilmm_lite.sampling_params import SamplingParams
from tests.paths import ROOT
from tests.small_checkpoint import TINY

if TYPE_CHECKING:
    from omnilmm_lite.model import Model

Array = NDArray[np.float32]
EOS = TINY.tokens.eos
GREEDY = SamplingParams.greedy(max_new_tokens=60)
CAT = ROOT / "examples" / "pictures" / "cat.png"


class Table:
    """Stands for a Decoder: the last four tokens decide on the next one's logits, and nothing that isn't held may."""

    def __init__(self, words: Sequence[int], seed: int, context: int = 1000, end: float = -4.0) -> None:
        """`words`: the tokens that it says. `end`: the end token's logit; the others' are from -2 to 2."""
        self.words, self.seed, self.end = list(words), seed, end
        self.context = context
        self.version = self.runs = 0
        self.interrupt_at: int | None = None
        self.held: list[Hashable] = []

    def reuse(self, keys: Sequence[Hashable]) -> int:
        shared = 0
        while shared < min(len(self.held), len(keys) - 1) and self.held[shared] == keys[shared]:
            shared += 1
        self.held = self.held[:shared]
        self.version += 1
        return shared

    def truncate(self, length: int) -> None:
        del self.held[length:]

    def prefill(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        return self._run(keys, embeddings)[-1]

    def decode(self, key: Hashable, embedding: Array) -> Array:
        return self._run([key], embedding)[0]

    def decode_logits(self, keys: Sequence[Hashable], embeddings: Array) -> Array:
        return np.stack(self._run(keys, embeddings))

    def _run(self, keys: Sequence[Hashable], embeddings: Array) -> list[Array]:
        assert len(keys) == len(embeddings)
        if len(self.held) + len(keys) > self.context:
            raise ContextFullError("full")
        if self.runs == self.interrupt_at:
            raise KeyboardInterrupt
        self.runs += 1
        rows = []
        for key in keys:
            self.held.append(key)
            rows.append(self._logits())
        return rows

    def _logits(self) -> Array:
        random = np.random.default_rng([self.seed, *(hash(key) % 2**32 for key in self.held[-4:])])
        logits = np.full(TINY.decoder.vocab_size, -1e4, np.float32)
        logits[self.words] = random.uniform(-2, 2, len(self.words))
        logits[EOS] = self.end
        return logits


def said(text: TextModel, decoder: Any, prompt: Sequence[int], params: SamplingParams, *, drafts: bool,
         stop: Sequence[str] = (), grammar: Any = None) -> Answer:  # fmt: skip
    """The whole answer."""
    text = dataclasses.replace(text, decoder=decoder, drafts=drafts)
    answer = Answer(text, Prompt(list(prompt)), params, stop, grammar)
    list(answer)
    return answer


def same(one: Answer, other: Answer) -> None:
    """The same answer; the other's runs and accepted drafts together are the first's runs."""
    assert one.tokens == other.tokens
    assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
    assert one.timings.decode_steps == other.timings.decode_steps + other.timings.accepted_tokens
    assert one.timings.drafted_tokens == 0 <= other.timings.accepted_tokens <= other.timings.drafted_tokens


@pytest.fixture
def words(model: Model) -> list[int]:
    return model.text.tokenizer.encode_text("a red cat on")


PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0]),
    top_k=st.sampled_from([0, 3]),
    repetition_penalty=st.sampled_from([1.0, 1.1]),
    presence_penalty=st.sampled_from([0.0, 0.3]),
    frequency_penalty=st.sampled_from([0.0, 0.1]),
    max_new_tokens=st.integers(1, 60),
    seed=st.integers(0, 9),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99),
    prompt=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    params=PARAMS,
    end=st.sampled_from([-4.0, 0.5]),
    stop=st.sampled_from([(), ("cat on",), ("on a red", "red red")]),
    room=st.integers(1, 70),
)
def test_drafts_change_no_token(model: Model, words: list[int], seed: int, prompt: list[int], params: SamplingParams,
                                end: float, stop: tuple[str, ...], room: int) -> None:  # fmt: skip
    ids = [words[place] for place in prompt]
    tables = [Table(words, seed, context=len(ids) + room, end=end) for _ in range(2)]
    plain, drafted = (
        said(model.text, table, ids, params, drafts=drafts, stop=stop)
        for table, drafts in zip(tables, (False, True), strict=True)
    )
    if stop and plain.finish_reason is FinishReason.STOP:
        assert (plain.tokens, plain.text) == (drafted.tokens, drafted.text)
    same(plain, drafted)


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=0.2, seed=3, max_new_tokens=60)])
def test_right_drafts_save_runs_and_wrong_ones_are_forgotten(
    model: Model, words: list[int], params: SamplingParams
) -> None:
    accepted = rejected = 0
    for seed in range(10):
        table = Table(words, seed)
        plain = said(model.text, Table(words, seed), words, params, drafts=False)
        drafted = said(model.text, table, words, params, drafts=True)
        same(plain, drafted)
        assert table.runs == drafted.timings.decode_steps + 1
        accepted += drafted.timings.accepted_tokens
        rejected += drafted.timings.drafted_tokens - drafted.timings.accepted_tokens
    assert accepted > 50
    assert rejected > 10


def test_tokens_per_second_count_tokens(model: Model, words: list[int]) -> None:
    timings = said(model.text, Table(words, 0), words, GREEDY, drafts=True).timings
    assert timings.accepted_tokens > 0
    assert timings.tokens_per_s * timings.decode_s == pytest.approx(timings.new_tokens - 1)  # the first is prefill's


def test_a_picture_is_never_drafted(model: Model, words: list[int]) -> None:
    """The image tokens' ids repeat, and are looked up nowhere."""
    patch = TINY.tokens.im_patch
    table = Table([patch], 0)  # says nothing else
    answer = said(model.text, table, [1, *[patch] * 20, *words], GREEDY, drafts=True)
    assert answer.tokens == [patch] * 60
    assert answer.timings.drafted_tokens == 0


class Alternating:
    """Stands for a Grammar: words and their successors take turns, told of every token of the answer in order."""

    def __init__(self, words: list[int]) -> None:
        self.words = words
        self.accepted: list[int] = []

    def start(self) -> Alternating:
        return self

    def constrain(self, logits: Array) -> Array:
        allowed = self.words[len(self.accepted) % 2 :: 2]
        constrained = np.full_like(logits, -np.inf)
        constrained[allowed] = logits[allowed]
        return constrained

    def accept(self, token: int) -> None:
        assert token in self.words[len(self.accepted) % 2 :: 2]
        self.accepted.append(token)


def test_a_grammar_sees_the_answers_tokens_and_no_others(model: Model, words: list[int]) -> None:
    grammars = [Alternating(words), Alternating(words)]
    plain, drafted = (
        said(model.text, Table(words, 1), words, GREEDY, drafts=drafts, grammar=grammar)
        for grammar, drafts in zip(grammars, (False, True), strict=True)
    )
    same(plain, drafted)
    assert drafted.timings.accepted_tokens > 0
    assert grammars[0].accepted == grammars[1].accepted == plain.tokens


# ---- broken off, and taken in turns ----


@pytest.mark.parametrize("pieces", range(1, 12))
def test_an_answer_that_is_left_early_harms_no_later_one(model: Model, words: list[int], pieces: int) -> None:
    table: Any = Table(words, 2)
    text = dataclasses.replace(model.text, decoder=table, drafts=True)
    left = Answer(text, Prompt(words), GREEDY)
    under_way = iter(left)
    for _ in range(pieces):
        next(under_way)
    del under_way
    whole = said(model.text, Table(words, 2), words, GREEDY, drafts=False)
    assert left.tokens == whole.tokens[: len(left.tokens)]
    for prompt in (words, [*words, *left.tokens, *words]):
        expected = said(model.text, Table(words, 2), prompt, GREEDY, drafts=False)
        assert said(model.text, table, prompt, GREEDY, drafts=True).tokens == expected.tokens


@pytest.mark.parametrize("turns", [[1, 1], [1, 3], [2, 5]])
def test_answers_in_turns_keep_to_their_own_cache(model: Model, words: list[int], turns: list[int]) -> None:
    table: Any = Table(words, 2)
    text = dataclasses.replace(model.text, decoder=table, drafts=True)
    prompts = [words, words[::-1]]
    alone = [said(model.text, Table(words, 2), prompt, GREEDY, drafts=False).tokens for prompt in prompts]
    answers = [Answer(text, Prompt(prompt), GREEDY) for prompt in prompts]
    under_way: list[Iterator[str]] = [iter(answer) for answer in answers]
    while any(answer.finish_reason is None for answer in answers):
        for pieces, count in zip(under_way, turns, strict=True):
            for _ in range(count):
                next(pieces, None)
    assert [answer.tokens for answer in answers] == alone
    # who is disturbed after every piece runs everything anew each time, and drafts nothing
    assert (sum(answer.timings.accepted_tokens for answer in answers) > 0) == (max(turns) > 1)


@pytest.mark.parametrize("run", range(1, 15))
def test_an_interrupted_run_leaves_what_was_said(model: Model, words: list[int], run: int) -> None:
    table: Any = Table(words, 2)
    table.interrupt_at = run
    text = dataclasses.replace(model.text, decoder=table, drafts=True)
    answer = Answer(text, Prompt(words), GREEDY)
    with pytest.raises(KeyboardInterrupt):
        list(answer)
    whole = said(model.text, Table(words, 2), words, GREEDY, drafts=False)
    assert 0 < len(answer.tokens) < len(whole.tokens)
    assert answer.tokens == whole.tokens[: len(answer.tokens)]
    assert answer.timings.decode_steps == run - 1
    table.interrupt_at = None
    same(whole, said(model.text, table, words, GREEDY, drafts=True))


# ---- real graphs ----


@pytest.fixture(scope="module")
def builtin() -> Model:
    return load(device="cpu", threads=1)


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=0.4, seed=5, max_new_tokens=60)])
def test_the_built_in_model_says_the_same_about_a_picture(builtin: Model, params: SamplingParams) -> None:
    """The same question several times: what was answered before is drafted."""
    tokens: list[list[list[int]]] = []
    accepted = 0
    for drafts in (False, True):
        builtin.text.decoder.clear()
        builtin.text = dataclasses.replace(builtin.text, drafts=drafts)
        chat = builtin.chat(CAT)
        tokens.append([])
        for _ in range(4):
            answer = chat.answer("What is this?", params)
            list(chat.follow("What is this?", answer))
            tokens[-1].append(answer.tokens)
            accepted += answer.timings.accepted_tokens
    assert tokens[0] == tokens[1]
    assert accepted >= 3


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=1.5, seed=5, max_new_tokens=60)])
def test_the_built_in_model_keeps_to_a_schema_alike(builtin: Model, params: SamplingParams) -> None:
    pytest.importorskip("llguidance")
    config = builtin.config
    compiler = GrammarCompiler(builtin.parts.tokenizer_file, config.decoder.vocab_size, config.tokens.eos)
    thing = {"type": "string", "enum": ["cat", "circle"]}
    grammar = compiler.json_schema({"type": "array", "items": thing, "minItems": 6, "maxItems": 6})
    ids = builtin.encode_chat([{"role": "user", "content": "What is this?"}], image=False)
    answers = []
    for drafts in (False, True):
        builtin.text.decoder.clear()
        answers.append(said(builtin.text, builtin.text.decoder, ids, params, drafts=drafts, grammar=grammar))
    same(*answers)
    assert answers[1].timings.accepted_tokens > 0
