"""What a worker must find before it begins: the driver's versions and code, and the driver's bundle, whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.cluster.delivery import Delivery, Way, deliver, received
from omnilmm_lite.cluster.environment import check_environment, environment
from omnilmm_lite.cluster.finished_rows import FinishedRows
from omnilmm_lite.errors import InputError
from tests.cluster.stand_ins import stand_in_for_ray, tiny_briefing


def test_a_node_with_other_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_ray(monkeypatch)
    assert tiny_briefing(FinishedRows()).bundle_folder() is None
    with pytest.raises(InputError, match=r"node here: numpy is .* there and 1\.0 here; install the same versions"):
        tiny_briefing(FinishedRows(), numpy="1.0").bundle_folder()
    check_environment(environment(), environment(), "here")
    with pytest.raises(InputError, match="its code is changed there"):
        check_environment(environment(), environment() | {"its code": "changed"}, "node 2")


def test_a_bundle_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNILMM_HOME", str(tmp_path / "home"))
    own = tmp_path / "own"
    shutil.copytree(BUILTIN / "tiny", own)
    bundle = Bundle.open(own)
    assert deliver(bundle, Way.PATH, None, lambda data: data) == Delivery(Way.PATH, None, bundle.identity)
    by_path = deliver(bundle, Way.PATH, str(own), lambda data: data)
    assert received(by_path, lambda data: data) == str(own)
    stored = deliver(bundle, Way.STORE, str(own), lambda data: data)
    folder = received(stored, lambda data: data)
    assert folder is not None and Path(folder) != own and Bundle.open(folder).identity == bundle.identity
    assert received(stored, lambda data: b"") == folder  # it is there already
    name = max(bundle.manifest.files, key=lambda entry: entry.size).path
    for place in (own, Path(folder)):
        data = bytearray((place / name).read_bytes())
        data[-1] ^= 1
        (place / name).write_bytes(data)
    for delivery in (by_path, stored):
        with pytest.raises(InputError):
            received(delivery, lambda data: data)
    with pytest.raises(InputError, match=r"and the driver's bundle is other@1"):
        received(Delivery(Way.PATH, None, "other@1"), lambda data: data)
