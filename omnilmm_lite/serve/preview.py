"""`POST /v1/preview`: a picture that browsers can't show, HEIC and TIFF above all, as a small JPEG.

It goes through the process that decodes all pictures of strangers, within its limits.
"""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from omnilmm_lite.picture.prepared_image import PreparedImage, in_proportion
from omnilmm_lite.serve.answering.desk import Desk, whole_body
from omnilmm_lite.serve.answering.stream import while_connected
from omnilmm_lite.serve.errors import RATE_LIMIT, ApiError, invalid
from omnilmm_lite.serve.request.fields import parse_object
from omnilmm_lite.serve.request.pictures.url import picture_bytes

FIELD = "image"
SIDE = 768  # of the square that is asked of the decoding process, and the preview's longer side
QUALITY = 85
MOST_AT_ONCE = 8


def preview_routes(desk: Desk) -> list[BaseRoute]:
    return [Route("/v1/preview", Previews(desk).answer, methods=["POST"])]


class Previews:
    """A few at once: each holds a file in memory until the one process that decodes has come to it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._at_work = 0

    async def answer(self, request: Request) -> Response:
        if self._at_work >= MOST_AT_ONCE:
            message = f"{MOST_AT_ONCE} previews are being made already; try again later"
            raise ApiError(429, message, code="too_many_previews", type=RATE_LIMIT, headers={"Retry-After": "2"})
        self._at_work += 1
        try:
            file = _file(await whole_body(request))
            decoded = asyncio.ensure_future(self._desk.prepared(file, SIDE))
            image: PreparedImage = await while_connected(decoded, request.receive)
        finally:
            self._at_work -= 1
        return JSONResponse(_drawn(image))


def _file(body: bytes) -> bytes:
    """The picture's file, of a body `{"image": "data:..."}`; ApiError where it holds none. Nothing is fetched."""
    url = parse_object(body).get(FIELD)
    if not isinstance(url, str):
        raise invalid(f"{FIELD}: give the picture as a data: URL", FIELD)
    return picture_bytes(url, None)


def _drawn(image: PreparedImage) -> dict[str, Any]:
    """The response: the picture's own size in pixels, upright, and a JPEG of it in base64, no larger than it is."""
    width, height = image.size
    file = io.BytesIO()
    in_proportion(image).save(file, "JPEG", quality=QUALITY)
    return {"width": width, "height": height, "image": base64.b64encode(file.getvalue()).decode()}
