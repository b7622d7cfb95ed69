"""What every server is asked, in the same words and with the same clock: OpenAI's completions, prompts as token ids."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import numpy as np

from omnilmm_lite.errors import OmniLMMError

PATH = "/v1/completions"
WARM_UP_TOKENS = 8
RUNNING_TOKENS = 512  # of answers that run beside the newcomer; they are stopped once it has its token
NOTICED_S = 0.3  # a server sees that somebody has hung up; before, the slot isn't free, and another prompt's is taken
NEVER = -100  # the bias that keeps a token from coming


@dataclass(frozen=True)
class Task:
    """`prompt`: tokens in each slot; `tokens`: of each answer; `newcomer`: those of its prompt that nobody knows."""

    prompt: int = 200
    tokens: int = 128
    newcomer: int = 64
    threads: int = 2

    @property
    def room(self) -> int:
        """Tokens that a slot has to hold."""
        return self.prompt + max(self.tokens, self.newcomer + 1, RUNNING_TOKENS)


@dataclass(frozen=True)
class Measurement:
    """One server, one round. `tokens_per_s`: of all answers together, from the moment that they are asked for to the
    end of the last one. `first_token_s`: of one that joins when all others run."""

    engine: str
    answers: int
    tokens_per_s: float
    first_token_s: float


class Asker:
    """Asks a server that has a slot for each of `answers`."""

    def __init__(self, http: httpx.Client, task: Task, answers: int, vocab_size: int, eos: int) -> None:
        self._http, self._task, self._eos = http, task, eos
        self._model = http.get("/v1/models").json()["data"][0]["id"]
        self._known = task.prompt - 1  # the last one is run for what comes next
        random = np.random.default_rng(0)
        length = task.prompt + 2 * task.newcomer
        first, last = vocab_size // 100, vocab_size * 99 // 100  # special tokens and bytes lie at the ends
        drawn = random.integers(first, last, (answers, length)).tolist()  # another prompt in each slot
        self._prompts = [ids[: task.prompt] for ids in drawn]
        self._unknown = [drawn[-1][at:][: task.newcomer] for at in (task.prompt, task.prompt + task.newcomer)]

    def measure(self, engine: str) -> Measurement:
        """Warms up with the very shapes that are timed. OmniLMMError where the server does something else."""
        answers = len(self._prompts)
        with ThreadPoolExecutor(2 * answers) as threads:
            self._together(threads, 1, known=0)
            self._together(threads, WARM_UP_TOKENS)
            self._newcomer(threads, self._unknown[0])
            self._together(threads, WARM_UP_TOKENS)  # the newcomer's slot holds its prompt again
            tokens = self._task.tokens
            took = self._together(threads, tokens)
            return Measurement(engine, answers, answers * tokens / took, self._newcomer(threads, self._unknown[1]))

    def _together(self, threads: ThreadPoolExecutor, tokens: int, known: int | None = None) -> float:
        """Seconds until every slot's prompt, which is `known` there (default: all of it), has an answer of `tokens`."""
        known = self._known if known is None else known
        bodies = [self._body(ids, tokens, slot) for slot, ids in enumerate(self._prompts)]
        started = time.perf_counter()
        list(threads.map(partial(self._answered, known=known), bodies))
        return time.perf_counter() - started

    def _newcomer(self, threads: ThreadPoolExecutor, unknown: list[int]) -> float:
        """Seconds to the first token of an answer whose prompt goes on in the last slot, while all others run."""
        *others, last = self._prompts
        with self._running(threads, others) as running:
            body = self._body([*last, *unknown], 1, len(others))
            started = time.perf_counter()
            self._answered(body, self._known)
            took = time.perf_counter() - started
            if any(each.done() for each in running):
                raise OmniLMMError(f"{RUNNING_TOKENS} tokens were answered before a newcomer had its first")
        return took

    @contextmanager
    def _running(self, threads: ThreadPoolExecutor, prompts: Sequence[list[int]]) -> Iterator[list[Future[None]]]:
        """Answers without end, all of which have begun."""
        stop, begun = threading.Event(), [threading.Event() for _ in prompts]
        running = [
            threads.submit(self._stream, self._body(ids, RUNNING_TOKENS, slot), begun[slot], stop)
            for slot, ids in enumerate(prompts)
        ]
        try:
            for event in begun:
                event.wait()
            yield running
        finally:
            stop.set()
            for each in running:
                each.result()
            time.sleep(NOTICED_S)

    def _stream(self, body: dict[str, Any], begun: threading.Event, stop: threading.Event) -> None:
        """Reads an answer until it is stopped, or ends; hanging up stops it in the server, too."""
        try:
            with self._http.stream("POST", PATH, json=body | {"stream": True}) as response:
                if response.is_error:
                    raise _refused(response.read())
                for line in response.iter_lines():
                    if stop.is_set():
                        return
                    if _text(line):
                        begun.set()
        finally:
            begun.set()

    def _answered(self, body: dict[str, Any], known: int) -> None:
        """OmniLMMError where lengths are others, or less than `known` tokens of the prompt were found in a slot."""
        response = self._http.post(PATH, json=body)
        if response.is_error:
            raise _refused(response.content)
        usage = response.json()["usage"]
        found, wanted = (usage["prompt_tokens"], usage["completion_tokens"]), (len(body["prompt"]), body["max_tokens"])
        if found != wanted:
            raise OmniLMMError(f"{PATH}: a prompt and an answer of {found} tokens, not {wanted}")
        if (cached := usage["prompt_tokens_details"]["cached_tokens"]) < known:
            raise OmniLMMError(f"{PATH}: {cached} tokens of the prompt were known, not {known}")

    def _body(self, ids: list[int], tokens: int, slot: int) -> dict[str, Any]:
        """Greedy, without penalties, of just so many tokens."""
        return {
            "model": self._model,
            "prompt": ids,
            "max_tokens": tokens,
            "temperature": 0,
            "repeat_penalty": 1,
            "logit_bias": {str(self._eos): NEVER},
            "id_slot": slot,  # llama-server's; ours finds the slot that holds the prompt
            "cache_prompt": True,
        }


def _refused(content: bytes) -> OmniLMMError:
    return OmniLMMError(f"{PATH}: {content[:200].decode(errors='replace')}")


def _text(line: str) -> str:
    """What an event of a stream adds to the answer."""
    data = line.removeprefix("data: ")
    if data == line or data == "[DONE]":
        return ""
    choices = json.loads(data).get("choices")
    return str(choices[0].get("text") or "") if choices else ""
