"""Questions to a judge, as OpenAI's batch files and chat API have them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.evaluation.counted import counted
from omnilmm_lite.evaluation.data.text_file import json_lines
from omnilmm_lite.evaluation.item import Prediction
from omnilmm_lite.files import durable_file

ENDPOINT = "/v1/chat/completions"
PLACE = "{}"  # in a judge's instruction
ANSWER = "@"  # between a question's index and its answer's hash


@dataclass(frozen=True)
class JudgeRequest:
    """One question; `index` is that of the item it is about."""

    index: str
    user: str | None
    system: str | None = None
    temperature: float = 0.0
    max_tokens: int = 1024

    def messages(self) -> list[dict[str, str]]:
        """The conversation, as the chat API has it."""
        turns = (("system", self.system), ("user", self.user))
        return [{"role": role, "content": content} for role, content in turns if content is not None]

    def body(self, model: str) -> dict[str, Any]:
        """The chat API's request."""
        return {
            "model": model,
            "messages": self.messages(),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }


def filled(template: str, values: Sequence[str]) -> str:
    """A value for each place `{}` in turn; braces in the values stay as they are."""
    parts = template.split(PLACE)
    return parts[0] + "".join(value + part for value, part in zip(values, parts[1:], strict=True))


def write_batch(path: Path, requests: Iterable[JudgeRequest], predictions: Iterable[Prediction], model: str) -> None:
    """A line a request, whole or not at all. `predictions` are those that the requests are about. The path's folder
    must be there."""
    ids = {each.item.index: _custom_id(each) for each in predictions}
    lines = [
        json.dumps({"custom_id": ids[each.index], "method": "POST", "url": ENDPOINT, "body": each.body(model)})
        for each in requests
    ]
    durable_file.write_text(path, "".join(line + "\n" for line in lines))


def read_batch(path: Path, predictions: Sequence[Prediction]) -> list[str]:
    """The replies of a batch's output file about these answers, in their order, whatever the order of its lines.

    A line's custom_id is the one of `write_batch`, or the question's index alone. InputError for a line that is none of
    these, for one that failed or is about another answer than the model's, and where one has no reply or two.
    """
    indices = {name: each.item.index for each in predictions for name in (each.item.index, _custom_id(each))}
    replies: dict[str, str] = {}
    for line in json_lines(path):
        name, reply = _reply(line.value or {})
        if reply is None:
            raise InputError(f"{path}: {line.place} holds no reply; ask for it again, or take the line out")
        index = indices.get(name)
        if index is None and name.rpartition(ANSWER)[0] in indices:
            raise InputError(f"{path}: {line.place}, {name!r}, is about another answer; export the requests again")
        if index in replies:
            raise InputError(f"{path}: {line.place} is a second reply to {index!r}; keep one of them")
        if index is not None:
            replies[index] = reply
    missing = [each.item.index for each in predictions if each.item.index not in replies]
    if missing:
        raise InputError(
            f"{path}: no reply to {counted(len(missing), 'question')}, such as {missing[0]!r}; ask for that too"
        )
    return [replies[each.item.index] for each in predictions]


def _custom_id(prediction: Prediction) -> str:
    """The question's index and which answer to it the request is about."""
    digest = hashlib.sha256(prediction.text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{prediction.item.index}{ANSWER}{digest[:12]}"


def _reply(line: Mapping[str, Any]) -> tuple[str, str | None]:
    match line:
        case {
            "custom_id": str(index),
            "response": {"body": {"choices": [{"message": {"content": str(text)}}, *_]}},
        }:
            return index, text
    return "", None
