"""Eight clients at once, clients that are killed, requests that are malformed: does the server keep its word?

python -m benchmarks.serve_load [--parallel 4]

Against the real command with the built-in model. Exits with 1 where an answer was wrong or lost, the memory grew, a
killed client left something running, or the log holds a traceback.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.serve.serving import CHAT, PICTURES, data_url, question
from tests.serve.test_refusals import MALFORMED

WARM_UP = 20  # requests after which the memory should be flat
GROWTH = 0.05  # allowed after that
QUESTIONS = ("What is this?", "Describe it.", "What color is it?", "Is there a dog?")


@dataclass
class Log:
    """What the server wrote, line by line."""

    lines: list[str] = field(default_factory=list)

    def follow(self, stream: Iterator[str]) -> None:
        self.lines.extend(stream)

    def complaints(self) -> list[str]:
        """Lines that are no JSON, hold a traceback, or tell of a failure."""
        return [line for line in self.lines if not _is_quiet(line)]


def _is_quiet(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return "mistake" not in entry and entry["level"] == "info" and entry.get("status", 200) < 500


@contextmanager
def server(*options: str) -> Iterator[tuple[httpx.Client, Log]]:
    command = [sys.executable, "-m", "cli", "serve", "--port", "0", *options]
    log = Log()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        reader = threading.Thread(target=log.follow, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            with httpx.Client(base_url=process.stdout.readline().strip(), timeout=600, trust_env=False) as http:
                yield http, log
        finally:
            process.terminate()
            reader.join()


def load(http: httpx.Client, clients: int, requests: int) -> list[str]:
    """What went wrong."""
    urls = [data_url(path) for path in sorted(PICTURES.glob("*.png"))]
    asked = [question(QUESTIONS[i % len(QUESTIONS)], urls[i % len(urls)]) for i in range(len(urls) * len(QUESTIONS))]
    alone = [_text(http.post(CHAT, json=each)) for each in asked]
    seconds: list[float] = []
    memory: list[int] = []

    def ask(i: int) -> bool:
        started = time.perf_counter()
        right = bool(_text(http.post(CHAT, json=asked[i % len(asked)])) == alone[i % len(asked)])
        seconds.append(time.perf_counter() - started)
        memory.append(http.get("/health").json()["memory"]["rss_bytes"])
        return right

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        right = list(threads.map(ask, range(requests)))
    took = time.perf_counter() - started
    base, peak = memory[WARM_UP], max(memory[WARM_UP:])
    growth = peak / base - 1
    print(f"{requests} requests by {clients} clients in {took:.1f} s: {sum(right)} right; median "
          f"{statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s")  # fmt: skip
    print(f"memory: {base / 2**20:.1f} MiB after {WARM_UP}, at most {peak / 2**20:.1f} MiB ({growth:+.1%})")
    problems = [] if all(right) else [f"{requests - sum(right)} answers differ from a single client's"]
    return problems + ([f"the memory grew by {growth:.1%}"] if growth > GROWTH else [])


def _text(response: httpx.Response) -> Any:
    return response.json()["choices"][0]["message"]["content"] if response.status_code == 200 else response.text


def kill(http: httpx.Client, count: int) -> list[str]:
    """Clients leave after their first words of an answer without end."""
    url = data_url(PICTURES / "cat.png")
    free: list[float] = []
    for seed in range(count):
        endless = question("Describe it.", url, stream=True, top_k=0, top_p=1, seed=seed) | {"temperature": 5}
        with http.stream("POST", CHAT, json=endless) as response:
            next(line for line in response.iter_lines() if re.search('"content": "[^"]', line))
        left = time.perf_counter()
        while http.get("/health").json()["queue"]["running"]:
            if time.perf_counter() - left > 60:
                return ["a client left, and its answer ran on for a minute"]
        free.append(time.perf_counter() - left)
    print(f"{count} clients left in mid-answer: free again after {statistics.median(free):.3f} s (median), "
          f"{max(free):.3f} s (longest)")  # fmt: skip
    return [] if _text(http.post(CHAT, json=question("hi", max_tokens=1))) else ["no answer after the clients left"]


def malform(http: httpx.Client) -> list[str]:
    problems = []
    for body in MALFORMED:
        sent = body.encode("utf-8", errors="surrogatepass")
        response = http.post(CHAT, content=sent, headers={"Content-Type": "application/json"})
        if not 400 <= response.status_code < 500 or "message" not in response.json()["error"]:
            problems.append(f"{body[:80]!r} was answered with {response.status_code}")
    print(f"{len(MALFORMED)} malformed requests: {len(MALFORMED) - len(problems)} refused in OpenAI's shape")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--killed", type=int, default=50)
    parser.add_argument("--parallel", default="1", metavar="N|auto", help="answers at once")
    args = parser.parse_args()
    with server("--parallel", args.parallel) as (http, log):
        problems = [*load(http, args.clients, args.requests), *kill(http, args.killed), *malform(http)]
    problems += [f"in the log: {line.strip()[:200]}" for line in log.complaints()]
    print("\n".join(problems) or "no problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
