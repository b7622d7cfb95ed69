"""ollama, its official client in Python."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import ollama

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

GREEDY = {"temperature": 0}


def client(setting: Setting, key: str | None = None) -> ollama.Client:
    return ollama.Client(setting.url, headers={"Authorization": f"Bearer {key or setting.key}"})


def ask(setting: Setting, text: str, **options: Any) -> Any:
    images = options.pop("images", None)
    messages = [{"role": "user", "content": text, **({"images": images} if images else {})}]
    return client(setting).chat(**{"model": setting.model, "messages": messages, "options": GREEDY, **options})


def text(setting: Setting) -> None:
    answer = ask(setting, QUESTION)
    check(answer.message.content, ANSWER)
    assert answer.done_reason == "stop" and answer.eval_count > 0 and answer.total_duration > 10**6
    check(client(setting).generate(setting.model, QUESTION, options=GREEDY).response, ANSWER)
    assert setting.model in [(model.model or "").removesuffix(":latest") for model in client(setting).list().models]
    assert "vision" in (client(setting).show(setting.model).capabilities or [])


def stream(setting: Setting) -> None:
    lines = list(ask(setting, QUESTION, stream=True))
    check("".join(line.message.content for line in lines), ANSWER)
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]


def picture(setting: Setting) -> None:
    check(ask(setting, PICTURE_QUESTION, images=[setting.picture]).message.content, PICTURE_ANSWER)
    images = [setting.picture.read_bytes()]
    answer = client(setting).generate(setting.model, PICTURE_QUESTION, images=images, options=GREEDY)
    check(answer.response, PICTURE_ANSWER)


def schema(setting: Setting) -> None:
    check_schema(ask(setting, PICTURE_QUESTION, format=SCHEMA).message.content)
    anything = ask(setting, PICTURE_QUESTION, format="json", options={**GREEDY, "num_predict": 40})
    assert anything.done_reason == "length" or isinstance(json.loads(anything.message.content), dict)


def tools(setting: Setting) -> None:
    """Ollama leaves the choice to the model; ours says something, or calls."""
    message = ask(setting, PICTURE_QUESTION, tools=[TOOL]).message
    calls = message.tool_calls or []
    assert message.content or calls[0].function.arguments["name"] in ("dog", "cat")


def bad_key(setting: Setting) -> None:
    raises(("ResponseError",), lambda: client(setting, "wrong").list())


def wrong_model(setting: Setting) -> None:
    try:
        ask(setting, QUESTION, model=WRONG)
    except ollama.ResponseError as error:
        assert error.status_code == 404 and WRONG in error.error
        return
    raise AssertionError("no error was raised")


def cancel(setting: Setting) -> None:
    before = setting.cancelled()
    answer = ask(setting, LONG_QUESTION, stream=True, options={"temperature": 2, "num_predict": 400})
    next(answer)
    answer.close()
    setting.wait_cancelled(before)


CASES = cases_of(globals())

if __name__ == "__main__":
    say("ollama (Python)", version("ollama"), CASES)
