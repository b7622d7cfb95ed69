"""How a setup shows what it fetches."""

from __future__ import annotations

from export.checkpoint_config import checkpoint_config
from omnilmm_lite.commands.pull import PullProgress
from omnilmm_lite.hub.pull import PullPlan


class SetupProgress(PullProgress):
    """As `pull` does, without a question of its own: the setup has asked for everything together."""

    def __init__(self) -> None:
        super().__init__(checkpoint_config, asks=False)

    def planned(self, plan: PullPlan) -> bool:
        self.begin(plan)
        return True
