"""Ray's place taken by calls, so that what runs on nodes runs here."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.cluster.briefing import Briefing
from omnilmm_lite.cluster.delivery import Delivery, Way
from omnilmm_lite.cluster.environment import environment
from omnilmm_lite.cluster.finished_rows import FinishedRows


class Actor:
    """What Ray makes of an object: methods with `remote`, whose results are asked for by `get`."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._held, name))


class Lost(Exception):
    """A worker ends here."""


def stand_in_for_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    util = SimpleNamespace(get_node_ip_address=lambda: "here")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda found: found, util=util))


def tiny_briefing(rows: FinishedRows, **changes: str) -> Briefing:
    """`changes`: of what the driver's environment is said to be."""
    return Briefing(Delivery(Way.PATH, None, Bundle.find("tiny").identity), environment() | changes, Actor(rows))
