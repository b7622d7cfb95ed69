"""A Ray cluster of several nodes on this machine, and the processes that are its workers."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORKER = b"CaptionWorker"


@contextlib.contextmanager
def local_cluster(nodes: int, cpus: int = 1) -> Iterator[Any]:
    """Of `nodes` nodes with `cpus` each; nothing is reported to anybody."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster  # type: ignore[import-not-found,unused-ignore]

    arguments = {"num_cpus": cpus, "object_store_memory": 200 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=cpus, object_store_memory=200 * 2**20)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def workers() -> list[int]:
    """The processes below this one that describe pictures right now."""
    return [pid for pid in _below(os.getpid()) if WORKER in _title(pid) and b"IDLE" not in _title(pid)]


def _below(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
                children[int(parent)].append(int(entry.name))
    waiting = [root]
    while waiting:
        for pid in children.pop(waiting.pop(), []):
            waiting.append(pid)
            yield pid


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
