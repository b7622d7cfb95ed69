"""langchain-openai."""

from __future__ import annotations

import base64
from importlib.metadata import version
from typing import Any

from langchain_core.messages import HumanMessage  # type: ignore[import-not-found]
from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

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
    raises,
    say,
)


def model(setting: Setting, **options: Any) -> Any:
    options = {"model": setting.model, "api_key": setting.key, "temperature": 0, "max_retries": 0, **options}
    return ChatOpenAI(base_url=setting.api, **options)


def text(setting: Setting) -> None:
    answer = model(setting).invoke(QUESTION)
    check(answer.content, ANSWER)
    assert answer.usage_metadata["output_tokens"] > 0
    check(model(setting, use_responses_api=True).invoke(QUESTION).text, ANSWER)


def stream(setting: Setting) -> None:
    check("".join(chunk.text for chunk in model(setting).stream(QUESTION)), ANSWER)


def picture(setting: Setting) -> None:
    data = base64.b64encode(setting.picture.read_bytes()).decode()
    question = {"type": "text", "text": PICTURE_QUESTION}
    part = {"type": "image", "base64": data, "mime_type": "image/png"}
    check(model(setting).invoke([HumanMessage(content=[question, part])]).content, PICTURE_ANSWER)


def schema(setting: Setting) -> None:
    for method in ("json_schema", "function_calling"):
        kept = model(setting).with_structured_output({"title": "thing", **SCHEMA}, method=method)
        assert kept.invoke(PICTURE_QUESTION)["name"] in ("dog", "cat")
    any_object = model(setting).bind(response_format={"type": "json_object"}, max_tokens=40).invoke(PICTURE_QUESTION)
    assert any_object.content.startswith("{")


def tools(setting: Setting) -> None:
    answer = model(setting).bind_tools([TOOL], tool_choice="any").invoke(PICTURE_QUESTION)
    assert answer.tool_calls[0]["args"]["name"] in ("dog", "cat")
    named = model(setting).bind_tools([TOOL], tool_choice="look_up").invoke(PICTURE_QUESTION)
    assert named.tool_calls[0]["args"]["name"] in ("dog", "cat")


def bad_key(setting: Setting) -> None:
    raises(("AuthenticationError",), lambda: model(setting, api_key="wrong").invoke(QUESTION))


def wrong_model(setting: Setting) -> None:
    raises(("NotFoundError",), lambda: model(setting, model=WRONG).invoke(QUESTION))


def cancel(setting: Setting) -> None:
    before = setting.cancelled()
    chunks = model(setting, temperature=2, max_tokens=2000).stream(LONG_QUESTION)
    while not next(chunks).text:
        pass
    chunks.close()
    setting.wait_cancelled(before)


CASES = cases_of(globals())

if __name__ == "__main__":
    say("langchain-openai", version("langchain-openai"), CASES)
