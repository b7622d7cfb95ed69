"""What is asked, by whichever API it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from omnilmm_lite.sampling_params import SamplingParams
from omnilmm_lite.serve.request.tools import ToolUse


@dataclass(frozen=True)
class ReadingRules:
    """What a request is held against. `context`: tokens that prompt and answer may have together, which is the length
    of an answer without a bound. `strict`: what nobody knows is refused, else it is passed over with a warning."""

    defaults: SamplingParams
    context: int
    vocab_size: int
    strict: bool = False


@dataclass(frozen=True)
class AnswerRequest:
    """A request that was read: a conversation or plain `prompts`, texts or token ids, to each of which `n` answers are
    wanted. `image_url`: the conversation's picture, a data: or http(s): address. `schema`: the JSON schema that the
    answer has to keep to, if any. `warnings`: what of the request was passed over, or understood in its own way.
    `sent`: the JSON as it came."""

    model: str
    params: SamplingParams
    user: str = ""
    messages: list[dict[str, str]] = field(default_factory=list)
    image_url: str | None = None
    prompts: tuple[str | list[int], ...] = ()
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    tools: ToolUse | None = None
    n: int = 1
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None  # None: no log-probabilities
    stream: bool = False
    include_usage: bool = False
    keep_s: float | None = None  # how long the model stays in memory; None: as the server was told
    warnings: tuple[str, ...] = ()
    sent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def warning(self) -> str | None:
        """All warnings as the one line that the answer's own field says."""
        return "; ".join(self.warnings) or None


# A body's JSON object -> the request; ApiError names the first field that is missing, wrong, or can't be honoured.
Reader: TypeAlias = Callable[[dict[str, Any], ReadingRules], AnswerRequest]
