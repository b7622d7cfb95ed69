"""A server of the real command in a process of its own, and requests to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.paths import ROOT
from tests.serve.browser import serving

if TYPE_CHECKING:
    from openai import OpenAI

PICTURES = ROOT / "examples" / "pictures"
CHAT = "/v1/chat/completions"
WAIT_S = 30.0  # the machine may be busy


@contextmanager
def client(*options: str, module: str = "cli") -> Iterator[httpx.Client]:
    """A plain HTTP client of a fresh server."""
    command = ("serve", *options) if module == "cli" else options
    with serving(module, *command) as address, httpx.Client(base_url=address, timeout=WAIT_S, trust_env=False) as http:
        yield http


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """Of a module's own server, as it is without options."""
    with client() as http:
        yield http


@pytest.fixture
def official(http: httpx.Client) -> OpenAI:
    """OpenAI's own client of the same server."""
    from openai import OpenAI

    return OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0)


def data_url(path: Path) -> str:
    kind = "jpeg" if path.suffix == ".jpg" else path.suffix[1:]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def question(text: str, url: str | None = None, **fields: Any) -> dict[str, Any]:
    """A greedy request, with a picture or without."""
    content: Any = text
    if url is not None:
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], "temperature": 0, **fields}


def chunks(response: httpx.Response) -> list[Any]:
    """A stream's data, each JSON; [DONE] must end it."""
    data = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(each) for each in data]
