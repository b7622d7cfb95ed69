"""`/v1/live`: a session is a POST whose answer is its event stream; with the stream's end it is over."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from omnilmm_lite.errors import InputError
from omnilmm_lite.serve.answering.desk import JSON, Desk, whole_body
from omnilmm_lite.serve.answering.endpoint import NO_CACHE
from omnilmm_lite.serve.answering.form import EVENT_STREAM
from omnilmm_lite.serve.answering.stream import while_connected
from omnilmm_lite.serve.connection import STILL_HERE
from omnilmm_lite.serve.errors import ApiError, invalid
from omnilmm_lite.serve.live.frames import frame_picture
from omnilmm_lite.serve.live.senses import Senses
from omnilmm_lite.serve.live.tab import Tab
from omnilmm_lite.serve.live.wishes import read_wishes
from omnilmm_lite.serve.openai.sse import STILL_HERE_COMMENT, sse_data
from omnilmm_lite.serve.request.fields import RequestFields, parse_object

MOST_TABS = 2
MOST_FRAME_BYTES = 4 * 2**20
MOST_SOUND_BYTES = 2**20  # 30 s at 16 kHz
MOST_TEXT_BYTES = 2**16
JPEG, PCM = "image/jpeg", "audio/l16"

# What a tab is sent -> the JSON object that is answered.
TabRoute: TypeAlias = Callable[[Tab, Request], Awaitable[dict[str, Any]]]


def live_routes(desk: Desk, senses: Senses) -> list[BaseRoute]:
    live = Live(desk, senses)
    one = "/v1/live/{session}"
    return [
        Route("/v1/live", live.facts, methods=["GET"]),
        Route("/v1/live", LiveEndpoint(live), methods=["POST"]),
        Route(f"{one}/frame", live.post(live.frame), methods=["POST"]),
        Route(f"{one}/sound", live.post(live.sound), methods=["POST"]),
        Route(f"{one}/question", live.post(live.question), methods=["POST"]),
        Route(f"{one}/interrupt", live.post(live.interrupt), methods=["POST"]),
    ]


class Live:
    """The tabs that watch, and what they send."""

    def __init__(self, desk: Desk, senses: Senses) -> None:
        self.desk, self.senses = desk, senses
        self.tabs: dict[str, Tab] = {}

    async def facts(self, request: Request) -> Response:
        """What a page can have here."""
        return JSONResponse({
            "model": self.desk.checker.name,
            "ears": self.senses.ears_name,
            "voice": self.senses.voice_name,
            "sessions": {"running": len(self.tabs), "limit": MOST_TABS},
        })  # fmt: skip

    def tab(self, body: bytes) -> Tab:
        """A new one. ApiError where the body is wrong, or there are too many already."""
        self.desk.engine.check_room()
        wishes = read_wishes(parse_object(body), self.desk.checker.rules, self.senses)
        if len(self.tabs) >= MOST_TABS:
            message = f"{MOST_TABS} live sessions run already, the limit; stop one in another tab, and try again"
            raise ApiError(409, message, code="too_many_sessions")
        return Tab(self.desk.engine, wishes, self.senses)

    def post(self, answer: TabRoute) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            tab = self.tabs.get(request.path_params["session"])
            if tab is None:
                raise ApiError(404, "this live session has ended; begin a new one", code="session_ended")
            return JSONResponse(await answer(tab, request))

        return route

    async def frame(self, tab: Tab, request: Request) -> dict[str, Any]:
        """A JPEG -> its frame's number."""
        file = await whole_body(request, JPEG, limit=MOST_FRAME_BYTES)
        decoding = asyncio.ensure_future(frame_picture(self.desk, file))
        return {"frame": tab.put(await while_connected(decoding, request.receive))}

    async def sound(self, tab: Tab, request: Request) -> dict[str, Any]:
        """16-bit samples of one channel, the low byte first; `?rate=` in Hz, `&ends=1` where silence follows."""
        data = await whole_body(request, PCM, limit=MOST_SOUND_BYTES)
        rate = request.query_params.get("rate", "")
        if len(data) % 2:
            raise invalid("the sound has half a sample at its end; send whole ones of 16 bits")
        if not (rate.isascii() and rate.isdecimal() and len(rate) < 7):
            raise invalid("rate: give the sound's samples a second, such as ?rate=16000", "rate")
        tab.hear(np.frombuffer(data, "<i2").astype(np.int16), int(rate), ends="ends" in request.query_params)
        return {}

    async def question(self, tab: Tab, request: Request) -> dict[str, Any]:
        """`{"text": ..., "spoken": true}` -> its id. A spoken one interrupts the answer before it."""
        fields = RequestFields(parse_object(await whole_body(request, JSON, limit=MOST_TEXT_BYTES)))
        try:
            return {"question_id": tab.session.ask(fields.required("text"), spoken=fields.boolean("spoken"))}
        except InputError as error:
            raise invalid(str(error), "text") from None

    async def interrupt(self, tab: Tab, request: Request) -> dict[str, Any]:
        tab.session.interrupt()
        return {}


class LiveEndpoint:
    """An ASGI app of its own, since it has to hear the client leave."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        live = self._live
        tab = live.tab(await whole_body(Request(scope, receive), JSON, limit=MOST_TEXT_BYTES))
        live.tabs[tab.id] = tab
        try:
            scope[STILL_HERE] = STILL_HERE_COMMENT
            kind = (b"content-type", EVENT_STREAM.encode())
            await send({"type": "http.response.start", "status": 200, "headers": [kind, *NO_CACHE]})

            async def write(event: dict[str, Any]) -> None:
                await send({"type": "http.response.body", "body": sse_data(event), "more_body": True})

            await while_connected(asyncio.ensure_future(tab.run(write)), receive)
            await send({"type": "http.response.body", "body": b""})
        finally:
            del live.tabs[tab.id]
            gc.collect()  # a session's parts know each other, and hold megabytes
