"""Writes a bundle: tokenizer, the three graphs, embeddings, parity check, manifest.

Everything is written into a folder beside OUT that is renamed at the very end: OUT is whole or it isn't there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.checkpoint.checkpoint import Checkpoint
from export.checkpoint.tokenizer import convert_tokenizer
from export.graphs import decoder as decoder_graph
from export.graphs import vision as vision_graph
from export.graphs.cuda_operators import check_cuda_graph, check_packing
from export.graphs.decoder import DecoderWeights, build_decoder
from export.graphs.prefill import build_prefill
from export.graphs.resampler import build_resampler
from export.graphs.vision import build_vision
from export.parity.bundle_parity import ParityReport, check_parity, num_steps
from export.torch_device import TorchDevice
from export.weights.tower_weights import CheckpointTower, TowerWeights
from omnilmm_lite.bundle.integrity.hashes import hash_file, sha256
from omnilmm_lite.bundle.manifest import MANIFEST, PREFILL, FileEntry, Graphs, Manifest
from omnilmm_lite.bundle.presets import Preset
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import durable_folder
from omnilmm_lite.home.snapshot import folder_name
from omnilmm_lite.progress import Progress
from omnilmm_lite.version import __version__

EMBEDDING_ROWS = 1024  # copied at a time


def check_target(out: Path) -> None:
    """InputError where a bundle can't be written to `out`: said before hours of work, not after."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: this already exists; name another folder or remove it first")
    parent = out.absolute().parent
    if not parent.is_dir():
        raise InputError(f"{parent}: there is no such folder to put the bundle into; make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{parent}: no bundle can be written there; name another folder, or allow it")


def write_bundle(
    checkpoint: Checkpoint,
    weights: DecoderWeights,
    preset: Preset,
    out: Path,
    progress: Progress,
    quantization: dict[str, Any] | None = None,
    tower: TowerWeights | None = None,
    device: TorchDevice = TorchDevice(),  # noqa: B008  # immutable
    options: Mapping[str, Any] | None = None,
) -> Manifest:
    """Builds, checks and publishes the bundle at `out`. `quantization`: settings and report, for the manifest. `tower`:
    its weights where they aren't the checkpoint's own. `device`: where the reference runs that graphs are held against.
    `options`: what was chosen, for the manifest, by which a later run knows whether this is what it would make.

    InputError where `out` is taken, OmniLMMError where a card has no kernel for a node, or not the packing's,
    ParityError where a graph is wrong; each leaves nothing at `out`.
    """
    check_target(out)
    tower = tower or CheckpointTower(checkpoint)
    with durable_folder(out) as folder:
        _write_tokenizer(checkpoint, folder, progress)
        _write_graphs(checkpoint, tower, weights, preset, folder, progress)
        if preset.target is Device.CUDA:
            for name in (Graphs().vision, Graphs().resampler):
                check_cuda_graph(folder / name)
            check_packing(check_cuda_graph(folder / Graphs().decode), preset.packing, Graphs().decode)
        progress.stage("parity with the reference", num_steps(checkpoint, preset))
        with device.full_memory_said("parity with the reference"):
            parity = check_parity(checkpoint, tower, weights, folder, preset, progress.step, device)
        source = {"folder": folder_name(checkpoint.folder)} | ({} if options is None else {"options": dict(options)})
        return _write_manifest(checkpoint, preset, folder, parity, quantization, out.name, source, progress)


def hashed_files(paths: Iterable[Path], on_file: Callable[[str], None]) -> list[dict[str, Any]]:
    """Name, size and SHA-256 of each file, as a manifest's `source` has them; `on_file` gets each name that is done."""
    entries = []
    for path in paths:
        entries.append({"path": path.name, "size": path.stat().st_size, "sha256": sha256(path)})
        on_file(path.name)
    return entries


