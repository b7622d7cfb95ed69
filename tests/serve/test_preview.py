"""`/v1/preview`: what it draws, what it refuses, and how many it takes at once."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import httpx
import pytest
from PIL import Image, ImageStat
from starlette.applications import Starlette

from omnilmm_lite.picture.prepared_image import PreparedImage, prepare
from omnilmm_lite.serve.answering.desk import Desk
from omnilmm_lite.serve.guard import exception_handlers
from omnilmm_lite.serve.preview import MOST_AT_ONCE, preview_routes
from tests.small_checkpoint import TINY

T = TypeVar("T")
COLOUR = (200, 40, 90)


@dataclass
class FakeDesk:
    """Decodes in this process, once it may."""

    may: asyncio.Event = field(default_factory=asyncio.Event)
    at_work: int = 0

    async def prepared(self, file: bytes, side: int) -> PreparedImage:
        self.at_work += 1
        await self.may.wait()
        return prepare(file, dataclasses.replace(TINY.vision, image_size=side))


def picture(width: int, height: int) -> dict[str, str]:
    file = io.BytesIO()
    Image.new("RGB", (width, height), COLOUR).save(file, "TIFF")
    return {"image": f"data:image/tiff;base64,{base64.b64encode(file.getvalue()).decode()}"}


def with_server(work: Callable[[httpx.AsyncClient, FakeDesk], Awaitable[T]]) -> T:
    async def run() -> T:
        desk = FakeDesk()
        app = Starlette(routes=preview_routes(cast(Desk, desk)), exception_handlers=exception_handlers())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            return await work(http, desk)

    return asyncio.run(run())


def preview(body: object) -> httpx.Response:
    async def ask(http: httpx.AsyncClient, desk: FakeDesk) -> httpx.Response:
        desk.may.set()
        return await http.post("/v1/preview", json=body)

    return with_server(ask)


@pytest.mark.parametrize(
    ("size", "shown"), [((3000, 1000), (768, 256)), ((40, 30), (40, 30)), ((1, 90), (1, 90)), ((10, 1000), (8, 768))]
)
def test_it_is_the_picture_no_larger_than_needed(size: tuple[int, int], shown: tuple[int, int]) -> None:
    found = preview(picture(*size)).json()
    assert (found["width"], found["height"]) == size
    with Image.open(io.BytesIO(base64.b64decode(found["image"]))) as image:
        assert (image.format, image.size) == ("JPEG", shown)
        assert [round(value) for value in ImageStat.Stat(image).mean] == pytest.approx(COLOUR, abs=2)


@pytest.mark.parametrize(
    "body", [{}, [], {"image": 3}, {"image": "https://127.0.0.1/a.png"}, {"image": "data:image/png;base64,"}]
)
def test_what_holds_no_picture_is_refused_and_nothing_is_fetched(body: Any) -> None:
    response = preview(body)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_more_than_a_few_at_once_are_refused_until_one_has_ended() -> None:
    async def ask(http: httpx.AsyncClient, desk: FakeDesk) -> list[int]:
        body = picture(4, 4)
        running = [asyncio.ensure_future(http.post("/v1/preview", json=body)) for _ in range(MOST_AT_ONCE)]
        while desk.at_work < MOST_AT_ONCE:
            await asyncio.sleep(0)
        refused = await http.post("/v1/preview", json=body)
        assert refused.headers["retry-after"] == "2"
        desk.may.set()
        answered = await asyncio.gather(*running)
        last = await http.post("/v1/preview", json=body)
        return [refused.status_code, *(each.status_code for each in answered), last.status_code]

    assert with_server(ask) == [429, *[200] * MOST_AT_ONCE, 200]
