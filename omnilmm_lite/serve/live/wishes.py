"""What a page asks for when it begins a live session."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.printable import printable
from omnilmm_lite.live.answering.own_decoder import MOST_NEW_TOKENS
from omnilmm_lite.live.options import SessionOptions
from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.errors import invalid
from omnilmm_lite.serve.live.senses import Senses
from omnilmm_lite.serve.request.answer_request import ReadingRules
from omnilmm_lite.serve.request.fields import RequestFields
from omnilmm_lite.serve.request.sampling import read_sampling

MOST_NAME = 60  # characters of a source's name
LONGEST_PROMPT = 2000


@dataclass(frozen=True)
class Wishes:
    """`source`: what the frames show, for people. `params`: how answers are drawn. `speaks`: the server's voice is
    wanted."""

    source: str
    options: SessionOptions
    params: SamplingParams
    speaks: bool


def read_wishes(data: dict[str, Any], rules: ReadingRules, senses: Senses) -> Wishes:
    """Of a request's JSON object. ApiError for the first field that is wrong."""
    fields = RequestFields(data)
    defaults = SessionOptions()
    source = printable((fields.string("source") or "browser")[:MOST_NAME])
    speaks = senses.voice is not None and fields.boolean("speaks")
    prompt = fields.string("prompt") or defaults.prompt
    if len(prompt) > LONGEST_PROMPT:
        raise invalid(f"prompt: it has {len(prompt)} characters; give at most {LONGEST_PROMPT}", "prompt")
    every_s, length = fields.number("every_s"), rules.defaults.max_new_tokens
    short = dataclasses.replace(rules.defaults, max_new_tokens=min(MOST_NEW_TOKENS, length))  # it is said aloud
    params = read_sampling(fields, dataclasses.replace(rules, defaults=short))
    try:
        options = SessionOptions(
            prompt=prompt,
            every_s=defaults.every_s if every_s is None else every_s,
            answer=params,
            voice_name=senses.voice_name if speaks else "none",
            ears_name=senses.ears_name,
            outlives_source=True,
        )
    except InputError as error:
        said = str(error).replace("--every", "every_s").replace("--prompt", "prompt")
        raise invalid(said, said.partition(":")[0]) from None
    return Wishes(source, options, params, speaks)
