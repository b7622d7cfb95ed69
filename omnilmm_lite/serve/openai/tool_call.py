"""A call of a function, taken out of the JSON that the model says, while it comes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from omnilmm_lite.serve.request.tools import ToolUse, call_head

END = "}"  # of the object around the arguments


@dataclass
class ToolCallText:
    """Passes text on as what it is. A grammar has seen to it that a text which begins as a call does is one, written
    just as its schema has it; anything else, other JSON too, is words.

    `name`: the function's, once it is known. `id`: of the call.
    """

    names: Sequence[str]
    name: str | None = None
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")
    _held: str = ""
    _is_words: bool = False

    def push(self, text: str) -> tuple[str, str]:
        """(words, arguments) that are certain now; one of them at least is empty."""
        if self._is_words:
            return text, ""
        self._held += text
        if self.name is None:
            self._recognize()
        if self.name is None:
            words = self._held if self._is_words else ""
            self._held = self._held[len(words) :]
            return words, ""
        certain = self._held.removesuffix(END)
        self._held = self._held[len(certain) :]
        return "", certain

    def finish(self, *, whole: bool) -> tuple[str, str]:
        """What was held back. `whole`: the answer ended by itself, so that the last brace isn't the arguments'."""
        held, self._held = self._held, ""
        if self.name is None:  # cut off before the function was known
            return held, ""
        return "", held.removesuffix(END) if whole else held

    def _recognize(self) -> None:
        heads = {name: call_head(name) for name in self.names}
        self.name = next((name for name, head in heads.items() if self._held.startswith(head)), None)
        if self.name is not None:
            self._held = self._held.removeprefix(heads[self.name])
        else:
            self._is_words = not any(head.startswith(self._held) for head in heads.values())


def tool_call_text(tools: ToolUse | None) -> ToolCallText:
    """For an answer that may call these functions; without any, all is words."""
    return ToolCallText([] if tools is None else [tool.name for tool in tools.tools])


def taken_apart(text: str, tools: ToolUse, *, whole: bool) -> tuple[str, ToolCallText, str]:
    """(words, the call, its arguments) of a whole answer; the call has no name where it is none."""
    call = tool_call_text(tools)
    words, arguments = call.push(text)
    more_words, more_arguments = call.finish(whole=whole)
    return words + more_words, call, arguments + more_arguments
