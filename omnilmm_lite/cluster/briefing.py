"""What every worker is told, and must find, before it does anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.cluster.delivery import Delivery, deliver, received
from omnilmm_lite.cluster.environment import check_environment, environment
from omnilmm_lite.cluster.finished_rows import FinishedRows
from omnilmm_lite.cluster.kept_batch import KeptBatch
from omnilmm_lite.cluster.nodes import check_nodes, driver_node
from omnilmm_lite.cluster.options import ClusterOptions


@dataclass(frozen=True)
class Briefing:
    """`environment`: the driver's. `kept`: the actor of `FinishedRows`."""

    delivery: Delivery
    environment: Mapping[str, str]
    kept: Any

    def bundle_folder(self) -> str | None:
        """On a worker: where the bundle lies, or None for the built-in model. InputError where node and driver differ,
        or the bundle isn't the driver's."""
        import ray  # type: ignore[import-not-found,unused-ignore]

        check_environment(self.environment, environment(), f"node {ray.util.get_node_ip_address()}")
        return received(self.delivery, ray.get)

    def begin(self, batch: str) -> KeptBatch:
        """On a worker: a batch by its name, which is the same whoever tries it."""
        import ray  # type: ignore[import-not-found,unused-ignore]

        get: Callable[[Any], Any] = ray.get
        return KeptBatch(batch, self.kept, get)


def brief(ray: Any, bundle: Bundle, options: ClusterOptions, given: str | None) -> Briefing:
    """By the driver. `given`: where the bundle was found. InputError where a node differs from the driver's."""
    check_nodes(ray)
    kept = ray.remote(FinishedRows).options(num_cpus=0, scheduling_strategy=driver_node(ray)).remote()
    delivery = deliver(bundle, options.way, options.model(given), ray.put)
    return Briefing(delivery, environment(), kept)
