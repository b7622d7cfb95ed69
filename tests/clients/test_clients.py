"""The official clients that are installed with the tests, case by case; `make test-clients` has the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import ask_ollama, ask_openai
from tests.clients.cases import Case, Setting
from tests.serve.browser import serving
from tests.serve.serving import PICTURES


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    key: Path = tmp_path_factory.mktemp("key") / "key"
    key.write_text("secret\n", encoding="utf-8")
    with serving("tests.clients.endless_server", "--model", "tiny", "--api-key-file", str(key)) as url:
        yield Setting(url, "secret", "tiny", PICTURES / "cat.png")


@pytest.mark.parametrize("case", Case)
def test_openai(setting: Setting, case: Case) -> None:
    ask_openai.CASES[case](setting)


@pytest.mark.parametrize("case", Case)
def test_ollama(setting: Setting, case: Case) -> None:
    ask_ollama.CASES[case](setting)
