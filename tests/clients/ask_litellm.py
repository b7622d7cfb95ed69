"""litellm, as a program calls any server that speaks OpenAI's API, and one that speaks Ollama's."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch one

import litellm  # type: ignore[import-not-found]

from tests.clients.cases import (
    ANSWER,
    LONG_QUESTION,
    PICTURE_ANSWER,
    PICTURE_QUESTION,
    QUESTION,
    SCHEMA,
    TOOL,
    WRONG,
    Setting,
    cases_of,
    check,
    check_schema,
    raises,
    say,
)


def ask(setting: Setting, content: Any, **options: Any) -> Any:
    model = options.pop("model", setting.model)
    options = {"api_key": setting.key, "temperature": 0, "max_retries": 0, **options}
    messages = [{"role": "user", "content": content}]
    return litellm.completion(f"openai/{model}", messages, api_base=setting.api, **options)


def ask_ollama(setting: Setting, content: Any, **options: Any) -> Any:
    messages = [{"role": "user", "content": content}]
    options = {"api_key": setting.key, "temperature": 0, **options}
    return litellm.completion(f"ollama_chat/{setting.model}", messages, api_base=setting.url, **options)


def text(setting: Setting) -> None:
    check(ask(setting, QUESTION).choices[0].message.content, ANSWER)
    check(ask_ollama(setting, QUESTION).choices[0].message.content, ANSWER)


def stream(setting: Setting) -> None:
    for each in (ask, ask_ollama):
        chunks = each(setting, QUESTION, stream=True)
        check("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), ANSWER)


def picture(setting: Setting) -> None:
    part = {"type": "image_url", "image_url": {"url": setting.data_url}}
    content = [{"type": "text", "text": PICTURE_QUESTION}, part]
    check(ask(setting, content).choices[0].message.content, PICTURE_ANSWER)
    check(ask_ollama(setting, content).choices[0].message.content, PICTURE_ANSWER)


def schema(setting: Setting) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA, "strict": True}}
    check_schema(ask(setting, PICTURE_QUESTION, response_format=form).choices[0].message.content)


def tools(setting: Setting) -> None:
    message = ask(setting, PICTURE_QUESTION, tools=[TOOL], tool_choice="required").choices[0].message
    check_schema(message.tool_calls[0].function.arguments)


def bad_key(setting: Setting) -> None:
    raises(("AuthenticationError",), lambda: ask(setting, QUESTION, api_key="wrong"))


def wrong_model(setting: Setting) -> None:
    raises(("NotFoundError",), lambda: ask(setting, QUESTION, model=WRONG))


def cancel(setting: Setting) -> None:
    before = setting.cancelled()
    chunks = ask(setting, LONG_QUESTION, stream=True, temperature=2, max_tokens=2000)
    next(iter(chunks))
    chunks.completion_stream.close()
    setting.wait_cancelled(before)


CASES = cases_of(globals())

if __name__ == "__main__":
    say("litellm", version("litellm"), CASES)
