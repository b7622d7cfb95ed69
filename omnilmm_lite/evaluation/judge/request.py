"""Questions to a judge, as OpenAI's batch files and chat API have them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.data.text_file import json_lines
from omnilmm_lite.files import durable_file

ENDPOINT = "/v1/chat/completions"


@dataclass(frozen=True)
class JudgeRequest:
    """One question; `index` is that of the item it is about."""

    index: str
    user: str
    system: str | None = None
    temperature: float = 0.0
    max_tokens: int = 1024

    def messages(self) -> list[dict[str, str]]:
        """The conversation, as the chat API has it."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": self.user}]

    def body(self, model: str) -> dict[str, Any]:
        """The chat API's request."""
        return {
            "model": model,
            "messages": self.messages(),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }


def write_batch(path: Path, requests: Iterable[JudgeRequest], model: str) -> None:
    """A line a request, whole or not at all. The path's folder must be there."""
    lines = [
        json.dumps({"custom_id": each.index, "method": "POST", "url": ENDPOINT, "body": each.body(model)})
        for each in requests
    ]
    durable_file.write_text(path, "".join(line + "\n" for line in lines))


def read_batch(path: Path, indices: Sequence[str]) -> list[str]:
    """The replies of a batch's output file, in the order of `indices`, whatever the order of its lines.

    InputError for a line that is none of these, for one that failed, and where an index has no reply or two.
    """
    replies: dict[str, str] = {}
    for line in json_lines(path):
        index, reply = _reply(line.value or {})
        if reply is None:
            raise InputError(f"{path}: {line.place} holds no reply; ask for it again, or take the line out")
        if index in replies:
            raise InputError(f"{path}: {line.place} is a second reply to {index!r}; keep one of them")
        replies[index] = reply
    missing = [index for index in indices if index not in replies]
    if missing:
        raise InputError(f"{path}: {len(missing)} questions have no reply, such as {missing[0]!r}; ask for them too")
    return [replies[index] for index in indices]


def _reply(line: Mapping[str, Any]) -> tuple[str, str | None]:
    match line:
        case {
            "custom_id": str(index),
            "response": {"body": {"choices": [{"message": {"content": str(text)}}, *_]}},
        }:
            return index, text
    return "", None
