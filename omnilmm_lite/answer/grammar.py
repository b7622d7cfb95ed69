"""Answers that are JSON of a given schema, by leaving the sampler only tokens that may come next.

llguidance follows the grammar over the tokenizer's own tokens; a step costs about 0.1 ms with 32,000 of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.machine.extras import Extra, missing_package

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from llguidance._lib import JsonCompileOptions

# As models have read most JSON. Free white space would let a small model write nothing else.
STYLE: JsonCompileOptions = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
STATE = "<state>"  # what its errors say behind this is the answer's words

# In llguidance's form of Lark's; a schema follows. White space may come first, as an answer's first word has a space.
WORDS_OR = r"""%llguidance {}
start: WORDS | json
WORDS: /\s*[^{\s](.|\n)*/
json: %json """


class Grammar:
    """What an answer may look like; one grammar serves many answers, in any thread."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        """`matcher`: before the first token. Making one may take seconds, a copy takes none."""
        self._matcher, self._vocab_size = matcher, vocab_size

    def start(self) -> GrammarState:
        """The state before the first token of an answer."""
        return GrammarState(self._matcher.deep_copy(), self._vocab_size)


class GrammarState:
    """Where in the grammar one answer is."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros((1, (vocab_size + 31) // 32), np.int32)  # a bit a token

    def constrain(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy of logits (vocab,) in which what may not come next is -inf; the end is a token like any other.
        InputError where nothing may come, or the schema is too much for the library: it would let the answer end."""
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._mask)
        self._check()
        allowed = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: logits.size].view(bool)
        constrained = np.full_like(logits, -np.inf)
        constrained[: allowed.size] = np.where(allowed, logits[: allowed.size], -np.inf)
        return constrained

    def accept(self, token: int) -> None:
        """Moves the state past `token`, one that `constrain` left; InputError where the schema is too much for the
        library from there on."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            reason = printable(" ".join(self._matcher.get_error().partition(STATE)[0].split()), 200)
            raise InputError(
                "schema: no answer can be held to it, as it refers to itself without an end, or is too large; "
                f"simplify it ({reason})"
            )


class GrammarCompiler:
    """Schemas to grammars, over one tokenizer."""

    def __init__(self, tokenizer_json: Path, vocab_size: int, eos: int) -> None:
        """`tokenizer_json`: the bundle's. InputError where llguidance is not installed."""
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise missing_package("JSON output", error, Extra.SERVE) from None
        self._tokenizer = LLTokenizer(tokenizer_json.read_text(encoding="utf-8"), n_vocab=vocab_size, eos_token=eos)

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """Any JSON value that the schema takes. InputError where the schema is wrong, or too much for the library."""
        from llguidance import LLMatcher

        return self._checked(lambda: LLMatcher.grammar_from_json_schema(dict(schema), defaults=STYLE))

    def json_or_words(self, schema: Mapping[str, Any]) -> Grammar:
        """A JSON object that the schema takes, or any text that doesn't begin with a brace. InputError likewise."""
        self.json_schema(schema)  # which says what is wrong with it in fewer words
        return self._checked(lambda: WORDS_OR + json.dumps(dict(schema) | {"x-guidance": STYLE}))

    def _checked(self, write: Callable[[], str]) -> Grammar:
        from llguidance import LLMatcher

        try:
            text = write()
        except (ValueError, OverflowError, RecursionError) as error:  # half a character, a number of 400 digits
            raise InputError(f"schema: it can't be read: {printable(' '.join(str(error).split()), 200)}") from None
        matcher = LLMatcher(self._tokenizer, text, log_level=0)  # or it writes to stderr
        if matcher.is_error():
            raise InputError(f"schema: {printable(' '.join(matcher.get_error().split()), 300)}")
        vocab_size: int = self._tokenizer.vocab_size
        grammar = Grammar(matcher, vocab_size)
        grammar.start().constrain(np.zeros(vocab_size, np.float32))  # one that refers to itself alone
        return grammar
