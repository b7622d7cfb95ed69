"""openai, the official client in Python: chat completions, and the newer responses."""

from __future__ import annotations

from typing import Any

import openai

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


def client(setting: Setting, key: str | None = None) -> openai.OpenAI:
    return openai.OpenAI(base_url=setting.api, api_key=key or setting.key, max_retries=0)


def ask(setting: Setting, content: Any, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": content}]
    options = {"model": setting.model, "temperature": 0, **options}
    return client(setting).chat.completions.create(messages=messages, **options)


def text(setting: Setting) -> None:
    check(ask(setting, QUESTION).choices[0].message.content, ANSWER)
    answer = client(setting).responses.create(model=setting.model, input=QUESTION, temperature=0)
    check(answer.output_text, ANSWER)


def stream(setting: Setting) -> None:
    chunks = list(ask(setting, QUESTION, stream=True, stream_options={"include_usage": True}))
    check("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), ANSWER)
    assert chunks[-1].usage.completion_tokens > 0
    with client(setting).responses.stream(model=setting.model, input=QUESTION, temperature=0) as events:
        check(events.get_final_response().output_text, ANSWER)


def picture(setting: Setting) -> None:
    part = {"type": "image_url", "image_url": {"url": setting.data_url, "detail": "high"}}
    check(ask(setting, [{"type": "text", "text": PICTURE_QUESTION}, part]).choices[0].message.content, PICTURE_ANSWER)


def schema(setting: Setting) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA, "strict": True}}
    check_schema(ask(setting, PICTURE_QUESTION, response_format=form).choices[0].message.content)


def tools(setting: Setting) -> None:
    message = ask(setting, PICTURE_QUESTION, tools=[TOOL], tool_choice="required").choices[0].message
    assert message.tool_calls[0].function.name == "look_up"
    check_schema(message.tool_calls[0].function.arguments)


def bad_key(setting: Setting) -> None:
    raises(("AuthenticationError",), lambda: client(setting, "wrong").models.list())


def wrong_model(setting: Setting) -> None:
    raises(("NotFoundError",), lambda: ask(setting, QUESTION, model=WRONG))


def cancel(setting: Setting) -> None:
    before = setting.cancelled()
    with ask(setting, LONG_QUESTION, stream=True, temperature=2, max_tokens=2000) as answer:
        next(iter(answer))
    setting.wait_cancelled(before)


CASES = cases_of(globals())

if __name__ == "__main__":
    say("openai (Python)", openai.__version__, CASES)
