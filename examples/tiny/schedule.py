"""What both stages share: the optimizer, one cosine over wall time, and a state file to resume from.

The schedule runs over minutes, not steps: two shared cores give no steady pace, and the time is what is budgeted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

WARMUP = 100  # steps
FLOOR = 0.05  # of the peak rate, at the end


class Clock:
    """Steps done and seconds spent, over all the runs."""

    def __init__(self, step: int = 0, spent: float = 0.0) -> None:
        self.step = step
        self._spent = spent
        self._started = time.monotonic()

    def seconds(self) -> float:
        return self._spent + time.monotonic() - self._started

    def progress(self, minutes: float) -> float:
        return min(1.0, self.seconds() / (60 * minutes))

    @classmethod
    def resume(
        cls,
        path: Path,
        arguments: Mapping[str, Any],
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer,
    ) -> Clock:
        """Loads the state at `path`, if there is one; SystemExit where it was made with other arguments."""
        if not path.exists():
            return cls()
        state = torch.load(path, weights_only=True)
        changed = [name for name, value in _plain(arguments).items() if state["arguments"].get(name) != value]
        if changed:
            raise SystemExit(f"{path}: made with other {', '.join(changed)}; use the same or another --out")
        for name, module in modules.items():
            module.load_state_dict(state["modules"][name])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        return cls(state["step"], state["seconds"])


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Paths may differ from run to run, the rest may not."""
    return {name: value for name, value in arguments.items() if not isinstance(value, Path)}


def save_state(
    path: Path,
    clock: Clock,
    arguments: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Whole or not at all."""
    state = {
        "step": clock.step,
        "seconds": clock.seconds(),
        "arguments": _plain(arguments),
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def adamw(rates: Mapping[nn.Module, float]) -> torch.optim.AdamW:
    """Each module's peak rate; weight decay on matrices only."""
    groups: list[dict[str, Any]] = []
    for module, rate in rates.items():
        matrices = [parameter for parameter in module.parameters() if parameter.ndim >= 2]
        others = [parameter for parameter in module.parameters() if parameter.ndim < 2]
        groups += [
            {"params": matrices, "weight_decay": 0.05, "peak": rate},
            {"params": others, "weight_decay": 0.0, "peak": rate},
        ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def learning_rate(optimizer: torch.optim.Optimizer, progress: float, step: int) -> None:
    """Linear warm-up over steps, then one cosine over time."""
    share = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share * min(1.0, (step + 1) / WARMUP)
