"""What the server's memory is with its model, and without it: `serve --idle-unload`.

python -m benchmarks.idle_memory --model BUNDLE [--times 3]

Asks about a picture, waits until the model is let go of, and asks again; the answers must be the same. For a bundle
whose weights are larger than the program.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import httpx

from tests.serve.browser import serving
from tests.serve.serving import CHAT, PICTURES, data_url, question

IDLE_MINUTES = 0.05
WAIT_S = 600.0
LOOK_EVERY_S = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--times", type=int, default=3, help="how often it is let go of (default: 3)")
    args = parser.parse_args()
    options = ("--model", args.model, "--idle-unload", str(IDLE_MINUTES), "--context", "512")
    texts = set[str]()
    print("| | resident, MB | loading, s | answer, s |\n|---|---|---|---|")
    with serving("cli", "serve", *options) as url, httpx.Client(base_url=url, timeout=WAIT_S, trust_env=False) as http:
        print(f"| started | {_megabytes(http)} | | |", flush=True)
        for time_number in range(1, args.times + 1):
            answer, seconds = _ask(http)
            texts.add(answer["choices"][0]["message"]["content"])
            loading = answer["timings"]["load_s"]
            print(f"| answered, {time_number} | {_megabytes(http)} | {loading:.2f} | {seconds:.1f} |", flush=True)
            _wait_unloaded(http)
            print(f"| idle, {time_number} | {_megabytes(http)} | | |", flush=True)
    if len(texts) > 1:
        print(f"the answers differ: {texts}", file=sys.stderr)
    return int(len(texts) > 1)


def _health(http: httpx.Client) -> Any:
    return http.get("/health").raise_for_status().json()


def _megabytes(http: httpx.Client) -> str:
    rss = _health(http)["memory"]["rss_bytes"]
    return "unknown" if rss is None else f"{rss / 1e6:.0f}"


def _ask(http: httpx.Client) -> tuple[Any, float]:
    """The answer about a picture, and the seconds that it took."""
    asked = question("What is this?", data_url(PICTURES / "cat.png"), max_tokens=4)
    started = time.perf_counter()
    response = http.post(CHAT, json=asked | {"model": _health(http)["model"]}).raise_for_status()
    return response.json(), time.perf_counter() - started


def _wait_unloaded(http: httpx.Client) -> None:
    while _health(http)["model_state"] != "unloaded":
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
