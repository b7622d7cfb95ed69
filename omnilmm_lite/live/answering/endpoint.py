"""A text model behind an OpenAI-compatible endpoint, on this machine or wherever the user says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import httpx2

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.hub.http import bearer
from omnilmm_lite.live.answering.text_model import Message
from omnilmm_lite.live.model_turns import Urgency

TIMEOUT = httpx2.Timeout(60.0, connect=5.0)  # seconds; for reading, between two pieces
AGAIN_S = 2.0  # between looks whether it is back
MOST_NEW_TOKENS = 256  # an answer is said aloud, a summary is short
MOST_CHARACTERS = 6000  # of a prompt: some 1500 tokens, which every model has room for
LONGEST_LINE = 1 << 20  # of its stream
LONGEST_ANSWER = 20_000  # characters: it may not keep to MOST_NEW_TOKENS
DATA = "data:"
DONE = "[DONE]"


def check_address(address: str) -> str:
    """The endpoint's base address without a slash at its end. InputError where it can't be one."""
    try:
        parts = urlsplit(address)
        labels = (parts.hostname or "").rstrip(".").split(".")
        is_host = all(0 < len(label) < 64 for label in labels)
        is_one = parts.scheme in ("http", "https") and is_host and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or not address.isascii() or not address.isprintable() or " " in address:
        raise InputError(
            f"--llm: {printable(address)} is no address; give `same`, or one such as http://127.0.0.1:8080/v1"
        )
    return address.rstrip("/")


class Endpoint:
    """Entered, it asks which models there are; see `check_address` for `address`."""

    def __init__(self, address: str, model: str | None = None, key: str | None = None) -> None:
        """`model`: None takes the first that the endpoint lists. `key`: sent as its API key."""
        self._address, self._model = check_address(address), model
        headers = bearer(key or "", "the key for --llm")
        self._client = httpx2.AsyncClient(timeout=TIMEOUT, headers=headers)

    @property
    def name(self) -> str:
        host = urlsplit(self._address).netloc.rpartition("@")[2]
        return f"{printable(self._model or '?')} at {host}"

    async def __aenter__(self) -> Self:
        """InputError where it doesn't answer, or lacks the model."""
        try:
            listed = await self._models()
            if not listed:
                raise InputError(f"--llm: {self._address} lists no model; load one there")
            if self._model is None:
                self._model = listed[0]
            elif self._model not in listed:
                known = ", ".join(printable(each) for each in listed[:5])
                raise InputError(
                    f"--llm-model: {printable(self._model)} is not at {self._address}, which lists {known}"
                )
        except InputError:
            await self._client.aclose()
            raise
        except OmniLMMError as error:
            await self._client.aclose()
            raise InputError(f"--llm: {error}; start it, or leave --llm out") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    def fits(self, messages: Sequence[Message]) -> bool:
        """Its context isn't known: MOST_CHARACTERS."""
        return sum(len(each.content) for each in messages) <= MOST_CHARACTERS

    async def complete(self, messages: Sequence[Message], urgency: Urgency, on_piece: Callable[[str], None]) -> None:
        """See `TextModel`; it doesn't wait for the model that watches."""
        body = {
            "model": self._model,
            "messages": [{"role": each.role.value, "content": each.content} for each in messages],
            "max_tokens": MOST_NEW_TOKENS,
            "stream": True,
        }
        length = 0
        try:
            async with self._client.stream("POST", f"{self._address}/chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise OmniLMMError(f"{self._address} answered {response.status_code}{await _reason(response)}")
                async for piece in self._pieces(response):
                    length += len(piece)
                    if length > LONGEST_ANSWER:
                        return
                    on_piece(piece)
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise OmniLMMError(self._gone(error)) from None

    async def wait_until_back(self) -> None:
        """Looks every other second."""
        while True:
            await anyio.sleep(AGAIN_S)
            try:
                await self._models()
            except OmniLMMError:
                continue
            return

    async def _pieces(self, response: httpx2.Response) -> AsyncIterator[str]:
        """Of its stream of events. OmniLMMError where it breaks off before its end, or says that it failed."""
        buffered = ""
        async for text in response.aiter_text():
            *lines, buffered = (buffered + text).split("\n")
            if len(buffered) > LONGEST_LINE:
                break
            for line in lines:
                if line.startswith(DATA):
                    data = line.removeprefix(DATA).strip()
                    if data == DONE:
                        return
                    piece, is_last = self._piece(data)
                    if piece:
                        yield piece
                    if is_last:
                        return
        raise OmniLMMError(f"{self._address} broke its answer off")

    def _piece(self, data: str) -> tuple[str, bool]:
        """A piece of text, and whether it was the last."""
        try:
            event: Any = json.loads(data)
            if "error" in event:
                raise OmniLMMError(f"{self._address} failed: {_message(event)}")
            choices = event.get("choices") or []
            if not choices:
                return "", False
            piece = choices[0].get("delta", {}).get("content") or ""
            if not isinstance(piece, str):
                raise TypeError
            return piece, choices[0].get("finish_reason") is not None
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            raise OmniLMMError(f"{self._address} doesn't speak OpenAI's API: its stream holds no such JSON") from None

    async def _models(self) -> list[str]:
        """Names that it lists. OmniLMMError where it doesn't answer, or something else does."""
        try:
            response = await self._client.get(f"{self._address}/models")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise OmniLMMError(self._gone(error)) from None
        if response.status_code != 200:
            raise OmniLMMError(f"{self._address}/models answered {response.status_code}")
        try:
            return [str(each["id"]) for each in response.json()["data"]]
        except (ValueError, TypeError, LookupError, RecursionError):
            raise OmniLMMError(f"{self._address} doesn't speak OpenAI's API; is /v1 missing at its end?") from None

    def _gone(self, error: Exception) -> str:
        if isinstance(error, httpx2.TimeoutException):
            return f"{self._address} doesn't answer in time"
        if isinstance(error, httpx2.ConnectError):
            return f"{self._address} can't be reached"
        return f"{self._address} is gone in the middle"


async def _reason(response: httpx2.Response) -> str:
    """ ": what it says", or nothing."""
    try:
        body = json.loads((await response.aread())[:LONGEST_LINE])
        return f": {_message(body)}"
    except (ValueError, RecursionError, httpx2.HTTPError):
        return ""


def _message(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return printable(str(message)[:200])
