"""`/v1/models`: the model by its name and its aliases."""

from __future__ import annotations

import dataclasses
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from omnilmm_lite.serve.answering.desk import Desk


class Models:
    """Source: OpenAI's API reference, "List models" and "Retrieve model"."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, request: Request) -> Response:
        checker = self._desk.checker
        return JSONResponse({"object": "list", "data": [self._card(each) for each in (checker.name, *checker.aliases)]})

    async def one(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._desk.checker.check_model(name)
        return JSONResponse(self._card(name))

    def _card(self, name: str) -> dict[str, Any]:
        """The model, with two extensions: its context and its defaults, by the request's names."""
        model = self._desk.checker.model
        sampling = dataclasses.asdict(model.sampling)
        sampling["max_tokens"] = sampling.pop("max_new_tokens")
        return {
            "id": name, "object": "model", "created": self._desk.started_at, "owned_by": "omnilmm-lite",
            "context": model.context, "sampling": sampling,
        }  # fmt: skip
