"""What a command is told about the cluster that it is to run on."""

from __future__ import annotations

from dataclasses import dataclass

from omnilmm_lite.cluster.delivery import Way


@dataclass(frozen=True)
class ClusterOptions:
    """`address`: LOCAL, or where a cluster is. `workers`: models; None is one a card, or one a node without cards.
    `batch`: pictures that a worker is given at once. `pulled`: with PULL, what `pull` is told."""

    address: str
    workers: int | None
    batch: int
    way: Way
    pulled: str | None

    def model(self, given: str | None) -> str | None:
        """What `deliver` is told. `given`: the bundle's folder or name here."""
        return self.pulled if self.way is Way.PULL else given
