"""What every engine is asked, in the same words and with the same clock.

An engine runs in a process of its own, which loads, warms up, measures once and ends: so environments stay apart, and
no engine holds memory or cores while another is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from omnilmm_lite.machine.memory import peak_rss_bytes

WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Task:
    """Lengths are in tokens: a prompt, and the context that `steps` tokens are decoded behind."""

    prompt: int = 316  # a picture's 256 and 60 of text
    context: int = 200
    steps: int = 16
    threads: int = 2

    @property
    def room(self) -> int:
        return max(self.prompt, self.context) + max(self.steps, WARM_UP_STEPS)

    def arguments(self) -> list[str]:
        """For the command line of a worker."""
        return [word for name, value in asdict(self).items() for word in (f"--{name}", str(value))]


@dataclass(frozen=True)
class Measurement:
    """One engine, one round. `bytes_per_token`: what a decoded token reads at least, weights and cache."""

    engine: str
    load_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    bytes_per_token: int
    peak_rss_bytes: int  # 0 where the system doesn't tell (Windows)


class Engine(Protocol):
    """A loaded decoder with a cache."""

    @property
    def name(self) -> str:
        """With its version."""
        ...

    @property
    def bytes_per_token(self) -> int: ...

    def clear(self) -> None:
        """Empties the cache."""

    def prefill(self, tokens: int) -> None:
        """Appends that many tokens in one go, down to the last one's logits."""

    def decode(self, steps: int) -> None:
        """Appends tokens one by one, each down to its logits."""


def add_task_options(parser: argparse.ArgumentParser) -> None:
    for name, value in asdict(Task()).items():
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N", help=f"({value})")


def parse_task(args: argparse.Namespace) -> Task:
    return Task(args.prompt, args.context, args.steps, args.threads)


def main(load: Callable[[Path, Task], Engine]) -> None:
    """A worker's command line; the last line on standard output is its Measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    add_task_options(parser)
    args = parser.parse_args()
    task = parse_task(args)
    started = time.perf_counter()
    engine = load(args.model, task)
    load_s = time.perf_counter() - started
    print(json.dumps(asdict(measure(engine, task, load_s))), flush=True)


def measure(engine: Engine, task: Task, load_s: float) -> Measurement:
    """Warms up with the very shapes that are timed."""
    engine.clear()
    engine.prefill(task.prompt)
    engine.decode(WARM_UP_STEPS)

    engine.clear()
    started = time.perf_counter()
    engine.prefill(task.prompt)
    prefill_s = time.perf_counter() - started

    engine.clear()
    engine.prefill(task.context)
    started = time.perf_counter()
    engine.decode(task.steps)
    decode_s = time.perf_counter() - started
    return Measurement(
        engine=engine.name,
        load_s=load_s,
        prefill_tokens_per_s=task.prompt / prefill_s,
        decode_tokens_per_s=task.steps / decode_s,
        bytes_per_token=engine.bytes_per_token,
        peak_rss_bytes=peak_rss_bytes() or 0,
    )
