"""A judge behind the chat API of a server that the user names, and every reply of it kept."""

from __future__ import annotations

import hashlib
import json
import time
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
from omnilmm_lite.hub.http import HttpError, Retries, Trouble, bearer, describe_failure, describe_status
from omnilmm_lite.version import __version__

TIMEOUT = httpx2.Timeout(600.0, connect=15.0)  # seconds; a model on a CPU takes its time

KEY_VARIABLE = "JUDGE_API_KEY"  # the key itself, which no command line should hold
LONGEST_REASON = 120  # characters of what a server says
LONGEST_REPLY = 2**24  # bytes
LONGEST_S = 600  # seconds from its beginning to its end
MOST_TOKENS = 2**48  # what a server may say that it has counted


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

        InputError where `url` is none of http or https, or where `key` can be none.
        """
        self.address = chat_address(url)
        self.name = f"{model} at {urlsplit(self.address).netloc}"
        self._model, self._note = model, note
        self._file = ReplyFile(file, {"judge": self.address, "model": model})
        own = {"User-Agent": f"omnilmm-lite/{__version__}", "Accept-Encoding": "identity"}
        self._headers = own | bearer(key or "", KEY_VARIABLE)
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
        data = json.dumps(body).encode()  # in ASCII: half a surrogate pair has no UTF-8
        headers = {"Content-Type": "application/json"}
        try:
            with self._client.stream("POST", self.address, content=data, headers=headers) as response:
                content = _content(response, host)
        except httpx2.TimeoutException:
            raise HttpError(f"{host}: no answer for {TIMEOUT.read:.0f} s", Trouble.TRANSIENT) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise describe_failure(error, host) from error
        if response.status_code != 200:
            failure = describe_status(host, response.status_code, response.headers.get("Retry-After"))
            if failure.trouble is Trouble.FINAL:
                raise HttpError(
                    f"--judge: {failure}{_reason(content)}; does it serve {ENDPOINT} and this --judge-model?",
                    Trouble.FINAL,
                )
            raise failure
        if (reply := _reply(content)) is None:
            raise OmniLMMError(
                f"--judge: {host} answers something else than {ENDPOINT} does{_reason(content)}; check the URL"
            )
        return reply


def chat_address(url: str) -> str:
    """The chat API's address. InputError where `url` is no address of a server."""
    try:
        parts = urlsplit(url)
        labels = httpx2.URL(url).host.rstrip(".").split(".")
        is_host = all(0 < len(label) < 64 for label in labels) and url.isprintable() and " " not in url
        is_one = parts.scheme in ("http", "https") and is_host and parts.port != 0
    except (ValueError, httpx2.InvalidURL):
        is_one = False
    if not is_one:
        raise InputError(f"--judge: {url!r} is no URL, nor a file; give one like http://localhost:8000, or none")
    if "@" in parts.netloc:
        raise InputError(f"--judge: a password in the URL would stand in the report; give the key as {KEY_VARIABLE}")
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions" if path.endswith("/v1") else ENDPOINT
    return parts._replace(path=path, query="", fragment="").geturl()


def _content(response: httpx2.Response, host: str) -> bytes:
    """All of it, which a judge has said by then: it has only so much room and time."""
    content, began = bytearray(), time.monotonic()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > LONGEST_REPLY:
            raise HttpError(f"--judge: {host} answers with more than {LONGEST_REPLY:,} bytes", Trouble.FINAL)
        if time.monotonic() - began > LONGEST_S:
            raise HttpError(f"--judge: {host} has not ended its answer after {LONGEST_S} s", Trouble.FINAL)
    return bytes(content)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _reason(content: bytes) -> str:
    """What the server says in the form of OpenAI's errors; empty where it says nothing of the kind."""
    match _json(content):
        case {"error": {"message": str(text)}} if text.strip():
            return f": {printable(text)[:LONGEST_REASON]}"
    return ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def _reply(content: bytes) -> JudgeReply | None:
    """None where it is no completion."""
    match body := _json(content):
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            match body:
                case {"usage": {"prompt_tokens": asked, "completion_tokens": told}} if _is_count(asked) and _is_count(
                    told
                ):
                    return JudgeReply(text, (asked, told))
            return JudgeReply(text, None)
    return None
