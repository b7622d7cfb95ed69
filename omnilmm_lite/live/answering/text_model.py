"""What answers questions from text, as a session sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from omnilmm_lite.live.model_turns import Urgency


class Role(Enum):
    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True)
class Message:
    role: Role
    content: str


class TextModel(Protocol):
    """The decoder of the model that watches, or an endpoint."""

    @property
    def name(self) -> str:
        """For people: the model's name, or the endpoint's."""
        ...

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether there is room for them and an answer; where not, the oldest descriptions are left out."""
        ...

    async def complete(self, messages: Sequence[Message], urgency: Urgency, on_piece: Callable[[str], None]) -> None:
        """Gives the answer to `on_piece` in pieces, as they come, in the event loop.

        Cancelling ends it within milliseconds. Interrupted where something more urgent took its place; OmniLMMError,
        one line, where it can't answer or breaks off.
        """
        ...

    async def wait_until_back(self) -> None:
        """After `complete` failed: returns once it is worth trying again."""
        ...
