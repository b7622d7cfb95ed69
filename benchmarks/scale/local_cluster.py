"""A Ray cluster of several nodes on this machine, and the processes that are its workers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 300.0


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


def kill_worker(kind: str, chance: random.Random) -> int:
    """Ends one of the processes below this one that run an actor of this class right now; its number."""
    until = time.monotonic() + PATIENCE_S
    while not (alive := [pid for pid in _below(os.getpid()) if _is_at_work(_title(pid), kind.encode())]):
        if time.monotonic() > until:
            raise SystemExit("no worker was found")
        time.sleep(0.01)
    pid = chance.choice(alive)
    if sys.platform != "win32":  # where Ray itself is a beta
        os.kill(pid, signal.SIGKILL)
    return pid


def _is_at_work(title: bytes, kind: bytes) -> bool:
    return kind in title and b"IDLE" not in title


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
