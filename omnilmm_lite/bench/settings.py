"""What is measured, how often."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omnilmm_lite.errors import InputError

DEFAULT_PREFILL = "64,316,512"
DEFAULT_DECODE_AT = "200,1000,2000"
DEFAULT_REPEAT = 5
DEFAULT_NEW_TOKENS = 16
DEFAULT_TURNS = 50  # of tower and decoder, see `omnilmm_lite.bench.card`


@dataclass(frozen=True)
class Settings:
    """Lengths are in tokens, shortest first. `bandwidth`: bytes a second; None to have it measured."""

    prefill: tuple[int, ...]
    decode_at: tuple[int, ...]
    repeat: int = DEFAULT_REPEAT
    new_tokens: int = DEFAULT_NEW_TOKENS  # a decode run
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--repeat", self.repeat), ("--new-tokens", self.new_tokens)):
            if value < 1:
                raise InputError(f"{option}: {value} is out of range; give 1 or more")
        if self.bandwidth is not None and not 0 < self.bandwidth < float("inf"):
            raise InputError(f"--bandwidth: {self.bandwidth / 1e9:g} is out of range; give GB/s, such as 25")

    @property
    def longest(self) -> int:
        """Tokens of context that the longest of the measurements asks for."""
        return max((*self.prefill, *(context + self.new_tokens for context in self.decode_at)), default=0)

    def within(self, context: int) -> tuple[Settings, list[str]]:
        """The lengths that `context` tokens have room for, and a line on each that was dropped."""
        prefill = tuple(tokens for tokens in self.prefill if tokens <= context)
        decode_at = tuple(tokens for tokens in self.decode_at if tokens + self.new_tokens <= context)
        notes = [
            f"prefill of {tokens} tokens is left out: the context has room for {context}"
            for tokens in self.prefill
            if tokens not in prefill
        ]
        notes += [
            f"decode at {tokens} is left out: the context has room for {context}, {self.new_tokens} new ones included"
            for tokens in self.decode_at
            if tokens not in decode_at
        ]
        return Settings(prefill, decode_at, self.repeat, self.new_tokens, self.bandwidth), notes


def parse_lengths(option: str, text: str) -> tuple[int, ...]:
    """ "64,316" -> (64, 316), sorted, each once. InputError for anything else, and for 0."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,7}", part) and int(part) > 0 for part in parts):
        raise InputError(f"{option}: {text!r} is no list of lengths; give tokens with commas between, such as 64,512")
    return tuple(sorted({int(part) for part in parts}))
