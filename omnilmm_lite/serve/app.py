"""The application: the rooms' routes, the page, and what is asked of the server itself."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from omnilmm_lite.machine.memory import peak_rss_bytes, rss_bytes
from omnilmm_lite.serve.access import Access
from omnilmm_lite.serve.answering.desk import Desk
from omnilmm_lite.serve.engine import Engine
from omnilmm_lite.serve.guard import Guard, exception_handlers
from omnilmm_lite.serve.live.routes import live_routes
from omnilmm_lite.serve.live.senses import Senses
from omnilmm_lite.serve.metrics.counted import Counted
from omnilmm_lite.serve.metrics.metrics import Metrics
from omnilmm_lite.serve.ollama.routes import ollama_routes
from omnilmm_lite.serve.openai.routes import openai_routes
from omnilmm_lite.serve.preview import preview_routes
from omnilmm_lite.serve.request_checker import RequestChecker

PAGE = Path(__file__).parent / "page"
# By which browsers go, as they are told "nosniff"; Windows' registry, where Python looks, may have others for them.
PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

# What each room answers; a new API is a line here.
Routes: TypeAlias = Callable[[Desk], list[BaseRoute]]
ROOMS: tuple[Routes, ...] = (openai_routes, ollama_routes, preview_routes)


@dataclass(frozen=True)
class Server:
    """One model, all its APIs, and the page. `metrics`: those that hear the engine's events. `senses`: of live
    sessions."""

    engine: Engine
    checker: RequestChecker
    access: Access
    metrics: Metrics = field(default_factory=Metrics)
    senses: Senses = field(default_factory=Senses)

    def app(self) -> ASGIApp:
        desk = Desk(self.engine, self.checker)
        routes: list[BaseRoute] = [route for room in ROOMS for route in room(desk)]
        routes += live_routes(desk, self.senses)
        routes += [Route("/health", self.health), Route("/metrics", self.exposition)]
        if PAGE.is_dir():
            for ending, kind in PAGE_TYPES.items():
                mimetypes.add_type(kind, ending)
            routes += [Route("/", self.page), Route("/live", self.live_page)]
            routes += [Mount("/page", StaticFiles(directory=PAGE))]
        guarded = Guard(Starlette(routes=routes, exception_handlers=exception_handlers()), self.access)
        return Counted(guarded, routes, self.metrics)

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def live_page(self, request: Request) -> Response:
        return FileResponse(PAGE / "live" / "index.html")

    async def exposition(self, request: Request) -> Response:
        """The metrics, as Prometheus asks for them."""
        body, content_type = self.metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def health(self, request: Request) -> Response:
        engine, device = self.engine, self.engine.residence.device
        return JSONResponse({
            "status": "ok",
            "model": self.checker.name,
            "model_state": engine.residence.state.value,
            "device": {"device": str(device.placement), "reason": device.reason},
            "memory": {"rss_bytes": rss_bytes(), "peak_rss_bytes": peak_rss_bytes()},
            "queue": {"running": engine.running, "waiting": engine.waiting, "limit": engine.limit},
            "context": self.checker.model.context,
        })  # fmt: skip
