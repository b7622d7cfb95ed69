"""Tries the clients that people have on a server of `tiny`, and prints client by case what works.

python -m tests.clients --work FOLDER [NAME...]

FOLDER gets an environment for each client, and keeps it. Needs a package index for Python's and, for JavaScript's, node
and npm. Ends with 1 where anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.clients.cases import Case
from tests.clients.environments import Client
from tests.serve.browser import serving
from tests.serve.serving import PICTURES

KEY, MODEL = "secret", "tiny"
NODE = ("openai", "ollama", "ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible")
CLIENTS = (
    Client("openai", ("ask_openai",)),
    Client("ollama", ("ask_ollama",)),
    Client("llm", ("ask_llm",), ("llm",)),
    Client("litellm", ("ask_litellm",), ("litellm",)),
    Client("langchain-openai", ("ask_langchain",), ("langchain-openai",)),
    Client("instructor", ("ask_instructor",), ("instructor",)),
    Client("openai-npm", ("ask_openai.mjs",), NODE),
    Client("ollama-npm", ("ask_ollama.mjs",), NODE),
    Client("ai-sdk-openai", ("ask_ai_sdk.mjs", "openai"), NODE),
    Client("ai-sdk-openai-compatible", ("ask_ai_sdk.mjs", "openai-compatible"), NODE),
)


@dataclass(frozen=True)
class Outcome:
    """One client's. `why`: of each case that was run, None where it works."""

    client: str
    why: dict[str, str | None]

    @property
    def failures(self) -> list[str]:
        missing = [f"{case.value}: it wasn't run" for case in Case if case.value not in self.why]
        return [f"{case}: {why}" for case, why in self.why.items() if why is not None] + missing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(client.name for client in CLIENTS))
    args = parser.parse_args()
    chosen = [client for client in CLIENTS if not args.names or client.name in args.names]
    work: Path = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    key = work / "key"
    key.write_text(KEY + "\n", encoding="utf-8")
    with serving("tests.clients.endless_server", "--model", MODEL, "--api-key-file", str(key)) as url:
        outcomes = [_run(client, work, url) for client in chosen]
    print(_table(outcomes))
    for outcome in outcomes:
        for failure in outcome.failures:
            print(f"{outcome.client}: {failure}", file=sys.stderr)
    return int(any(outcome.failures for outcome in outcomes))


def _run(client: Client, work: Path, url: str) -> Outcome:
    """What the client can do, with its errors on stderr."""
    print(f"{client.name} ...", file=sys.stderr, flush=True)
    picture = str(PICTURES / "cat.png")
    asked = {"CLIENT_URL": url, "CLIENT_KEY": KEY, "CLIENT_MODEL": MODEL, "CLIENT_PICTURE": picture}
    try:
        command, variables = client.command(work)
        done = subprocess.run(command, env=os.environ | variables | asked, cwd=work, stdout=subprocess.PIPE, text=True,
                              encoding="utf-8")  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:  # there is no node, or no index
        print(f"{client.name}: {error}", file=sys.stderr)
        return Outcome(client.name, {})
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]
    name = f"{lines[0]['client']} {lines[0]['version']}" if lines else client.name
    return Outcome(name, {line["case"]: line["why"] for line in lines})


def _table(outcomes: list[Outcome]) -> str:
    """Markdown, as docs/clients.md has it."""
    cases = [case.value for case in Case]
    rows = [["client", *cases], ["---"] * (1 + len(cases))]
    for outcome in outcomes:
        marks = ("-" if case not in outcome.why else "yes" if outcome.why[case] is None else "NO" for case in cases)
        rows.append([outcome.client, *marks])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
