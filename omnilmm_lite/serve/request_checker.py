"""From a request's bytes to a task that the model can run."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

from omnilmm_lite.answer.generation import room_for_answer
from omnilmm_lite.answer.grammar import Grammar, GrammarCompiler
from omnilmm_lite.engine.interrupt import Interrupted, ended_by
from omnilmm_lite.errors import ContextFullError, InputError, OmniLMMError, one_line
from omnilmm_lite.files.printable import printable
from omnilmm_lite.picture.decoding_process import DecodingProcess
from omnilmm_lite.picture.file import PictureFile
from omnilmm_lite.picture.prepared_image import PreparedImage
from omnilmm_lite.serve.errors import SERVER_ERROR, ApiError, invalid
from omnilmm_lite.serve.jobs import Task
from omnilmm_lite.serve.model.facts import ModelFacts
from omnilmm_lite.serve.request.answer_request import AnswerRequest, Reader, ReadingRules
from omnilmm_lite.serve.request.chat_request import read_chat
from omnilmm_lite.serve.request.pictures.url import Fetch, picture_bytes
from omnilmm_lite.serve.request.sampling import seeds
from omnilmm_lite.serve.request.schema.closed_schema import closed_object
from omnilmm_lite.serve.request.schema.response_format import FIELD
from omnilmm_lite.serve.request.tools import ToolMode

LATEST = ":latest"  # the tag that Ollama's clients put behind names without one
CHARACTERS_PER_TOKEN = 64  # more than any token has: a longer text can't fit, and need not be tokenized to know


@dataclass(frozen=True)
class RequestChecker:
    """Checks requests, in any thread."""

    model: ModelFacts
    name: str
    fetch: Fetch | None
    decoding: DecodingProcess = field(default_factory=DecodingProcess)
    aliases: tuple[str, ...] = ()
    strict: bool = False  # fields that nobody knows are refused

    def check_model(self, name: str) -> None:
        """ApiError 404 where another model than this server's is meant. Answering all the same would pass one model's
        answers for another's; --alias says where that is wanted."""
        if name.removesuffix(LATEST) not in {each.removesuffix(LATEST) for each in (self.name, *self.aliases)}:
            here = ", ".join(map(repr, (self.name, *self.aliases)))
            raise ApiError(404, f"model: there is no {printable(name)!r} here, only {here}; start with --alias to be "
                                "asked by another name", "model", "model_not_found")  # fmt: skip

    def read_object(self, data: dict[str, Any], read: Reader = read_chat) -> tuple[AnswerRequest, Task]:
        """The request, and its task without the picture. ApiError says what is wrong with it."""
        request = read(data, self.rules)
        self.check_model(request.model)
        if not request.messages and not request.prompts:  # which Ollama's clients ask, to have the model loaded
            return request, Task([], None, request.params, keep_s=request.keep_s)
        prompts = self._prompts(request)
        grammar = self._grammar(request)
        tasks = [
            Task(ids, None, params, request.stop, grammar, request.keep_s, request.logit_bias, request.top_logprobs,
                 continues=bool(request.prompts))
            for ids in prompts for params in seeds(request.params, request.n)
        ]  # fmt: skip
        return request, dataclasses.replace(tasks[0], more=tuple(tasks[1:]))

    @property
    def rules(self) -> ReadingRules:
        """What requests are held against."""
        model = self.model
        return ReadingRules(model.sampling, model.context, model.config.decoder.vocab_size, self.strict)

    def _prompts(self, request: AnswerRequest) -> list[list[int]]:
        """The token ids of the conversation, or of each plain prompt."""
        name, context = ("prompt" if request.prompts else "messages"), self.model.context
        texts = [message["content"] for message in request.messages] + [*request.prompts]
        length = sum(map(len, texts))
        if length > CHARACTERS_PER_TOKEN * context * max(1, len(request.prompts)):
            raise invalid(f"{name}: {length} characters can't fit the context of {context} tokens; shorten them",
                          name, "context_length_exceeded")  # fmt: skip
        try:
            if request.prompts:
                prompts = [self.model.encode_plain(each) for each in request.prompts]
            else:
                prompts = [self.model.encode_chat(request.messages, image=request.image_url is not None)]
            for ids in prompts:
                room_for_answer(len(ids), context)
        except ContextFullError as error:
            raise invalid(str(error), name, "context_length_exceeded") from None
        except InputError as error:
            raise invalid(str(error), name) from None
        return prompts

    def _grammar(self, request: AnswerRequest) -> Grammar | None:
        """What the answer has to keep to, if anything; ApiError where a schema is none, or its library is not
        installed."""
        name = FIELD if request.tools is None else "tools"
        try:
            if request.tools is not None:
                schema = request.tools.schema(request.schema)
                is_free = request.tools.mode is ToolMode.AUTO and request.schema is None
                return self._compiler.json_or_words(schema) if is_free else self._compiler.json_schema(schema)
            return None if request.schema is None else self._compiler.json_schema(closed_object(request.schema))
        except RecursionError:
            raise invalid(f"{name}: schema: it is nested too deeply", name) from None
        except InputError as error:
            raise invalid(one_line(f"{name}: {error}"), name) from None

    @functools.cached_property
    def _compiler(self) -> GrammarCompiler:
        config = self.model.config
        return GrammarCompiler(self.model.tokenizer_file, config.decoder.vocab_size, config.tokens.eos)

    def picture_file(self, url: str) -> bytes:
        """The picture's file; fetching it may wait for the network, where the user allowed that."""
        return picture_bytes(url, self.fetch)

    def prepare(self, file: bytes, side: int | None = None) -> PreparedImage:
        """The picture as the tower takes it, or as a square of another `side` in pixels. ApiError where it can't be had
        from the file; Interrupted where the thread's interrupt is set."""
        try:
            with ended_by(self.decoding.kill):
                vision = self.model.config.vision
                vision = vision if side is None else dataclasses.replace(vision, image_size=side)
                return self.decoding.prepare(PictureFile(file), vision)
        except InputError as error:
            raise invalid(str(error), "messages", "invalid_image") from None
        except Interrupted:
            raise
        except OmniLMMError as error:  # the memory is short, which isn't the client's fault
            raise ApiError(500, str(error), type=SERVER_ERROR) from None
