"""Where the time goes: which nodes ran on the CPU, and what a picture, a prompt and a token spend it on.

Nodes and their devices are onnxruntime's own record. On a card its times are of launches; what kernels take is seen by
torch's profiler, which sees those of the whole process, where torch is built for CUDA.
"""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.card.copy_bandwidth import use_device
from benchmarks.card.result import number
from benchmarks.card.run import Json, Run
from benchmarks.card.stages.build import wait_for
from benchmarks.card.synthetic import full_bundles, measured_bundles
from omnilmm_lite.bench.measure import decode, prefill
from omnilmm_lite.bench.series import seconds
from omnilmm_lite.bench.workload import picture, token_ids
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import import_onnxruntime, providers, session_options
from omnilmm_lite.model import load

PROMPT, CONTEXT = 316, 400
SHOWN, NAME_LENGTH = 12, 90


@dataclass(frozen=True)
class NodeTime:
    """A node's entry in onnxruntime's record."""

    name: str
    operator: str
    provider: str
    us: float


def measure(run: Run, save: Callable[[Json], None]) -> None:
    """`nodes`: a row a graph. `operators`: their times. `kernels`: a row an action, where they can be seen."""
    use_device(run)
    folder = wait_for(run, full_bundles(run).bundle(measured_bundles(run)[0]))
    data: Json = {"nodes": [], "operators": [], "kernels": []}
    for graph, times in _graphs(run, folder).items():
        data["nodes"].append({"graph": graph, **count_providers(times, run.device)})
        data["operators"].append({"graph": graph, "rows": operator_times(times)})
        save(data)
    gc.collect()
    data["kernels"] = _kernels(run, folder)
    save(data)


def _graphs(run: Run, folder: Path) -> dict[str, list[NodeTime]]:
    """Each graph's nodes, from runs of their own: a picture, a prompt and two tokens."""
    from omnilmm_lite.engine.binding import encode_pictures
    from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
    from omnilmm_lite.engine.embeddings import EmbeddingTable
    from omnilmm_lite.engine.graph_decoder import GraphDecoder
    from omnilmm_lite.picture.preprocess import preprocess

    bundle, scratch = Bundle.open(folder), run.scratch("profile")
    graphs, config = bundle.manifest.graphs, bundle.manifest.config
    tower, resampler = (_open(run, bundle, name, scratch) for name in (graphs.vision, graphs.resampler))
    encode_pictures(tower, resampler, preprocess(picture(0), config.vision), run.device)
    found = {name: read_profile(each) for name, each in (("tower", tower), ("resampler", resampler))}
    del tower, resampler
    session = _open(run, bundle, graphs.decode, scratch)
    decoder = GraphDecoder(DecoderGraphs(config.decoder, lambda: session, run.device, PROMPT + 16))
    table, ids = EmbeddingTable(bundle.path(graphs.embeddings), config.decoder), token_ids(config, PROMPT + 2)
    decoder.prefill(ids[:PROMPT], table(ids[:PROMPT]))
    for token in ids[PROMPT:]:
        decoder.decode(token, table([token]))
    return found | {"decoder": read_profile(session)}


def _open(run: Run, bundle: Bundle, graph: str, folder: Path) -> Any:
    ort = import_onnxruntime()
    options = session_options(ort, None)
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / graph)
    path = str(bundle.path(graph))
    return ort.InferenceSession(path, options, providers=providers(run.device), enable_fallback=0)


def read_profile(session: Any) -> list[NodeTime]:
    """What the session has recorded; it records no more."""
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return parse_profile(events)


def parse_profile(events: list[Json]) -> list[NodeTime]:
    """The nodes' own entries: an entry each time that one ran."""
    found = []
    for event in events:
        facts = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in facts:
            name = event["name"].removesuffix("_kernel_time")
            found.append(NodeTime(name, facts.get("op_name", ""), facts["provider"], float(event["dur"])))
    return found


def count_providers(times: list[NodeTime], device: Device) -> Json:
    """How many nodes ran where; the names of those that ran elsewhere than on the device."""
    providers_of = {each.name: each for each in times}
    elsewhere = [each for each in providers_of.values() if each.provider != device.provider]
    return {
        "nodes": len(providers_of),
        "elsewhere": len(elsewhere),
        "names": [f"{each.operator} {each.name}" for each in elsewhere],
    }


def operator_times(times: list[NodeTime]) -> list[Json]:
    """By operator, the longest first: the sum over all runs, in microseconds."""
    totals: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for each in times:
        totals[each.operator] += each.us
        counts[each.operator] += 1
    ordered = sorted(totals, key=lambda name: -totals[name])
    return [{"operator": name, "runs": counts[name], "us": number(totals[name])} for name in ordered[:SHOWN]]


def _kernels(run: Run, folder: Path) -> list[Json]:
    """Of a picture, a prompt and a token: kernels by time. Empty where torch can't see any."""
    try:
        import torch
    except ImportError:
        return []
    model = load(folder, device=run.device.value)
    ids = token_ids(model.config, CONTEXT + 8)
    seeds = iter(range(1000))
    actions: dict[str, Callable[[], object]] = {
        "picture": lambda: model.encode_image(picture(next(seeds))),
        "prompt": lambda: prefill(model, ids[:PROMPT]),
        "token": lambda: decode(model, ids, CONTEXT, 1),
    }
    rows: list[Json] = []
    sees = torch.cuda.is_available()
    activity = torch.profiler.ProfilerActivity.CUDA if sees else torch.profiler.ProfilerActivity.CPU
    for name, action in actions.items():
        action()
        action()
        with torch.profiler.profile(activities=[activity]) as profiler:
            wall_s = seconds(action)
        found = _device_times(profiler) if sees else []
        rows.append(
            {
                "action": name,
                "wall_us": number(wall_s * 1e6),
                "kernels_us": number(sum(each["us"] for each in found)) if found else None,
                "launches": sum(each["runs"] for each in found),
                "rows": found[:SHOWN],
            }
        )
    return rows


def _device_times(profiler: Any) -> list[Json]:
    """Kernels and copies, the longest first."""
    rows = []
    for event in profiler.key_averages():
        total = getattr(event, "device_time_total", 0) or 0
        if total > 0:
            rows.append({"kernel": event.key[:NAME_LENGTH], "runs": int(event.count), "us": round(float(total), 1)})
    return sorted(rows, key=lambda row: -row["us"])
