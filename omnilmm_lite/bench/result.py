"""What `omnilmm-lite bench` found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.bench.bandwidth import Bandwidth
from omnilmm_lite.bench.footprint import Footprint
from omnilmm_lite.bench.series import Series
from omnilmm_lite.machine.description import Machine


@dataclass(frozen=True)
class MeasuredBundle:
    """The bundle and where it ran. `threads`: of the CPU; None where onnxruntime chose."""

    bundle: str
    preset: str
    target: str
    file_bytes: int
    read_s: float  # reading all its files once, before anything is measured: from then on they are in the page cache
    device: str
    device_reason: str
    threads: int | None
    context: int


@dataclass(frozen=True)
class Load:
    """`ready` is `load` and a first step through each decoder graph, since a session may be opened at its first use."""

    load: Series
    ready: Series


@dataclass(frozen=True)
class PictureTimes:
    """Seconds to encode pictures; `first_s` is the first one's, which opens the tower."""

    series: Series
    first_s: float


@dataclass(frozen=True)
class Prefill:
    """A prompt of so many tokens, into an empty cache, until the logits of its last."""

    tokens: int
    series: Series

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.series.median


@dataclass(frozen=True)
class Decode:
    """`steps` tokens one after another, behind `context` cached ones.

    `bytes_per_token`: what a step at least has to read, the decoder's weights and the cache; None if the bundle doesn't
    say. `floor`: the share of the measured time that reading it takes at the memory's full bandwidth; 1 is the limit.
    """

    context: int
    steps: int
    series: Series
    bytes_per_token: int | None
    floor: float | None

    @property
    def tokens_per_s(self) -> float:
        return self.steps / self.series.median


@dataclass(frozen=True)
class Question:
    """From a chat's question to the first token of its answer.

    `total` also holds what its parts leave out: tokenizing, sampling. `picture` is 0 where the picture was known;
    `opening` is what loading the decoder took after it, next to nothing where it was loaded before or meanwhile.
    """

    question_tokens: int
    prompt_tokens: int
    prefill_tokens: int  # of them, those that the cache didn't hold
    picture: Series
    opening: Series
    prefill: Series
    total: Series


@dataclass(frozen=True)
class Result:
    """`memory`: after each stage; `peak_rss_bytes`: of all stages. Both are of this process on the host."""

    subject: MeasuredBundle
    machine: Machine
    repeat: int
    load: Load
    picture: PictureTimes
    prefill: tuple[Prefill, ...]
    decode: tuple[Decode, ...]
    first_question: Question | None
    second_question: Question | None
    memory: tuple[Footprint, ...]
    peak_rss_bytes: int | None
    bandwidth: Bandwidth | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields as they are named, each series with its samples, speeds beside them."""
        data: dict[str, Any] = _plain(self)
        for name in ("prefill", "decode"):
            for row, entry in zip(getattr(self, name), data[name], strict=True):
                entry["tokens_per_s"] = round(row.tokens_per_s, 3)
        return data


def _plain(value: Any) -> Any:
    """As dataclasses.asdict, with a series in its own words."""
    if isinstance(value, Series):
        return value.to_dict()
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
