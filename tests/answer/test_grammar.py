"""Answers held to JSON schemas: what no answer can be held to is refused, and never ends as if it were one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from omnilmm_lite import load
from omnilmm_lite.answer.generation import Answer, Prompt
from omnilmm_lite.answer.grammar import GrammarCompiler
from omnilmm_lite.errors import InputError
from omnilmm_lite.model import BundleModel
from omnilmm_lite.sampling_params import SamplingParams


@pytest.fixture(scope="module")
def builtin() -> BundleModel:
    return load(threads=1)


@pytest.fixture(scope="module")
def compiler(builtin: BundleModel) -> GrammarCompiler:
    config = builtin.config
    return GrammarCompiler(builtin.parts.tokenizer_file, config.decoder.vocab_size, config.tokens.eos)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    ],
)
def test_a_schema_that_is_itself_alone_is_refused(compiler: GrammarCompiler, schema: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="without an end"):
        compiler.json_schema(schema)


EOS = 2
ENDLESS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
    {"type": "array", "items": {"$ref": "#"}, "minItems": 2},
    {"type": "string", "pattern": ".*" * 200},
]


@pytest.mark.parametrize("schema", ENDLESS)
def test_what_is_too_much_for_the_library_ends_an_answer_by_the_schemas_fault(
    builtin: BundleModel, compiler: GrammarCompiler, schema: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """And says nothing of the answer's words, nor on stderr."""
    grammar = compiler.json_schema(schema)
    prompt = Prompt(builtin.encode_chat([{"role": "user", "content": "hi"}], image=False))
    answer = Answer(builtin.text, prompt, SamplingParams.greedy(max_new_tokens=20), grammar=grammar)
    with pytest.raises(InputError, match="schema: no answer can be held to it") as raised:
        list(answer)
    assert "okens:" not in str(raised.value)
    assert answer.finish_reason is None
    assert capfd.readouterr().err == ""


def test_one_that_refers_to_itself_with_an_end_is_taken(compiler: GrammarCompiler) -> None:
    nested = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    logits = np.zeros(compiler._tokenizer.vocab_size, np.float32)
    assert np.isfinite(compiler.json_schema(nested).start().constrain(logits)).any()


def test_a_grammar_is_made_once_for_all_its_answers(compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making one may take seconds, for which the model's thread has no time."""
    grammar = compiler.json_schema({"enum": ["yes", "no"]})
    monkeypatch.delattr("llguidance.LLMatcher")
    first, second = grammar.start(), grammar.start()
    rng = np.random.default_rng(0)
    for state in (first, second):  # the second one knows nothing of where the first one has come to
        tokens = list[int]()
        while (token := int(state.constrain(rng.random(compiler._tokenizer.vocab_size, np.float32)).argmax())) != EOS:
            state.accept(token)
            tokens.append(token)
        assert compiler._tokenizer.decode_str(tokens) in ('"yes"', '"no"')
