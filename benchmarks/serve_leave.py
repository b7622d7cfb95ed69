"""How soon the model is free when a client hangs up, in each phase.

python -m benchmarks.serve_leave --model BUNDLE

For a bundle of the full size, whose phases take seconds; with a small one each is over before the client can leave it.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from base64 import b64encode

import httpx
from PIL import Image

from benchmarks.serve_load import server
from tests.serve.serving import CHAT, PICTURES, question

PHASES = {"encode": ": encode", "prefill": ": prefill", "decode": "data: "}
LOOK_EVERY_S = 0.01


def new_picture() -> str:
    """A cat that no server has seen, as a data: address."""
    with Image.open(PICTURES / "cat.png") as image:
        changed = image.convert("RGB")
    changed.putpixel((0, 0), tuple(os.urandom(3)))
    file = io.BytesIO()
    changed.save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def leave(http: httpx.Client, model: str, start: str, after_s: float) -> float:
    """Hangs up `after_s` into the phase that a line with this start begins; seconds until nothing runs."""
    asked = question("Describe it in every detail.", new_picture(), stream=True) | {"model": model}
    with http.stream("POST", CHAT, json=asked) as response:
        next(line for line in response.iter_lines() if line.startswith(start))
        time.sleep(after_s)
    left = time.perf_counter()
    while http.get("/health").json()["queue"]["running"]:
        time.sleep(LOOK_EVERY_S)
    return time.perf_counter() - left


def leave_queue(http: httpx.Client, model: str) -> float:
    """Hangs up while another answer is in its way; seconds until nothing waits."""
    first = question("Describe it in every detail.", new_picture(), stream=True) | {"model": model}
    with http.stream("POST", CHAT, json=first) as running:
        next(running.iter_lines())
        with http.stream("POST", CHAT, json=first) as waiting:
            next(line for line in waiting.iter_lines() if line.startswith(": queued"))
        left = time.perf_counter()
        while http.get("/health").json()["queue"]["waiting"]:
            time.sleep(LOOK_EVERY_S)
        return time.perf_counter() - left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--after", type=float, default=1.0, metavar="SECONDS", help="into the phase (default: 1)")
    args = parser.parse_args()
    with server("--model", args.model) as (http, _):
        model = http.get("/v1/models").json()["data"][0]["id"]
        print(f"queue: free after {leave_queue(http, model):.3f} s", flush=True)
        for phase, start in PHASES.items():
            print(f"{phase}: free after {leave(http, model, start, args.after):.3f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
