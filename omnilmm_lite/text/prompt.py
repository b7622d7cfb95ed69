"""The chat prompt: Zephyr's template, hard-coded, with the picture in the first user turn.

Source: `omni_preprocess` and `wrap_question_for_omni_lmm` of the public OmniLMM code, whose ids these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError

DEFAULT_SYSTEM = (
    "You are an artificial intelligence assistant, which gives helpful, detailed, and polite answers to the human's "
    "questions."
)
IMAGE_PLACEHOLDER = "<image>"

# A prompt before tokenisation: plain text, and runs of special ids that split it.
Part = str | list[int]


class TextEncoder(Protocol):
    """What the prompt needs of a tokenizer."""

    def encode_text(self, text: str) -> list[int]: ...


def encode_chat(
    tokenizer: TextEncoder, messages: Sequence[Mapping[str, str]], config: OmniLMMConfig, *, image: bool
) -> list[int]:
    """Token ids of a conversation, ready for the decoder: one BOS, then the turns.

    `messages` are {"role": "system" | "user" | "assistant", "content": text}: an optional system message, which
    replaces DEFAULT_SYSTEM, then user and assistant in turn. With `image` the first user turn holds the picture's
    run of im_patch ids: in place of its first `<image>`, else before the text. After a user's last word comes the
    assistant's heading, so that the answer follows; after an assistant's last word the ids end with its EOS.
    InputError for any other shape of conversation and for an empty question.
    """
    turns = _checked_turns(messages)
    if turns[0][0] != "system":
        turns.insert(0, ("system", DEFAULT_SYSTEM))
    eos = [config.tokens.eos]
    parts: list[Part] = [[config.tokens.bos]]
    image_due = image
    for role, content in turns:
        if len(parts) > 1:
            parts.append("\n")  # ends the turn before
        parts.append(f"<|{role}|>\n")
        if image_due and role == "user":
            parts += _with_image(content, config)
            image_due = False
        else:
            parts.append(content)
        parts.append(eos)
    if turns[-1][0] == "user":
        parts.append("\n<|assistant|>\n")
    return _encode_parts(tokenizer, parts)


def image_span(ids: Sequence[int], config: OmniLMMConfig) -> slice | None:
    """Where the picture's features replace token embeddings in `encode_chat`'s ids; None without a picture."""
    try:
        start = ids.index(config.tokens.im_patch)
    except ValueError:
        return None
    return slice(start, start + config.resampler.num_queries)


def _checked_turns(messages: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """(role, content) of each message; InputError names the first that doesn't fit."""
    turns: list[tuple[str, str]] = []
    expected = "user"
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if not isinstance(content, str):
            raise InputError(f"messages[{index}]: content is {type(content).__name__}; give the text as a string")
        if role == "system" and index == 0:
            turns.append((role, content))
            continue
        if role != expected:
            raise InputError(
                f"messages[{index}]: role is {role!r} where {expected!r} belongs; give an optional system message, "
                "then user and assistant in turn"
            )
        if role == "user" and not content.strip():
            raise InputError(f"messages[{index}]: the prompt is empty; ask a question")
        turns.append((role, content))
        expected = "assistant" if role == "user" else "user"
    if not any(role == "user" for role, _ in turns):
        raise InputError("messages: there is no user message; add one that asks a question")
    return turns


def _with_image(question: str, config: OmniLMMConfig) -> list[Part]:
    """The first user turn's content, the picture's ids in their place."""
    tokens = config.tokens
    picture = [tokens.im_start, *[tokens.im_patch] * config.resampler.num_queries, tokens.im_end]
    before, placeholder, after = question.partition(IMAGE_PLACEHOLDER)
    if not placeholder:
        return [picture, "\n" + question]
    if not before.strip() and not after.strip():
        raise InputError(f"messages: the prompt holds nothing but {IMAGE_PLACEHOLDER}; ask a question")
    return [before, picture, after]


def _encode_parts(tokenizer: TextEncoder, parts: Sequence[Part]) -> list[int]:
    """Ids of all parts; neighbouring texts are joined first, as a boundary within text changes its ids."""
    ids: list[int] = []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            ids += tokenizer.encode_text(text)
            text = ""
        ids += part
    if text:
        ids += tokenizer.encode_text(text)
    return ids
