"""What every client is asked to do, and how one's script says what came of it.

The scripts run in environments of their own, where nothing of this project is installed: the standard library alone.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

# Of the model `tiny`, greedy. A picture is its own; without one it says what it can do.
QUESTION, ANSWER = "What can you do?", "I can name things"
PICTURE_QUESTION, PICTURE_ANSWER = "What is this?", "cat"
LONG_QUESTION = "Describe it."
WRONG = "no-such-model"
CANCEL_S = 30.0  # for an answer whose client has gone
CANCELLED = re.compile(r'^omnilmm_answers_total\{reason="cancelled"\} (\d+)', re.MULTILINE)


class Case(Enum):
    TEXT = "text"
    STREAM = "streaming"
    PICTURE = "picture"
    SCHEMA = "JSON schema"
    TOOLS = "tools"
    BAD_KEY = "bad key"
    WRONG_MODEL = "wrong model"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Setting:
    """The server that is asked. `url` has no path; `picture`: the file of a cat."""

    url: str
    key: str
    model: str
    picture: Path

    @classmethod
    def from_environment(cls) -> Setting:
        env = os.environ
        return cls(env["CLIENT_URL"], env["CLIENT_KEY"], env["CLIENT_MODEL"], Path(env["CLIENT_PICTURE"]))

    @property
    def api(self) -> str:
        return f"{self.url}/v1"

    @property
    def data_url(self) -> str:
        """The picture's."""
        return f"data:image/png;base64,{base64.b64encode(self.picture.read_bytes()).decode()}"

    def cancelled(self) -> int:
        """How many answers the server has broken off so far."""
        request = urllib.request.Request(f"{self.url}/metrics", headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request) as answer:
            found = CANCELLED.search(answer.read().decode())
        return int(found[1]) if found else 0

    def wait_cancelled(self, before: int) -> None:
        """Until there is one more; AssertionError where the client's leaving didn't end its answer."""
        until = time.monotonic() + CANCEL_S
        while self.cancelled() == before:
            assert time.monotonic() < until, "the answer went on without its client"
            time.sleep(0.05)


Run = Callable[[Setting], None]  # raises where the client doesn't get what it should


def cases_of(script: Mapping[str, Any]) -> dict[Case, Run]:
    """Of a script's globals: its functions, called as the cases are."""
    return {case: script[case.name.lower()] for case in Case}


def check(text: str | None, part: str) -> None:
    assert text is not None and part in text, f"{part!r} is not in {text!r}"


def check_schema(text: str) -> None:
    """Of `SCHEMA`."""
    assert json.loads(text)["name"] in ("dog", "cat"), text


def raises(names: tuple[str, ...], call: Callable[[], object]) -> None:
    """`call` raises an error of one of these names, by itself or what it comes from."""
    try:
        call()
    except Exception as error:
        found = {each.__name__ for each in type(error).__mro__}
        assert found & set(names), f"{type(error).__name__}: {error}"
        return
    raise AssertionError("no error was raised")


def say(client: str, version: str, cases: Mapping[Case, Run]) -> None:
    """Runs the cases; a line of JSON each on standard output."""
    setting = Setting.from_environment()
    for case, run in cases.items():
        why = None
        try:
            run(setting)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            why = f"{type(error).__name__}: {error}"[:300]
        print(json.dumps({"client": client, "version": version, "case": case.value, "why": why}), flush=True)


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "enum": ["dog", "cat"]}},
    "required": ["name"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Looks a thing up in the lexicon.", "parameters": SCHEMA},
}
