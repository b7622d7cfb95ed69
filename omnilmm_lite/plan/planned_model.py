"""What is planned: a model that may not be there yet, or a finished bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import MANIFEST
from omnilmm_lite.bundle.onnx_file import read_graph
from omnilmm_lite.bundle.presets import Preset, find_preset
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.plan.disk import Disk, embedding_bytes, planned_disk
from omnilmm_lite.plan.graphs import GraphTensors, graph_tensors

# Published configs, which need no download: the config's defaults are theirs.
KNOWN = {name: OmniLMMConfig() for name in ("openbmb/OmniLMM-12B", "openbmb/RLAIF-V-12B")}


@dataclass(frozen=True)
class PlannedModel:
    """A model in one preset. `is_bundle`: sizes come from its files, not from the config."""

    name: str
    config: OmniLMMConfig
    preset: Preset
    graphs: GraphTensors
    embeddings: int  # bytes
    disk: Disk
    is_bundle: bool = False

    def resident(self) -> PlannedModel:
        """As it is when nothing takes turns: see `omnilmm_lite.load`."""
        return replace(self, preset=replace(self.preset, time_shared=False))

    @classmethod
    def planned(cls, name: str, config: OmniLMMConfig, preset: Preset) -> PlannedModel:
        """What a conversion with `preset` would make."""
        graphs = graph_tensors(config, preset)
        table = embedding_bytes(config.decoder, preset)
        return cls(name, config, preset, graphs, table, planned_disk(config, preset, graphs))

    @classmethod
    def bundle(cls, name: str, bundle: Bundle) -> PlannedModel:
        """InputError where the manifest's preset is unknown, or a graph can't be read."""
        manifest = bundle.manifest
        files = manifest.graphs
        prefill = () if files.prefill == files.decode else read_graph(bundle.path(files.prefill))
        graphs = GraphTensors(
            vision=read_graph(bundle.path(files.vision)),
            resampler=read_graph(bundle.path(files.resampler)),
            decoder=read_graph(bundle.path(files.decode)),
            prefill=prefill,
        )
        sizes = {entry.path: entry.size for entry in manifest.files}
        preset = replace(
            find_preset(manifest.preset),
            target=manifest.target,
            time_shared=manifest.time_shared,
            int8_prefill=bool(prefill),
            packing=manifest.packing,
        )
        total = sum(sizes.values()) + bundle.path(MANIFEST).stat().st_size
        disk = Disk(total, checkpoint=0, work=0)
        return cls(name, manifest.config, preset, graphs, sizes[files.embeddings], disk, is_bundle=True)
