"""Who asks, how answers are drawn, how many, and what is told of them: the fields that OpenAI's endpoints share."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.request.answer_request import AnswerRequest, ReadingRules
from omnilmm_lite.serve.request.fields import RequestFields, checked_text, json_type
from omnilmm_lite.serve.request.tables import ALIASES, INTEGERS, NUMBERS, STREAM_OPTIONS

MAX_STOPS = 16
MOST_ANSWERS = 32  # to one request
MOST_LOGPROBS = 20
LIMIT_OF_BIAS = 100.0
NO_BOUND = (-1, -2)  # as llama.cpp and Ollama say it
LENGTH = "max_tokens"
TOKEN_ID = re.compile(r"\d{1,9}", re.ASCII)


def read_shared(fields: RequestFields, rules: ReadingRules) -> AnswerRequest:
    """A request with the fields that each of the endpoints has, and as yet without a question. ApiError names the first
    one that is missing or wrong."""
    if not (model := fields.string("model")):
        raise invalid("model: it is missing; GET /v1/models names it", "model", "missing_required_parameter")
    return AnswerRequest(
        model=model,
        params=read_sampling(fields, rules),
        user=read_user(fields),
        stop=read_stop(fields),
        logit_bias=read_logit_bias(fields, rules),
        stream=fields.boolean("stream"),
        include_usage=read_include_usage(fields),
    )


def read_sampling(fields: RequestFields, rules: ReadingRules) -> SamplingParams:
    """The server's defaults with what the request says over them."""
    changes: dict[str, Any] = {}
    for name in (*NUMBERS, *INTEGERS, LENGTH):
        read = fields.number if name in NUMBERS else fields.integer
        values: dict[str, Any] = {each: value for each in _names(name) if (value := read(each)) is not None}
        if len(set(values.values())) > 1:
            first, second = list(values)[:2]
            raise invalid(f"{first}: it differs from {second}; give one of them", first)
        if values:
            changes[name] = next(iter(values.values()))
    if changes.get("top_k") == -1:  # vLLM's way to say: all
        changes["top_k"] = 0
    if changes.get("seed") == -1:  # llama.cpp's way to say: another one each time
        changes["seed"] = None
    if changes.get("top_p") == 0:  # the best token alone, as OpenAI takes it
        del changes["top_p"]
        changes["temperature"] = 0.0
    if LENGTH in changes:
        length = changes.pop(LENGTH)
        changes["max_new_tokens"] = rules.context if length in NO_BOUND else length
    try:
        return dataclasses.replace(rules.defaults, **changes)
    except InputError as error:
        said = str(error).replace("max_new_tokens", LENGTH)
        name = said.split(":")[0]
        used = next((each for each in _names(name) if fields.value(each) is not None), name)
        raise invalid(said.replace(name, used, 1), used) from None


def read_stop(fields: RequestFields) -> tuple[str, ...]:
    value = fields.value("stop")
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise invalid("stop: give a string or an array of strings", "stop", "invalid_type")
    if len(stops) > MAX_STOPS:
        raise invalid(f"stop: there are {len(stops)} strings; give at most {MAX_STOPS}", "stop")
    if "" in stops:
        raise invalid("stop: one of the strings is empty; leave it out", "stop")
    return tuple(checked_text(stop, "stop") for stop in stops)


def read_logit_bias(fields: RequestFields, rules: ReadingRules) -> dict[int, float]:
    """What is added to the logits of tokens, by their ids."""
    bias: dict[int, float] = {}
    if fields.object("logit_bias") is None:
        return bias
    for key, value in fields.value("logit_bias").items():
        name = printable(f"logit_bias.{key}")
        if not TOKEN_ID.fullmatch(key) or int(key) >= rules.vocab_size:
            raise invalid(f"{name}: there is no such token; give ids from 0 to {rules.vocab_size - 1}", "logit_bias")
        if type(value) not in (int, float):
            raise invalid(f"{name}: it is {json_type(value)}; give a number", "logit_bias", "invalid_type")
        if not -LIMIT_OF_BIAS <= value <= LIMIT_OF_BIAS:
            raise invalid(f"{name}: it is out of range; give {-LIMIT_OF_BIAS:g} to {LIMIT_OF_BIAS:g}", "logit_bias")
        bias[int(key)] = float(value)
    return bias


def read_n(fields: RequestFields, prompts: int = 1) -> int:
    """How many answers are wanted to each of so many prompts."""
    n = fields.integer("n")
    if n is None:
        n = 1
    if n < 1:
        raise invalid("n: it is out of range; give 1 or more", "n")
    if n * prompts > MOST_ANSWERS:
        raise invalid(f"n: that is more than {MOST_ANSWERS} answers to one request, the limit; send several", "n")
    return n


def read_top_logprobs(fields: RequestFields) -> int | None:
    """How many tokens are named beside each one that was said; None where log-probabilities aren't wanted."""
    wanted, top = fields.boolean("logprobs"), checked_top(fields, "top_logprobs")
    if top and not wanted:
        raise invalid("top_logprobs: it goes with logprobs: true alone", "top_logprobs")
    return (top or 0) if wanted else None


def checked_top(fields: RequestFields, name: str) -> int | None:
    top = fields.integer(name)
    if top is not None and not 0 <= top <= MOST_LOGPROBS:
        raise invalid(f"{name}: it is out of range; give 0 to {MOST_LOGPROBS}", name)
    return top


def read_include_usage(fields: RequestFields) -> bool:
    """Without a stream the usage is always told, and the options ask for nothing."""
    options = fields.object("stream_options")
    if options is None:
        return False
    options.check(STREAM_OPTIONS)
    return options.boolean("include_usage")


def read_user(fields: RequestFields) -> str:
    """Who asks, as far as clients take turns by it."""
    user = fields.value("user")
    return user if isinstance(user, str) else ""


def seeds(params: SamplingParams, n: int) -> list[SamplingParams]:
    """For `n` answers to the same question: a seed is the first one's, and counted on."""
    if params.seed is None:
        return [params] * n
    return [dataclasses.replace(params, seed=(params.seed + index) % 2**64) for index in range(n)]


def _names(name: str) -> list[str]:
    """All names of a field, its aliases first."""
    return [*(alias for alias, known in ALIASES.items() if known == name), name]
