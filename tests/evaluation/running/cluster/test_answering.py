"""The driver, here with Ray's place taken by calls: the same files as without, whatever order answers have."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest

from cli import main
from omnilmm_lite.cluster import connection
from omnilmm_lite.cluster.finished_rows import FinishedRows
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.evaluation.running.cluster import answering as answering_module
from omnilmm_lite.evaluation.running.cluster.answering import AnsweringOnCluster
from omnilmm_lite.evaluation.running.cluster.task import ReadTasks
from omnilmm_lite.evaluation.running.cluster.worker import EvalWorker
from tests.cluster.stand_ins import stand_in_for_ray, tiny_briefing
from tests.evaluation.running.conftest import OPTIONS

NAMES = ("mmbench", "easyvqa")
Tables = list[Any]


def words(data: Path, out: Path, *more: str) -> list[str]:
    return ["eval", *NAMES, "--data", str(data), "-o", str(out), *OPTIONS, "--model", "tiny", *more]


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def as_lines(found: dict[str, bytes]) -> int:
    return sum(content.count(b"\n") for name, content in found.items() if name.endswith(".jsonl"))


class Cluster:
    """Answers in this process; `arrive` says what the driver gets of that, and in which order."""

    def __init__(self) -> None:
        self.kept = FinishedRows()
        self.connections = 0

    def arrive(self, tables: Tables) -> Iterator[Any]:
        return iter(tables)

    @contextlib.contextmanager
    def connected(self, address: str) -> Iterator[Any]:
        assert address == "local"
        self.kept = FinishedRows()
        self.connections += 1
        yield SimpleNamespace(get=lambda found: found)

    def stages(self, answering: AnsweringOnCluster, ray: Any, briefing: Any) -> Any:
        size, pictures = answering._options.batch, answering._pictures
        batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
        worker = EvalWorker(briefing, answering._terms)
        numbers = pyarrow.table({"batch": range(len(batches))})
        tables = [worker(table) for table in ReadTasks(batches)(numbers)]
        return SimpleNamespace(iter_batches=lambda **how: self.arrive(tables))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    stand_in_for_ray(monkeypatch)
    found = Cluster()
    monkeypatch.setattr(connection, "find_spec", lambda name: True)
    monkeypatch.setattr(answering_module, "connected", found.connected)
    monkeypatch.setattr(answering_module, "brief", lambda *told: tiny_briefing(found.kept))
    monkeypatch.setattr(AnsweringOnCluster, "_stages", lambda self, *told: found.stages(self, *told))
    return found


@pytest.fixture(scope="module")
def whole(mini_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(words(mini_sets, out)) == 0
    return contents(out)


def test_out_of_order_and_twice(
    cluster: Cluster,
    mini_sets: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def shuffled(tables: Tables) -> Iterator[Any]:
        twice = [*tables, *tables]
        random.Random(5).shuffle(twice)
        remark = twice[0].column_names.index("remark")
        odd = [table.set_column(remark, "remark", [["device: cpu (why)"] * len(table)]) for table in twice[:3]]
        return iter([*odd, *twice[3:]])

    monkeypatch.setattr(cluster, "arrive", shuffled)
    capsys.readouterr()
    assert main(words(mini_sets, tmp_path / "out", "--ray", "--batch", "2")) == 0
    assert capsys.readouterr().err.count("device: cpu (why)\n") == 1
    assert contents(tmp_path / "out") == whole
    assert cluster.connections == 1  # for two benchmarks
    assert cluster.kept._batches == {}
    assert main(words(mini_sets, tmp_path / "out", "--ray")) == 0
    assert cluster.connections == 1  # nothing was left to ask


@pytest.mark.parametrize("is_here_first", [True, False])
def test_begun_here_and_gone_on_with_there(
    is_here_first: bool, cluster: Cluster, mini_sets: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Cut off in the middle of a picture's questions, as a kill would; those of mmbench don't lie together."""
    out = tmp_path / "out"
    ways: list[tuple[str, ...]] = [(), ("--ray",)]
    first, second = ways if is_here_first else reversed(ways)
    assert main(words(mini_sets, out, *first)) == 0
    for name, kept in (("mmbench", 5), ("easyvqa", 15)):
        file = out / f"{name}.jsonl"
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:kept]) + lines[kept][:20])
    assert main(words(mini_sets, out, *second)) == 0
    assert contents(out) == whole


def test_a_cluster_that_ends_early_loses_nothing(
    cluster: Cluster,
    mini_sets: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def breaks(tables: Tables) -> Iterator[Any]:
        yield from tables[:2]
        yield tables[3]
        raise OmniLMMError("--ray: broken")

    out = tmp_path / "out"
    monkeypatch.setattr(cluster, "arrive", breaks)
    assert main(words(mini_sets, out, "--ray", "--batch", "2")) == 1
    assert capsys.readouterr().err.endswith("omnilmm-lite: --ray: broken\n")
    answered = as_lines(contents(out))
    monkeypatch.setattr(cluster, "arrive", lambda tables: iter(tables[:1]))
    assert main(words(mini_sets, out, "--ray", "--batch", "2")) == 1
    assert "the cluster ended before all was answered" in capsys.readouterr().err
    assert 0 < answered < as_lines(contents(out)) < as_lines(whole)
    monkeypatch.setattr(cluster, "arrive", iter)
    assert main(words(mini_sets, out, "--ray", "--batch", "2")) == 0
    assert contents(out) == whole


def test_two_bundles_one_after_the_other(
    cluster: Cluster, mini_sets: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    assert main(words(mini_sets, tmp_path / "out", "--ray", "--against", "tiny")) == 0
    found = contents(tmp_path / "out")
    assert found["easyvqa.against.jsonl"] == found["easyvqa.jsonl"] == whole["easyvqa.jsonl"]
    assert json.loads(found["report.json"])["against"].startswith("tiny@")
    assert cluster.connections == 2
