"""What the decoder is calibrated on, as token ids: conversations with and without pictures, and plain text."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from export.json_file import parse_json_object, printable
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.prompt import TextEncoder, encode_chat
from quantize.builtin_conversations import CONVERSATIONS

Item = TypeVar("Item")

PICTURE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# Asked in turn about pictures that come without a question of their own.
QUESTIONS = (
    "What is in this picture?",
    "Describe the image in detail.",
    "What is happening in the image?",
    "What is interesting about this image?",
    "Which objects can you see, and where are they?",
    "What colors stand out here?",
)


@dataclass(frozen=True)
class Conversation:
    """One question, about a picture or not, and its answer where it's known."""

    question: str
    answer: str | None = None
    image: Path | None = None


@dataclass(frozen=True)
class Prompt:
    """One calibration sequence before its embeddings are looked up."""

    ids: tuple[int, ...]
    image: Path | None = None


@dataclass(frozen=True)
class CalibrationLimits:
    """How much of the data is used; which part of it is chosen by the seed."""

    samples: int = 128
    tokens: int = 512  # a sequence's greatest length
    seed: int = 0


def read_prompts(
    source: Path | None, tokenizer: TextEncoder, config: OmniLMMConfig, limits: CalibrationLimits
) -> list[Prompt]:
    """Calibration sequences, the same for the same arguments.

    `source`: a folder of pictures, a .jsonl file of {"image", "question", "answer"} (picture paths start from the
    file's folder; "image" and "answer" may be left out), any other file as plain UTF-8 text, or None for a few
    conversations of our own. InputError for anything else.
    """
    if source is None:
        prompts = _chats((Conversation(question, answer) for question, answer in CONVERSATIONS), tokenizer, config)
    elif source.is_dir():
        prompts = _chats(_shuffled(_folder_conversations(source), limits), tokenizer, config)
    elif source.suffix == ".jsonl":
        prompts = _chats(_shuffled(_jsonl_conversations(source), limits), tokenizer, config)
    else:
        prompts = _shuffled(_text_prompts(source, tokenizer, config, limits), limits)
    cut = [Prompt(prompt.ids[: limits.tokens], prompt.image) for prompt in prompts[: limits.samples]]
    for prompt, whole in zip(cut, prompts, strict=False):
        patches = (ids.count(config.tokens.im_patch) for ids in (prompt.ids, whole.ids))
        if len(set(patches)) > 1:
            raise InputError(f"calibration on pictures needs more than {limits.tokens} tokens a sequence")
    return cut


def _shuffled(items: list[Item], limits: CalibrationLimits) -> list[Item]:
    return random.Random(limits.seed).sample(items, min(len(items), limits.samples))


def _chats(conversations: Iterable[Conversation], tokenizer: TextEncoder, config: OmniLMMConfig) -> list[Prompt]:
    prompts = []
    for conversation in conversations:
        messages = [{"role": "user", "content": conversation.question}]
        if conversation.answer is not None:
            messages.append({"role": "assistant", "content": conversation.answer})
        ids = encode_chat(tokenizer, messages, config, image=conversation.image is not None)
        prompts.append(Prompt(tuple(ids), conversation.image))
    return prompts


def _folder_conversations(folder: Path) -> list[Conversation]:
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise InputError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}) to calibrate on")
    return [Conversation(QUESTIONS[index % len(QUESTIONS)], image=picture) for index, picture in enumerate(pictures)]


def _jsonl_conversations(path: Path) -> list[Conversation]:
    conversations = []
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        record = parse_json_object(line.encode(), where)
        texts = {name: _text_field(record, name, where) for name in ("image", "question", "answer")}
        question, image = texts["question"], texts["image"]
        if question is None or not question.strip():
            raise InputError(f'{where} has no "question"; each line needs one')
        picture = None if image is None else path.parent / image
        if picture is not None and not picture.is_file():
            raise InputError(
                f"{where}: there is no picture {printable(str(picture))}; paths start from the file's folder"
            )
        conversations.append(Conversation(question, texts["answer"], picture))
    if not conversations:
        raise InputError(f"{path} is empty; it needs at least one line to calibrate on")
    return conversations


def _text_field(record: dict[str, Any], name: str, where: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f'{where}: "{name}" must be a string, not {printable(json.dumps(value))}')
    return value


def _text_prompts(path: Path, tokenizer: TextEncoder, config: OmniLMMConfig, limits: CalibrationLimits) -> list[Prompt]:
    """The text cut into sequences of full length, each with a BOS; a short text gives one short sequence."""
    text = _read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty; it needs some text to calibrate on")
    ids = tokenizer.encode_text(text)
    length = limits.tokens - 1
    stops = range(length, len(ids) + 1, length) or [len(ids)]
    return [Prompt((config.tokens.bos, *ids[max(0, stop - length) : stop])) for stop in stops]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(
            f"{path} can't be used for calibration ({reason}); give a folder of pictures, a .jsonl or a text file"
        ) from error
