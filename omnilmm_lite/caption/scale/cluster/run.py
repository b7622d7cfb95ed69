"""The driver: lists, lets Ray Data read, describe and write, and looks that every picture has its row once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.caption.scale.cluster.parts_folder import PartsFolder
from omnilmm_lite.caption.scale.cluster.source import File, find_files
from omnilmm_lite.caption.scale.cluster.worker import CaptionWorker, ReadUnits, Work, WritePart, unit_text
from omnilmm_lite.cluster.briefing import brief
from omnilmm_lite.cluster.connection import check_installed, connected, prepare_data
from omnilmm_lite.cluster.options import ClusterOptions
from omnilmm_lite.cluster.shares import shares
from omnilmm_lite.picture.listing import Filter


@dataclass(frozen=True)
class Written:
    """Of one part."""

    rows: int
    errors: int


@dataclass(frozen=True)
class ClusterRun:
    """`source`, `output`: folders, files or addresses that fsspec knows. A batch of `cluster` is a part, too. `model`:
    where the bundle was found. `captioner`: arguments of `Captioner` beside the model. `settings`: what an output must
    have been begun with."""

    source: str
    output: str
    ending: str
    cluster: ClusterOptions
    bundle: Bundle
    model: str | None
    captioner: Mapping[str, Any]
    settings: Mapping[str, Any]
    chosen: Filter = field(default_factory=Filter)
    retry_errors: bool = False

    def run(self, on_begin: Callable[[int], None]) -> Iterator[Written]:
        """Each part as it is on the disk. `on_begin`: how many files may hold pictures without a row. InputError or
        OmniLMMError, one line, for what ends the run; what is written stays, and the next run goes on behind it."""
        check_installed()
        parts = PartsFolder(self.output, self.ending)
        parts.begin(self.settings)
        files = [*find_files(self.source, self.chosen, parts.written(retry_errors=self.retry_errors))]
        on_begin(len(files))
        if files:
            with connected(self.cluster.address) as ray:
                yield from self._parts(ray, files)
        parts.settle()

    def _parts(self, ray: Any, files: list[File]) -> Iterator[Written]:
        work = Work(brief(ray, self.bundle, self.cluster, self.model), self.captioner)
        for table in self._stages(ray, files, work).iter_batches(batch_size=None, batch_format="pyarrow"):
            for told in table.to_pylist():
                for batch in told["batches"]:
                    work.briefing.kept.forget.remote(batch)
                yield Written(told["rows"], told["errors"])

    def _stages(self, ray: Any, files: list[File], work: Work) -> Any:
        """Reading and writing take no share of a processor: they wait for disks and stores, and workers have it all."""
        prepare_data(ray)
        share = shares(
            ray,
            self.bundle,
            str(self.captioner.get("device", "auto")),
            self.captioner.get("threads"),
            self.cluster.workers,
        )
        units = [{"unit": unit_text(unit)} for unit in _grouped(files, self.cluster.batch)]
        numbers = {"batch_format": "pyarrow", "num_cpus": 0}
        return (
            ray.data.from_items(units, override_num_blocks=len(units))
            .map_batches(
                ReadUnits(self.cluster.batch).__call__,
                batch_size=1,
                compute=ray.data.TaskPoolStrategy(size=min(2 * share.workers, len(units))),
                **numbers,
            )
            .map_batches(
                CaptionWorker,
                fn_constructor_args=(work,),
                batch_size=self.cluster.batch,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=share.workers, max_tasks_in_flight_per_actor=2),
                **share.resources,
            )
            .map_batches(
                WritePart(self.output, self.ending).__call__,
                batch_size=None,
                compute=ray.data.TaskPoolStrategy(size=min(share.workers, len(units))),
                **numbers,
            )
        )


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
