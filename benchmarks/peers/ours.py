"""A worker: this project. Only the decoder is run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.task import Task, main
from omnilmm_lite import __version__
from omnilmm_lite.bench.measure import bytes_per_token
from omnilmm_lite.bench.workload import token_ids
from omnilmm_lite.engine.pages.huge_pages import start_again_with_huge_pages
from omnilmm_lite.model import BundleModel, load


class Ours:
    def __init__(self, model: BundleModel, task: Task) -> None:
        self._model, self._task = model, task
        self._ids = token_ids(model.config, task.room)

    @property
    def name(self) -> str:
        return f"omnilmm-lite {__version__}, {self._model.parts.form}"

    @property
    def bytes_per_token(self) -> int:
        return bytes_per_token(self._model.bundle, self._task.context + self._task.steps / 2) or 0

    def clear(self) -> None:
        self._model.text.decoder.clear()

    def prefill(self, tokens: int) -> None:
        text, ids = self._model.text, self._ids[:tokens]
        text.decoder.prefill(ids, text.embed(ids, None))

    def decode(self, steps: int) -> None:
        text = self._model.text
        for token in self._ids[:steps]:
            text.decoder.decode(token, text.embeddings([token]))


def load_ours(folder: Path, task: Task) -> Ours:
    return Ours(load(folder, device="cpu", context=task.room, threads=task.threads), task)


if __name__ == "__main__":
    start_again_with_huge_pages()  # as the commands do
    main(load_ours)