def _write_tokenizer(checkpoint: Checkpoint, folder: Path, progress: Progress) -> None:
    progress.stage("tokenizer", 1)
    text = convert_tokenizer(checkpoint.folder, checkpoint.config.tokens).to_str()
    (folder / Graphs().tokenizer).write_text(text, encoding="utf-8")
    progress.step("the same ids as sentencepiece")


def _write_graphs(
    checkpoint: Checkpoint,
    tower: TowerWeights,
    weights: DecoderWeights,
    preset: Preset,
    folder: Path,
    progress: Progress,
) -> None:
    graphs, config = Graphs(), checkpoint.config
    progress.stage("vision tower", vision_graph.num_stages(config.vision))
    for line in build_vision(config.vision, tower, folder / graphs.vision, preset.vision):
        progress.step(line)
    progress.stage("resampler", 1)
    build_resampler(checkpoint, folder / graphs.resampler, preset.resampler)
    progress.step("saved")
    progress.stage("decoder", decoder_graph.num_stages(config.decoder))
    path = folder / graphs.decode
    for line in build_decoder(
        config.decoder,
        weights,
        path,
        preset.decoder,
        preset.accuracy_level,
        target=preset.target,
        packing=preset.packing,
    ):
        progress.step(line)
    if preset.int8_prefill:
        progress.stage("decoder for prompts", decoder_graph.num_stages(config.decoder))
        path = folder / PREFILL
        for line in build_prefill(config.decoder, weights, path, preset.decoder):
            progress.step(line)
    progress.stage("embeddings", 1)
    _write_embeddings(checkpoint, folder / graphs.embeddings, preset)
    progress.step("saved")


def _write_embeddings(checkpoint: Checkpoint, path: Path, preset: Preset) -> None:
    """The token embeddings as a table (vocab, hidden) that can be memory-mapped, a few rows in memory at a time."""
    table = checkpoint.tensor("model.embed_tokens.weight")
    dtype = preset.decoder.storage.numpy
    target = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(table.shape))
    for start in range(0, len(table), EMBEDDING_ROWS):
        rows = slice(start, start + EMBEDDING_ROWS)
        target[rows] = table[rows].float().numpy().astype(dtype)
    target.flush()


def _write_manifest(
    checkpoint: Checkpoint,
    preset: Preset,
    folder: Path,
    parity: ParityReport,
    quantization: dict[str, Any] | None,
    name: str,
    source: Mapping[str, Any],
    progress: Progress,
) -> Manifest:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    progress.stage("hashes", len(checkpoint.files) + len(paths))
    sources = hashed_files(checkpoint.files, progress.step)
    files = []
    for path in paths:
        hashes = hash_file(path)
        files.append(FileEntry(path.name, path.stat().st_size, hashes.sha256, hashes.pieces))
        progress.step(path.name)
    manifest = Manifest(
        name=name,
        tool_version=__version__,
        preset=preset.name,
        target=preset.target,
        config=checkpoint.config,
        files=tuple(files),
        time_shared=preset.time_shared,
        mapped=preset.mapped,
        packing=preset.packing,
        source={**source, "files": sources},
        quantization=quantization,
        parity=parity.to_dict(),
        graphs=Graphs(prefill=PREFILL) if preset.int8_prefill else Graphs(),
        memory=_memory(checkpoint, preset, files),
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _memory(checkpoint: Checkpoint, preset: Preset, files: list[FileEntry]) -> dict[str, int]:
    """Bytes by part: what lies on disk, and what each token of context adds to the KV cache."""
    decoder = checkpoint.config.decoder
    parts = dict.fromkeys(("vision", "resampler", "decoder", "prefill", "embeddings"), 0)
    for entry in files:
        part = entry.path.partition(".")[0]
        if part in parts:
            parts[part] += entry.size
    values_per_token = 2 * decoder.num_hidden_layers * decoder.kv_dim
    return parts | {"kv_cache_per_token": values_per_token * preset.decoder.compute.numpy.itemsize}
