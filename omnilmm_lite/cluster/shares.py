"""How many workers a cluster has room for, and what each takes of its node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError


@dataclass(frozen=True)
class Shares:
    """`resources`: as Ray takes them, a worker's."""

    workers: int
    resources: Mapping[str, float]


def shares(ray: Any, bundle: Bundle, device: str, threads: int | None, workers: int | None) -> Shares:
    """`workers`: models; None is one a card, or one a node without cards. `device`, `threads`: as `load` takes them.
    InputError where the cluster has not what they need."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cards = int(sum(node.get("GPU", 0) for node in nodes))
    if device.startswith("cuda") or (device == "auto" and cards and bundle.manifest.target is Device.CUDA):
        if device not in ("auto", "cuda", "cuda:0"):
            raise InputError(f"--device {device}: a worker has one card, whichever is free; give cuda")
        if not cards:
            raise InputError("--device cuda: the cluster has no card; start its nodes with --num-gpus")
        return Shares(workers or cards, {"num_gpus": 1, "num_cpus": 0})
    cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        raise InputError("--ray: no node of the cluster has a processor to give; start some with --num-cpus")
    threads = threads or min(cores)
    if max(cores) < threads:
        raise InputError(f"--threads {threads}: no node has as many; the largest has {max(cores)}")
    return Shares(workers or len(cores), {"num_cpus": threads})
