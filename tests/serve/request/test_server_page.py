"""docs/server.md lists the fields just as the code has them."""

from __future__ import annotations

import json
import re

from omnilmm_lite.serve.request.tables import ALIASES, CHAT, COMPLETION, HARMLESS, NEARLY, ONLY, RESPONSE
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
TABLES = {"chat": CHAT, "completions": COMPLETION, "responses": RESPONSE}


def part(heading: str) -> str:
    """Up to the next heading."""
    return re.split(r"^##", PAGE.split(f"### {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(heading: str) -> list[list[str]]:
    lines = [line for line in part(heading).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_honoured_fields() -> None:
    where = {name: set(TABLES) if row[1] == "all" else set(row[1].split(", "))
             for row in rows("Honoured") for name in named(row[0])}  # fmt: skip
    for endpoint, table in TABLES.items():
        assert {name for name, endpoints in where.items() if endpoint in endpoints} == table.honoured
    for name, *aliases in (named(row[0]) for row in rows("Honoured")):
        assert set(aliases) == {alias for alias, known in ALIASES.items() if known == name}


def test_the_harmless_fields() -> None:
    assert set(named(part("Harmless").strip().split("\n\n")[0])) == HARMLESS


def test_what_is_passed_over_with_a_word() -> None:
    assert {named(row[0])[0]: row[1] for row in rows("Passed over with a word")} == NEARLY


def test_the_refused_fields() -> None:
    assert {named(row[0])[0]: [json.loads(value) for value in named(row[1])] for row in rows("Refused")} == {
        name: list(values) for name, values in ONLY.items()
    }
