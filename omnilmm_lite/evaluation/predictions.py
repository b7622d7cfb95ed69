"""The file of a model's answers to one benchmark, and in which the next run goes on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omnilmm_lite.evaluation.benchmark import Benchmark, Profile
from omnilmm_lite.evaluation.item import Item, Prediction
from omnilmm_lite.files.json_log import JsonLog
from omnilmm_lite.sampling_params import SamplingParams


class PredictionFile(JsonLog):
    """A line a question: by its index and the hash of its prompt, answered or with an error.

    A question whose prompt has changed since, by other data, is asked again.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """`settings` are those of `prediction_settings`. Errors as of `JsonLog`."""
        self._texts: dict[tuple[str, str], str] = {}
        self._likeliest: dict[tuple[str, str], str] = {}
        self._failed: set[tuple[str, str]] = set()
        super().__init__(path, settings, "eval", "-o")

    def take(self, entry: Any) -> None:
        key = str(entry["index"]), str(entry["prompt_sha256"])
        if "error" in entry:
            self._failed.add(key)
        elif isinstance(entry["text"], str):
            self._texts[key] = entry["text"]
            if isinstance(letter := entry.get("likeliest"), str):
                self._likeliest[key] = letter
        else:
            raise TypeError("an answer is a text")

    def add(self, item: Item, prompt: str, text: str, more: Mapping[str, Any] | None = None) -> None:
        """Writes an answer, with whatever else is known of it; it is on the disk when this returns."""
        self._write({"index": item.index, "prompt_sha256": prompt_hash(prompt), "text": text, **(more or {})})

    def add_error(self, item: Item, prompt: str, error: str) -> None:
        """Likewise for a question that couldn't be asked, such as one without its picture."""
        self._write({"index": item.index, "prompt_sha256": prompt_hash(prompt), "error": error})

    def is_done(self, item: Item, prompt: str, *, retry_errors: bool = False) -> bool:
        """Whether a question needn't be asked."""
        key = item.index, prompt_hash(prompt)
        return key in self._texts or (not retry_errors and key in self._failed)

    def predictions(self, asked: Iterable[tuple[Item, str]]) -> list[Prediction]:
        """The answers to these questions, in their order; those that have none are left out."""
        keyed = ((item, (item.index, prompt_hash(prompt))) for item, prompt in asked)
        return [Prediction(item, self._texts[key]) for item, key in keyed if key in self._texts]

    def likeliest(self, item: Item, prompt: str) -> str | None:
        """The option that was kept with the answer as the likeliest one; None where there is none."""
        return self._likeliest.get((item.index, prompt_hash(prompt)))

    def _write(self, line: Mapping[str, Any]) -> None:
        self.append(line)
        self.take(line)


def prediction_settings(benchmark: Benchmark, profile: Profile, model: str, params: SamplingParams) -> dict[str, Any]:
    """What answers depend on. `model`: the bundle's name and hash, or a checkpoint's."""
    return {"benchmark": benchmark.value, "profile": profile.value, "model": model, **dataclasses.asdict(params)}


def prompt_hash(prompt: str) -> str:
    """SHA-256 of the prompt's UTF-8, in hexadecimal."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
