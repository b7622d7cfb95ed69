"""simonw/llm: its model by extra-openai-models.yaml, as its documentation has it, and one question by its command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.clients.cases import (
    ANSWER,
    LONG_QUESTION,
    PICTURE_ANSWER,
    PICTURE_QUESTION,
    QUESTION,
    SCHEMA,
    WRONG,
    Setting,
    cases_of,
    check,
    check_schema,
    raises,
    say,
)

BAD, RESPONSES = "bad", "responses"  # models of these names are asked otherwise


def models(setting: Setting) -> str:
    """YAML, of which JSON is a part."""
    common = {"api_base": setting.api, "vision": True, "supports_schema": True, "supports_tools": True}
    names = {setting.model: setting.model, WRONG: WRONG, RESPONSES: setting.model}
    return json.dumps([
        {"model_id": id, "model_name": name, "api_key_name": "here", **common, "responses": id == RESPONSES}
        for id, name in names.items()
    ])  # fmt: skip


def model(setting: Setting, name: str | None = None) -> Any:
    import llm  # type: ignore[import-not-found]

    return llm.get_model(name or setting.model)


def ask(setting: Setting, text: str, name: str | None = None, **options: Any) -> Any:
    options = {"key": setting.key, "stream": False, "temperature": 0, **options}
    return model(setting, name).prompt(text, **options)


def command(setting: Setting) -> list[str]:
    return [sys.executable, "-m", "llm", "-m", setting.model, "--key", setting.key]


def text(setting: Setting) -> None:
    check(ask(setting, QUESTION).text(), ANSWER)
    check(ask(setting, QUESTION, RESPONSES).text(), ANSWER)
    options = [*command(setting), "-o", "temperature", "0", "-a", str(setting.picture), PICTURE_QUESTION]
    check(subprocess.run(options, capture_output=True, text=True, check=True).stdout, PICTURE_ANSWER)


def stream(setting: Setting) -> None:
    check("".join(ask(setting, QUESTION, stream=True)), ANSWER)


def picture(setting: Setting) -> None:
    import llm

    attachment = llm.Attachment(path=str(setting.picture))
    check(ask(setting, PICTURE_QUESTION, attachments=[attachment]).text(), PICTURE_ANSWER)
    conversation = model(setting).conversation()
    options = {"key": setting.key, "stream": False, "temperature": 0}
    conversation.prompt(QUESTION, **options).text()
    later = conversation.prompt(PICTURE_QUESTION, attachments=[attachment], **options)
    check(later.text(), PICTURE_ANSWER)


def schema(setting: Setting) -> None:
    check_schema(ask(setting, PICTURE_QUESTION, schema=SCHEMA).text())


def look_up(name: str) -> str:
    """Looks a thing up in the lexicon."""
    return f"There is nothing about {name}."


def tools(setting: Setting) -> None:
    """Whether the model calls it is its own choice."""
    chain = model(setting).chain(PICTURE_QUESTION, tools=[look_up], key=setting.key, stream=False)
    assert chain.text()


def bad_key(setting: Setting) -> None:
    raises(("AuthenticationError", "ModelError"), lambda: ask(setting, QUESTION, key="wrong").text())


def wrong_model(setting: Setting) -> None:
    raises(("NotFoundError", "ModelError"), lambda: ask(setting, QUESTION, WRONG).text())


def cancel(setting: Setting) -> None:
    """By ending the command while it prints, as Ctrl-C does."""
    before = setting.cancelled()
    options = [*command(setting), "-o", "temperature", "2", "-o", "max_tokens", "2000", LONG_QUESTION]
    with subprocess.Popen(options, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(1)
        process.kill()
    setting.wait_cancelled(before)


CASES = cases_of(globals())

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLM_USER_PATH"] = folder
        (Path(folder) / "extra-openai-models.yaml").write_text(models(Setting.from_environment()), encoding="utf-8")
        say("simonw/llm", version("llm"), CASES)
