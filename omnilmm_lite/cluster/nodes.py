"""The nodes of a cluster: which one is the driver's, and whether all are like it."""

from __future__ import annotations

import json
from typing import Any

from omnilmm_lite.cluster.environment import check_environment, environment


def driver_node(ray: Any) -> Any:
    """Where to run what belongs to the driver: what is kept there is lost with the driver only, and its disk is read
    there."""
    return _at(ray.get_runtime_context().get_node_id())


def driver_label(ray: Any) -> dict[str, str]:
    """The same for Ray Data's tasks."""
    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def check_nodes(ray: Any) -> None:
    """InputError where a node has other versions or another code than the driver. Each says it by a task of its own."""
    ask = ray.remote(environment_text)
    asked = {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": ask.options(
            num_cpus=0, scheduling_strategy=_at(node["NodeID"])
        ).remote()
        for node in ray.nodes()
        if node["Alive"]
    }
    wanted = environment()
    for name, text in asked.items():
        check_environment(wanted, json.loads(ray.get(text)), f"node {name}")


def environment_text() -> str:
    """`environment` of where it runs."""
    return json.dumps(environment())


def _at(node: str) -> Any:
    from ray.util.scheduling_strategies import (  # type: ignore[import-not-found,unused-ignore]
        NodeAffinitySchedulingStrategy,
    )

    return NodeAffinitySchedulingStrategy(node, soft=False)
