"""The synthetic bundles: how long they took, and waiting for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.card.run import Json, Run
from benchmarks.card.synthetic import VARIANTS, all_bundles
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import OmniLMMError

POLL_S = 0.5
BUILD = "synthetic"  # its log, and the mark of one that has ended


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """Waits until all bundles are there, and opens each."""
    started, rows = time.monotonic(), []
    for bundles in all_bundles(run):
        for name in VARIANTS:
            folder = wait_for(run, bundles.bundle(name))
            size = sum(entry.size for entry in Bundle.open(folder).manifest.files)
            decoder = bundles.config.decoder
            blocks = bundles.config.vision.num_hidden_layers
            rows.append({"bundle": name, "layers": decoder.num_hidden_layers, "blocks": blocks, "bytes": size})
            save({"rows": rows, "waited_s": round(time.monotonic() - started, 1), "log": log_lines(run)})


def wait_for_quiet(run: Run) -> None:
    """Until nothing is being made any more that would slow down what is measured."""
    while not run.build_ended.is_file():
        time.sleep(POLL_S)


def log_lines(run: Run) -> list[str]:
    """What the build has said so far."""
    log = run.log(BUILD)
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []


def wait_for(run: Run, bundle: Path) -> Path:
    """The bundle, once it is whole. OmniLMMError where nothing is being built any more that could become it."""
    while not bundle.is_dir():
        if run.build_ended.is_file() and not bundle.is_dir():
            last = (log_lines(run) or ["it said nothing"])[-1]
            raise OmniLMMError(f"{bundle} was not made; the build's last line: {last}")
        time.sleep(POLL_S)
    return bundle
