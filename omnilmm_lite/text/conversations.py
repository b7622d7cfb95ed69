"""Questions, pictures and answers to measure or to calibrate with, read from what the user has."""

from __future__ import annotations

import json
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.lookup import is_file
from omnilmm_lite.picture.listing import Filter, list_pictures
from omnilmm_lite.text.prompt import TextEncoder, encode_chat

PICTURES = BUILTIN / "pictures"
# Written for this project; they sound like what the model is asked and what it answers. Pictures and questions of the
# intended use always calibrate better.
BUILTIN_CONVERSATIONS = BUILTIN / "conversations.jsonl"
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


def read_source(source: Path | None) -> list[Conversation] | str:
    """What `source` holds: conversations, or plain text.

    `source`: a folder of pictures, a .jsonl file of {"image", "question", "answer"} (picture paths start from the
    file's folder; "image" and "answer" may be left out), any other file as plain UTF-8 text, or None for a few
    conversations of our own. InputError for anything else, and where it is empty.
    """
    source = BUILTIN_CONVERSATIONS if source is None else source
    if source.is_dir():
        return _folder_conversations(source)
    text = _read_text(source)
    if not text.strip():
        raise InputError(f"{source} is empty; give a folder of pictures, a .jsonl or a text file with something in it")
    return _jsonl_conversations(text, source) if source.suffix == ".jsonl" else text


def encode_conversation(conversation: Conversation, tokenizer: TextEncoder, config: OmniLMMConfig) -> list[int]:
    """Ids of question and answer; without an answer they end where it would begin."""
    messages = [{"role": "user", "content": conversation.question}]
    if conversation.answer is not None:
        messages.append({"role": "assistant", "content": conversation.answer})
    return encode_chat(tokenizer, messages, config, image=conversation.image is not None)


def text_sequences(text: str, tokenizer: TextEncoder, config: OmniLMMConfig, tokens: int) -> list[list[int]]:
    """The text cut into sequences of `tokens` ids, each with a BOS; a short text gives one short sequence."""
    ids = tokenizer.encode_text(text)
    length = tokens - 1
    stops = range(length, len(ids) + 1, length) or [len(ids)]
    return [[config.tokens.bos, *ids[max(0, stop - length) : stop]] for stop in stops]


def _folder_conversations(folder: Path) -> list[Conversation]:
    # sorted once more, as paths and not as text: the order says which question a picture gets
    pictures = sorted(folder / path for path in list_pictures(folder, Filter()).paths)
    return [Conversation(QUESTIONS[index % len(QUESTIONS)], image=picture) for index, picture in enumerate(pictures)]


def _jsonl_conversations(text: str, path: Path) -> list[Conversation]:
    conversations = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        record = _parse_line(line, where)
        texts = {name: _text_field(record, name, where) for name in ("image", "question", "answer")}
        question, image = texts["question"], texts["image"]
        if question is None or not question.strip():
            raise InputError(f'{where} has no "question"; each line needs one')
        picture = None if image is None else path.parent / image
        if picture is not None and not is_file(picture):
            raise InputError(f"{where}: there is no picture {reprlib.repr(image)}; paths start from the file's folder")
        conversations.append(Conversation(question, texts["answer"], picture))
    return conversations


def _parse_line(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # bad JSON, endless digits, endless nesting
        raise InputError(f"{where} is not valid JSON; give one object a line") from None
    if not isinstance(record, dict):
        raise InputError(f"{where} must hold a JSON object, not {reprlib.repr(record)}")
    return record


def _text_field(record: dict[str, Any], name: str, where: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f'{where}: "{name}" must be a string, not {reprlib.repr(value)}')
    return value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(
            f"{path} can't be used ({reason}); give a folder of pictures, a .jsonl or a text file"
        ) from error
