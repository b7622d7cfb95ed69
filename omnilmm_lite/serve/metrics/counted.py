"""Around the whole app: every request is counted, whatever became of it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from omnilmm_lite.serve.guard import LEFT, STATUS
from omnilmm_lite.serve.metrics.metrics import Metrics


class Counted:
    """An app with its `Guard`, whose requests go into the metrics under the path of the route that took them."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._paths = {
            id(route.endpoint if isinstance(route, Route) else route.app): route.path
            for route in routes
            if isinstance(route, (Route, Mount))
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            path = self._paths.get(id(scope.get("endpoint")))  # which starlette's router notes there
            status = scope.get(STATUS, LEFT)
            self._metrics.request(path, scope["method"], status, time.perf_counter() - started)
