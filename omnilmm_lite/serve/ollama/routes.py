"""The paths of Ollama's API."""

from __future__ import annotations

import time
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from omnilmm_lite.serve.answering.desk import Desk, whole_body
from omnilmm_lite.serve.answering.endpoint import AnswerEndpoint, refusal
from omnilmm_lite.serve.model.residence import ModelState
from omnilmm_lite.serve.ollama.cards import card, description, moment
from omnilmm_lite.serve.ollama.form import OllamaForm, Shape
from omnilmm_lite.serve.ollama.reading import read_chat_request, read_generate_request
from omnilmm_lite.serve.request.answer_request import AnswerRequest
from omnilmm_lite.serve.request.fields import RequestFields, parse_object
from omnilmm_lite.version import __version__

# The version of Ollama whose API this is: some programs ask for a newer one than our own number would be.
SPOKEN = "0.12.11"
KINDS = ("", "application/json", "application/x-www-form-urlencoded", "text/plain")  # `curl -d` says the third
FAR = 100 * 365.25 * 86400  # seconds; where a model stays for good, Ollama names a date like this
MANAGING = ("pull", "push", "create", "copy", "delete", "blobs/{digest:path}")
ONE_MODEL = "this server has one model; get others with `omnilmm-lite setup` or `pull`, and start it anew"
NO_EMBEDDINGS = "embeddings: this model writes answers and makes none; ask a server with a model for them"


def ollama_routes(desk: Desk) -> list[BaseRoute]:
    """Starlette answers HEAD wherever GET is answered, which some programs ask first."""
    listing = Listing(desk)
    chat = AnswerEndpoint(desk, read_chat_request, partial(_form, Shape.CHAT), KINDS)
    generate = AnswerEndpoint(desk, read_generate_request, partial(_form, Shape.GENERATE), KINDS)
    return [
        Route("/api/chat", chat, methods=["POST"]),
        Route("/api/generate", generate, methods=["POST"]),
        Route("/api/tags", listing.tags),
        Route("/api/ps", listing.loaded),
        Route("/api/show", listing.show, methods=["POST"]),
        Route("/api/version", _version),
        *(Route(f"/api/{path}", refusal(400, NO_EMBEDDINGS), methods=["POST"]) for path in ("embed", "embeddings")),
        *(Route(f"/api/{path}", refusal(400, ONE_MODEL), methods=["GET", "POST", "DELETE"]) for path in MANAGING),
    ]


class Listing:
    """What there is, and what is in memory."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def tags(self, request: Request) -> Response:
        checker = self._desk.checker
        names = (checker.name, *checker.aliases)
        return JSONResponse({"models": [card(checker.model, name, self._desk.started_at) for name in names]})

    async def loaded(self, request: Request) -> Response:
        checker, engine = self._desk.checker, self._desk.engine
        if engine.residence.state is not ModelState.LOADED:
            return JSONResponse({"models": []})
        facts = checker.model
        on_card = not str(engine.residence.device.placement).startswith("cpu")
        until = moment(time.time() + min(engine.kept_s, FAR))
        found = card(facts, checker.name, self._desk.started_at) | {
            "expires_at": until,
            "context_length": facts.context,
        }
        return JSONResponse({"models": [found | {"size_vram": found["size"] if on_card else 0}]})

    async def show(self, request: Request) -> Response:
        fields = RequestFields(parse_object(await whole_body(request, *KINDS)))
        self._desk.checker.check_model(fields.string("model") or fields.required("name"))
        return JSONResponse(description(self._desk.checker.model, self._desk.started_at))


def _form(shape: Shape, request: AnswerRequest, model: str) -> OllamaForm:
    return OllamaForm(shape, request)


async def _version(request: Request) -> Response:
    return JSONResponse({"version": SPOKEN, "omnilmm_lite": __version__})
