"""The driver: lists, lets Ray Data read, describe and write, and looks that every picture has its row once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from typing import Any

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.caption.scale.cluster.delivery import Way, deliver
from omnilmm_lite.caption.scale.cluster.environment import check_environment, environment
from omnilmm_lite.caption.scale.cluster.finished_rows import FinishedRows
from omnilmm_lite.caption.scale.cluster.parts_folder import PartsFolder
from omnilmm_lite.caption.scale.cluster.source import File, find_files
from omnilmm_lite.caption.scale.cluster.worker import CaptionWorker, ReadUnits, Work, WritePart, unit_text
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.picture.listing import Filter

LOCAL = "local"  # in place of an address: a cluster of this machine's own, which ends with the run
PATIENCE_S = 24 * 3600  # a batch of a large model on a slow processor takes hours, and Ray Data would give up
_OURS = re.compile(r"(?:InputError|OmniLMMError|DeviceError): (.+)")


@dataclass(frozen=True)
class Written:
    """Of one part."""

    rows: int
    errors: int


@dataclass(frozen=True)
class ClusterRun:
    """`source`, `output`: folders, files or addresses that fsspec knows. `captioner`: arguments of `Captioner` beside
    the model. `settings`: what an output must have been begun with. `batch`: pictures that a worker is given at once,
    and rows of a part. `workers`: models; None is one a card, or one a node without cards."""

    source: str
    output: str
    ending: str
    address: str
    bundle: Bundle
    model: str | None
    way: Way
    captioner: Mapping[str, Any]
    settings: Mapping[str, Any]
    chosen: Filter = field(default_factory=Filter)
    workers: int | None = None
    batch: int = 64
    retry_errors: bool = False

    def run(self, on_begin: Callable[[int], None]) -> Iterator[Written]:
        """Each part as it is on the disk. `on_begin`: how many files may hold pictures without a row. InputError or
        OmniLMMError, one line, for what ends the run; what is written stays, and the next run goes on behind it."""
        if find_spec("ray") is None:
            raise InputError("--ray needs the package ray: run `pip install 'omnilmm-lite[ray]'`")
        parts = PartsFolder(self.output, self.ending)
        parts.begin(self.settings)
        files = [*find_files(self.source, self.chosen, parts.written(retry_errors=self.retry_errors))]
        on_begin(len(files))
        if files:
            with _cluster(self.address) as ray, _told():
                yield from self._parts(ray, files)
        parts.settle()

    def _parts(self, ray: Any, files: list[File]) -> Iterator[Written]:
        wanted = environment()
        for node, found in _environments(ray).items():
            check_environment(wanted, found, f"node {node}")
        rows = ray.remote(FinishedRows).options(num_cpus=0, scheduling_strategy=_here(ray)).remote()
        work = Work(deliver(self.bundle, self.way, self.model, ray.put), wanted, self.captioner, rows)
        for table in self._stages(ray, files, work).iter_batches(batch_size=None, batch_format="pyarrow"):
            for told in table.to_pylist():
                for batch in told["batches"]:
                    rows.forget.remote(batch)
                yield Written(told["rows"], told["errors"])

    def _stages(self, ray: Any, files: list[File], work: Work) -> Any:
        """Reading and writing take no share of a processor: they wait for disks and stores, and workers have it all."""
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_no_progress_timeout_s = PATIENCE_S
        workers, share = self._shares(ray)
        units = [{"unit": unit_text(unit)} for unit in _grouped(files, self.batch)]
        numbers = {"batch_format": "pyarrow", "num_cpus": 0}
        return (
            ray.data.from_items(units, override_num_blocks=len(units))
            .map_batches(
                ReadUnits(self.batch).__call__, batch_size=1, concurrency=min(2 * workers, len(units)), **numbers
            )
            .map_batches(
                CaptionWorker,
                fn_constructor_args=(work,),
                batch_size=self.batch,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
                **share,
            )
            .map_batches(
                WritePart(self.output, self.ending).__call__,
                batch_size=None,
                concurrency=min(workers, len(units)),
                **numbers,
            )
        )

    def _shares(self, ray: Any) -> tuple[int, dict[str, float]]:
        """How many workers, and what each takes of its node."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cards = int(sum(node.get("GPU", 0) for node in nodes))
        device = str(self.captioner.get("device", "auto"))
        if device.startswith("cuda") or (device == "auto" and cards and self.bundle.manifest.target is Device.CUDA):
            if not cards:
                raise InputError("--device cuda: the cluster has no card; start its nodes with --num-gpus")
            return self.workers or cards, {"num_gpus": 1, "num_cpus": 0}
        cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
        if not cores:
            raise InputError("--ray: no node of the cluster has a processor to give; start some with --num-cpus")
        threads = self.captioner.get("threads") or min(cores)
        if max(cores) < threads:
            raise InputError(f"--threads {threads}: no node has as many; the largest has {max(cores)}")
        return self.workers or len(cores), {"num_cpus": threads}


def _grouped(files: Iterable[File], size: int) -> Iterator[list[File]]:
    """Pictures by the batch; a table or archive alone."""
    pictures: list[File] = []
    for file in files:
        if file.holder.holds_many:
            yield [file]
        else:
            pictures.append(file)
    rest = iter(pictures)
    while unit := [*islice(rest, size)]:
        yield unit


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected: to a cluster of our own, or to the one at `address`. Nothing is reported to anybody."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # type: ignore[import-not-found,unused-ignore]
    import ray.data  # type: ignore[import-not-found,unused-ignore]  # noqa: F401

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():  # by whoever has called us
        yield ray
        return
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"--ray {address}: no cluster answers there: {_last_line(error)}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What Ray raises, in a line."""
    try:
        yield
    except OmniLMMError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("ray."):
            raise
        if found := _OURS.findall(str(error)):  # what a worker said, at the end of its traceback
            raise OmniLMMError(f"--ray: {found[-1]}") from None
        raise OmniLMMError(f"--ray: {_last_line(error)}; the same command goes on") from None


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _environments(ray: Any) -> dict[str, dict[str, str]]:
    """By node; each says it by a task of its own."""
    from ray.util.scheduling_strategies import (  # type: ignore[import-not-found,unused-ignore]
        NodeAffinitySchedulingStrategy,
    )

    ask = ray.remote(environment_text)
    asked = {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": ask.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in ray.nodes()
        if node["Alive"]
    }
    return {name: json.loads(ray.get(text)) for name, text in asked.items()}


def environment_text() -> str:
    """`environment` of where it runs."""
    return json.dumps(environment())


def _here(ray: Any) -> Any:
    """The driver's node: what is kept there is lost with the driver only."""
    from ray.util.scheduling_strategies import (  # type: ignore[import-not-found,unused-ignore]
        NodeAffinitySchedulingStrategy,
    )

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
