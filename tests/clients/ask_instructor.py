"""instructor, which is for answers in a form: by tools, by JSON, by a schema."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

import instructor  # type: ignore[import-not-found]
import openai
from instructor.processing.multimodal import Image  # type: ignore[import-not-found]
from pydantic import BaseModel

from tests.clients.cases import (
    LONG_QUESTION,
    PICTURE_QUESTION,
    WRONG,
    Setting,
    cases_of,
    raises,
    say,
)

FORMS = ("TOOLS", "JSON_SCHEMA", "TOOLS_STRICT")  # of instructor.Mode


class Thing(BaseModel):
    name: Literal["dog", "cat"]


def ask(setting: Setting, content: Any, form: str = "JSON_SCHEMA", **options: Any) -> Any:
    official = openai.OpenAI(base_url=setting.api, api_key=options.pop("key", setting.key), max_retries=0)
    client = instructor.from_openai(official, mode=getattr(instructor.Mode, form))
    options = {"model": setting.model, "temperature": 0, "max_retries": 0, "response_model": Thing, **options}
    return client.chat.completions.create(messages=[{"role": "user", "content": content}], **options)


def text(setting: Setting) -> None:
    assert ask(setting, PICTURE_QUESTION).name in ("dog", "cat")


def stream(setting: Setting) -> None:
    parts = list(ask(setting, PICTURE_QUESTION, response_model=instructor.Partial[Thing], stream=True))
    assert parts[-1].name in ("dog", "cat")


def picture(setting: Setting) -> None:
    found = ask(setting, [PICTURE_QUESTION, Image.from_path(setting.picture)])
    assert found.name == "cat", found


def schema(setting: Setting) -> None:
    assert ask(setting, PICTURE_QUESTION).name in ("dog", "cat")


def tools(setting: Setting) -> None:
    for form in FORMS:
        assert ask(setting, PICTURE_QUESTION, form).name in ("dog", "cat")


def bad_key(setting: Setting) -> None:
    raises(("AuthenticationError", "InstructorRetryException"), lambda: ask(setting, PICTURE_QUESTION, key="wrong"))


def wrong_model(setting: Setting) -> None:
    raises(("NotFoundError", "InstructorRetryException"), lambda: ask(setting, PICTURE_QUESTION, model=WRONG))


def cancel(setting: Setting) -> None:
    """Without a form, as the official client does it."""
    before = setting.cancelled()
    options: dict[str, Any] = {"response_model": None, "stream": True, "temperature": 2, "max_tokens": 2000}
    with ask(setting, LONG_QUESTION, **options) as answer:
        next(iter(answer))
    setting.wait_cancelled(before)


CASES = cases_of(globals())

if __name__ == "__main__":
    say("instructor", version("instructor"), CASES)
