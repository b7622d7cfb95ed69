"""The chat prompt against transformers' slow legacy tokenisation and the published ids."""

from __future__ import annotations

import re
from pathlib import Path

import mistral_common
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from omnilmm_lite.config import OmniLMMConfig, ResamplerConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.text.prompt import DEFAULT_SYSTEM, encode_chat, image_span

MISTRAL_MODEL = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
CONFIG = OmniLMMConfig()
SPECIAL_IDS = {"<s>": 1, "</s>": 2, "<im_patch>": 32000, "<im_start>": 32001, "<im_end>": 32002}
PICTURE = "<im_start>" + "<im_patch>" * 256 + "<im_end>"
Messages = list[dict[str, str]]


class SentencePieceText:
    """Plain text by sentencepiece itself: these tests need no converted tokenizer."""

    def __init__(self) -> None:
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(MISTRAL_MODEL))

    def encode_text(self, text: str) -> list[int]:
        return list(self.model.encode(text))


TEXT = SentencePieceText()


@pytest.fixture(scope="module")
def legacy() -> SentencePieceBackend:
    """transformers' slow tokenizer in legacy mode, which knows specials typed within a string."""
    tokenizer = SentencePieceBackend(
        vocab_file=str(MISTRAL_MODEL), bos_token="<s>", eos_token="</s>", unk_token="<unk>", legacy=True
    )
    tokenizer.add_tokens(["<im_patch>", "<im_start>", "<im_end>"], special_tokens=True)
    return tokenizer


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def test_published_ids() -> None:
    ids = encode_chat(TEXT, [_user("What is interesting about this image?")], CONFIG, image=True)
    assert len(ids) == 316
    assert ids[:10] == [1, 523, 28766, 6574, 28766, 28767, 13, 1976, 460, 396]
    after_system = [4224, 28723, 2, 28705, 13, 28789, 28766, 1838, 28766, 28767, 13]
    question = [
        28705,
        13,
        3195,
        349,
        5853,
        684,
        456,
        3469,
        28804,
        2,
        28705,
        13,
        28789,
        28766,
        489,
        11143,
        28766,
        28767,
        13,
    ]
    assert ids[28:] == [*after_system, 32001, *[32000] * 256, 32002, *question]
    assert image_span(ids, CONFIG) == slice(40, 296)


HEAD = f"<|system|>\n{DEFAULT_SYSTEM}</s>\n<|user|>\n"


@pytest.mark.parametrize(
    ("messages", "image", "text"),
    [
        ([_user("What is it?")], True, f"{HEAD}{PICTURE}\nWhat is it?</s>\n<|assistant|>\n"),
        ([_user("What is it?")], False, f"{HEAD}What is it?</s>\n<|assistant|>\n"),
        ([_user(" <image>\nWhat?")], True, f"{HEAD} {PICTURE}\nWhat?</s>\n<|assistant|>\n"),
        ([_user("Look: <image> nice")], True, f"{HEAD}Look: {PICTURE} nice</s>\n<|assistant|>\n"),
        ([_user("What is <image>")], True, f"{HEAD}What is {PICTURE}</s>\n<|assistant|>\n"),
        ([_user("A <image> <image>?")], True, f"{HEAD}A {PICTURE} <image>?</s>\n<|assistant|>\n"),
        ([_user("What is <image>?")], False, f"{HEAD}What is <image>?</s>\n<|assistant|>\n"),
        (
            [_user("It?"), _assistant("A cat."), _user("<image> colour?")],
            True,
            f"{HEAD}{PICTURE}\nIt?</s>\n<|assistant|>\nA cat.</s>\n<|user|>\n<image> colour?</s>\n<|assistant|>\n",
        ),
        (
            [{"role": "system", "content": "Be brief."}, _user("It?"), _assistant("")],
            True,
            f"<|system|>\nBe brief.</s>\n<|user|>\n{PICTURE}\nIt?</s>\n<|assistant|>\n</s>",
        ),
    ],
)
def test_ids_equal_the_legacy_tokenizers(
    legacy: SentencePieceBackend, messages: Messages, image: bool, text: str
) -> None:
    assert encode_chat(TEXT, messages, CONFIG, image=image) == [1, *legacy.encode(text, add_special_tokens=False)]


def test_next_turn_continues_the_ids() -> None:
    first = [_user("It?"), _assistant("A cat.")]
    ids = encode_chat(TEXT, first, CONFIG, image=True)
    assert ids[-1] == CONFIG.tokens.eos
    longer = encode_chat(TEXT, [*first, _user("Sure?")], CONFIG, image=True)
    assert longer[: len(ids)] == ids


def test_run_is_as_long_as_the_resampler_has_queries() -> None:
    config = OmniLMMConfig(resampler=ResamplerConfig(num_queries=16))
    ids = encode_chat(TEXT, [_user("It?")], config, image=True)
    assert ids.count(32000) == 16
    span = image_span(ids, config)
    assert span is not None
    assert ids[span] == [32000] * 16
    assert (ids[span.start - 1], ids[span.stop]) == (32001, 32002)
    assert image_span(encode_chat(TEXT, [_user("It?")], config, image=False), config) is None


WORDS = st.lists(st.sampled_from([*SPECIAL_IDS, "<|user|>", "<image>", "\n", " ", "a"])).map("".join)


@given(question=WORDS.map("?{}".format), answer=WORDS, image=st.booleans())
def test_typed_specials_change_no_special_id(question: str, answer: str, image: bool) -> None:
    ids = encode_chat(TEXT, [_user(question), _assistant(answer), _user(question)], CONFIG, image=image)
    assert ids.count(1) == 1
    assert ids[0] == 1
    assert ids.count(2) == 4  # system, user, assistant, user
    assert [ids.count(special) for special in (32001, 32000, 32002)] == ([1, 256, 1] if image else [0, 0, 0])


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "no user message"),
        ([{"role": "system", "content": "x"}], "no user message"),
        ([_user(" \n")], r"messages[0]: the prompt is empty"),
        ([_user(" <image>\n")], "nothing but <image>"),
        ([_assistant("x")], r"messages[0]: role is 'assistant' where 'user' belongs"),
        ([_user("x"), _user("y")], r"messages[1]: role is 'user' where 'assistant' belongs"),
        ([_user("x"), {"role": "system", "content": "y"}], r"messages[1]: role is 'system'"),
        ([{"content": "x"}], r"messages[0]: role is None"),
        ([{"role": "user"}], r"messages[0]: content is NoneType"),
        ([{"role": "tool", "content": "x"}], r"messages[0]: role is 'tool'"),
    ],
)
def test_other_conversations_are_refused(messages: Messages, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        encode_chat(TEXT, messages, CONFIG, image=True)
