"""A judge behind the chat API of a server that the user names, and every reply of it kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.evaluation.judge.request import ENDPOINT, JudgeRequest
from omnilmm_lite.files.json_log import JsonLog
from omnilmm_lite.files.printable import printable
from omnilmm_lite.hub.http import HttpError, Retries, Trouble, describe_failure, describe_status
from omnilmm_lite.version import __version__

TIMEOUT = httpx2.Timeout(600.0, connect=15.0)  # seconds; a model on a CPU takes its time

LONGEST_REASON = 120  # characters of what a server says


@dataclass(frozen=True)
class JudgeReply:
    """`tokens`: of the request and of the reply, as the server counts them; None where it doesn't say."""

    text: str
    tokens: tuple[int, int] | None


class ReplyFile(JsonLog):
    """A line a request, by the hash of all that was sent."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.replies: dict[str, JudgeReply] = {}
        super().__init__(path, settings, "eval", "-o")

    def take(self, entry: Any) -> None:
        tokens, text = entry["tokens"], entry["reply"]
        if not isinstance(text, str):
            raise TypeError("a reply is a text")
        pair = None if tokens is None else (int(tokens[0]), int(tokens[1]))
        self.replies[str(entry["request_sha256"])] = JudgeReply(text, pair)

    def add(self, key: str, reply: JudgeReply) -> None:
        """Writes a reply; it is on the disk when this returns."""
        line = {"request_sha256": key, "reply": reply.text, "tokens": reply.tokens}
        self.append(line)
        self.take(line)


class JudgeClient:
    """One request after the other; what was asked before is read from the file. `with` opens the connection."""

    def __init__(self, url: str, model: str, file: Path, key: str | None, note: Callable[[str], None]) -> None:
        """`url`: with or without /v1 and what follows; `key`: for a server that wants one; `note` hears of retries.

        InputError where `url` is none of http or https.
        """
        self.address = chat_address(url)
        self.name = f"{model} at {urlsplit(self.address).netloc}"
        self._model, self._note = model, note
        self._file = ReplyFile(file, {"judge": self.address, "model": model})
        self._headers = {"User-Agent": f"omnilmm-lite/{__version__}"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        self._opened.enter_context(self._file)
        self._client = self._opened.enter_context(httpx2.Client(timeout=TIMEOUT, headers=self._headers))
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def ask(self, requests: Sequence[JudgeRequest], step: Callable[[str], None]) -> list[JudgeReply]:
        """The replies in the requests' order. OmniLMMError where the server gives none, after some tries."""
        replies = []
        for request in requests:
            body = request.body(self._model)
            key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
            if key not in self._file.replies:
                self._file.add(key, self._post(body))
            replies.append(self._file.replies[key])
            step(request.index)
        return replies

    def _post(self, body: Mapping[str, Any]) -> JudgeReply:
        retries = Retries(self._note)
        host = urlsplit(self.address).netloc
        while True:
            try:
                return self._try(body, host)
            except HttpError as error:
                retries.wait(error)

    def _try(self, body: Mapping[str, Any], host: str) -> JudgeReply:
        try:
            response = self._client.post(self.address, json=dict(body))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise describe_failure(error, host) from error
        if response.status_code != 200:
            failure = describe_status(host, response.status_code, response.headers.get("Retry-After"))
            if failure.trouble is Trouble.FINAL:
                raise HttpError(
                    f"--judge: {failure}{_reason(response)}; does it serve {ENDPOINT} and this --judge-model?",
                    Trouble.FINAL,
                )
            raise failure
        try:
            return _reply(response.json())
        except ValueError:
            raise OmniLMMError(f"--judge: {host} answers something else than {ENDPOINT} does; check the URL") from None


def chat_address(url: str) -> str:
    """The chat API's address. InputError where `url` is no address of a server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"--judge: {url!r} is no URL, nor a file; give one like http://localhost:8000, or none")
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions" if path.endswith("/v1") else ENDPOINT
    return parts._replace(path=path, query="", fragment="").geturl()


def _reason(response: httpx2.Response) -> str:
    """What the server says in the form of OpenAI's errors; empty where it says nothing of the kind."""
    try:
        match response.json():
            case {"error": {"message": str(text)}} if text.strip():
                return f": {printable(text)[:LONGEST_REASON]}"
    except ValueError:
        pass
    return ""


def _reply(body: Any) -> JudgeReply:
    """ValueError where it is no completion."""
    match body:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            match body:
                case {"usage": {"prompt_tokens": int(asked), "completion_tokens": int(told)}}:
                    return JudgeReply(text, (asked, told))
            return JudgeReply(text, None)
    raise ValueError("no completion")
