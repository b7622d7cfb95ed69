"""Whether the card computes what the CPU does, by the project's own `bench --check`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.card.run import PACKED, PRESETS, ROOT, Json, Run
from benchmarks.card.stages.build import wait_for
from benchmarks.card.synthetic import FPA_INTB, slim_bundles
from omnilmm_lite.bench.check import check
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.errors import OmniLMMError

CHECKPOINT = ROOT / "examples" / "tiny" / "checkpoint"
CALIBRATION = ROOT / "examples" / "pictures"
# The other presets have no product that these haven't; True: as a CUDA graph. The CPU takes most of the time, for each.
FULL_WIDTH = (("24gb", False), (FPA_INTB, False), ("12gb", False), ("24gb", True))


@dataclass(frozen=True)
class Log:
    """`omnilmm_lite.progress.Progress`, into the stage's log."""

    def stage(self, name: str, steps: int) -> None:
        print(f"{name} ({steps} steps)", flush=True)

    def step(self, line: str) -> None:
        pass


def measure_tiny(run: Run, save: Callable[[Json], None]) -> None:
    """The built-in model in every preset for cards."""
    bundles = tiny_bundles(run)
    _compare(run, [(folder, recorded) for folder in bundles for recorded in (False, True)], save)


def measure_width(run: Run, save: Callable[[Json], None]) -> None:
    """Two layers and two blocks at full width: other kernels than narrow products have."""
    wanted = FULL_WIDTH[:1] if run.small else FULL_WIDTH
    _compare(run, [(wait_for(run, slim_bundles(run).bundle(name)), recorded) for name, recorded in wanted], save)


def _compare(run: Run, bundles: Sequence[tuple[Path, bool]], save: Callable[[Json], None]) -> None:
    """The CPU records nothing: there, that is left out."""
    rows: list[Json] = []
    for folder, recorded in bundles:
        if run.on_card or not recorded:
            rows.append({"bundle": folder.name, "recorded": recorded, **_agreement(run, folder, recorded)})
            save({"rows": rows})


def _agreement(run: Run, folder: Path, recorded: bool) -> Json:
    """One bundle on the device against itself on the CPU. One that fails leaves the others their turn."""
    bundle = Bundle.open(folder)
    try:
        report = check(bundle, bundle, run.device.value, None, Log(), cuda_graph=recorded)
    except OmniLMMError as error:
        return {"error": str(error)}
    return {
        "error": None,
        "worst_cosine": report.features_worst,
        "prompts_kld": report.prompts.kld_mean.value,
        "steps_kld": report.steps.kld_mean.value,
        "top1_agreement": report.steps.top1_agreement.value,
        "answers": len(report.answers_differ_at),
        "answers_equal": report.answers_equal,
        "is_exact": report.is_exact,
        "misses": list(report.misses),
    }


def tiny_bundles(run: Run) -> list[Path]:
    """In every preset for cards: as `pack` brought them, or converted here from the checkpoint in examples/."""
    packed = PACKED / "tiny"
    if packed.is_dir():
        return [packed / preset for preset in PRESETS]
    return convert_tiny(run.work / "tiny")


def convert_tiny(folder: Path) -> list[Path]:
    """What isn't there yet. The decoder is quantized once, for the first preset. OmniLMMError where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "work"
    first, *others = PRESETS
    _convert(folder / first, first, "--work-dir", str(work), "--calibration", str(CALIBRATION))
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(_convert, folder / name, name, "--gptq", str(work / "gptq")) for name in others]
        for done in begun:
            done.result()
    return [folder / preset for preset in PRESETS]


def _convert(out: Path, preset: str, *options: str) -> None:
    if out.is_dir():
        return
    command = [sys.executable, "-m", "cli", "convert", str(CHECKPOINT), str(out), "--preset", preset, *options]
    if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode:
        raise OmniLMMError(f"the built-in model can't be converted with the preset {preset}: see above")
