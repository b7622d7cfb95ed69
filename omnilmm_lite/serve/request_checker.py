"""From a request's bytes to a task that the model can run."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from omnilmm_lite.answer.generation import room_for_answer
from omnilmm_lite.answer.grammar import Grammar, GrammarCompiler
from omnilmm_lite.engine.interrupt import Interrupted, ended_by
from omnilmm_lite.errors import ContextFullError, InputError, OmniLMMError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.model import Model
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.serve.engine import Task
from omnilmm_lite.serve.errors import SERVER_ERROR, ApiError, invalid
from omnilmm_lite.serve.request.chat_request import ChatRequest, read_request
from omnilmm_lite.serve.request.fields import parse_object
from omnilmm_lite.serve.request.pictures import Fetch, picture_bytes
from omnilmm_lite.serve.request.response_format import FIELD

CHARACTERS_PER_TOKEN = 64  # more than any token has: a longer text can't fit, and need not be tokenized to know


@dataclass(frozen=True)
class RequestChecker:
    """Checks requests, in any thread."""

    model: Model
    name: str
    fetch: Fetch | None
    decoding: DecodingProcess = field(default_factory=DecodingProcess)

    def read(self, body: bytes) -> tuple[ChatRequest, Task]:
        """The request, and its task without the picture. ApiError says what is wrong with it."""
        request = read_request(parse_object(body), self.model.sampling)
        if request.model != self.name:
            raise ApiError(404, f"model: there is no {printable(request.model)!r} here, only {self.name!r}",
                           "model", "model_not_found")  # fmt: skip
        context = self.model.text.decoder.context
        length = sum(len(message["content"]) for message in request.messages)
        if length > CHARACTERS_PER_TOKEN * context:
            raise invalid(f"messages: {length} characters can't fit the context of {context} tokens; shorten them",
                          "messages", "context_length_exceeded")  # fmt: skip
        try:
            ids = self.model.encode_chat(request.messages, image=request.image_url is not None)
            room_for_answer(len(ids), context)
        except ContextFullError as error:
            raise invalid(str(error), "messages", "context_length_exceeded") from None
        except InputError as error:
            raise invalid(str(error), "messages") from None
        return request, Task(ids, None, request.params, request.stop, self.grammar(request.schema))

    def grammar(self, schema: dict[str, Any] | None) -> Grammar | None:
        """The schema's grammar, None without a schema; ApiError where it is none, or its library is not installed."""
        if schema is None:
            return None
        try:
            return self._compiler.json_schema(schema)
        except InputError as error:
            raise invalid(f"{FIELD}: {error}", FIELD) from None

    @functools.cached_property
    def _compiler(self) -> GrammarCompiler:
        config = self.model.config
        return GrammarCompiler(self.model.parts.tokenizer_file, config.decoder.vocab_size, config.tokens.eos)

    def picture_file(self, url: str) -> bytes:
        """The picture's file; fetching it may wait for the network, where the user allowed that."""
        return picture_bytes(url, self.fetch)

    def prepare(self, file: bytes) -> PreparedImage:
        """The picture as the tower takes it. ApiError where it can't be had from the file; Interrupted where the
        thread's interrupt is set."""
        try:
            with ended_by(self.decoding.kill):
                return self.decoding.prepare(PictureFile(file), self.model.config.vision)
        except InputError as error:
            raise invalid(str(error), "messages", "invalid_image") from None
        except Interrupted:
            raise
        except OmniLMMError as error:  # the memory is short, which isn't the client's fault
            raise ApiError(500, str(error), type=SERVER_ERROR) from None
