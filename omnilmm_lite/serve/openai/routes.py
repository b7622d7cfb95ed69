"""OpenAI's API: what is below /v1."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from omnilmm_lite.serve.answering.desk import Desk
from omnilmm_lite.serve.answering.endpoint import AnswerEndpoint, refusal
from omnilmm_lite.serve.openai.chat_form import ChatForm
from omnilmm_lite.serve.openai.completion_form import CompletionForm
from omnilmm_lite.serve.openai.models import Models
from omnilmm_lite.serve.openai.response_form import ResponseForm
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.completion_request import read_completion
from omnilmm_lite.serve.request.responses_request import read_response

# What this model can't do, by the paths that clients try.
REFUSED = {
    "/v1/embeddings": "this model makes no embeddings; ask another server for them",
    "/v1/moderations": "this model judges no texts; ask another server for that",
    "/v1/images/generations": "this model makes no pictures; it answers questions about them",
    "/v1/audio/speech": "this server doesn't speak; send texts and pictures to /v1/chat/completions",
    "/v1/audio/transcriptions": "this server doesn't listen; send texts and pictures to /v1/chat/completions",
}
STORED = "responses aren't stored here; send the whole conversation in each request"


def openai_routes(desk: Desk) -> list[BaseRoute]:
    models = Models(desk)
    return [
        Route("/v1/chat/completions", AnswerEndpoint(desk, read_chat, ChatForm), methods=["POST"]),
        Route("/v1/completions", AnswerEndpoint(desk, read_completion, CompletionForm), methods=["POST"]),
        Route("/v1/responses", AnswerEndpoint(desk, read_response, ResponseForm), methods=["POST"]),
        Route("/v1/models", models.list),
        Route("/v1/models/{name:path}", models.one),
        Route("/v1/responses/{rest:path}", refusal(404, STORED), methods=["GET", "POST", "DELETE"]),
        *(Route(path, refusal(404, why), methods=["POST"]) for path, why in REFUSED.items()),
    ]
