"""Bundles of OmniLMM-12B's shapes with random weights, made while a card measures something else.

    python -m benchmarks.card.synthetic WORK

makes those of the run in WORK: `slim/` (two layers, two blocks) and `full/`, each with the presets for cards, one of
them also in the packing for the fpA_intB kernels. The graphs are written by the project's own builders. What presets
share is made and hashed once, and linked; no parity is checked, for which the runtime doesn't ask.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.card.card import holds
from benchmarks.card.run import PACKED, PRESETS, SLIM, Run
from benchmarks.full_width import sized
from omnilmm_lite import __version__
from omnilmm_lite.bundle.integrity.hashes import hash_file
from omnilmm_lite.bundle.manifest import MANIFEST, FileEntry, Graphs, Manifest
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.presets import Preset, find_preset
from omnilmm_lite.bundle.tensor_size import data_bytes
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.files.durable_file import link_or_copy, move_into_place
from omnilmm_lite.formats import LinearFormat
from omnilmm_lite.machine.card import read_cards
from omnilmm_lite.plan.planned_model import PlannedModel

if TYPE_CHECKING:
    from export.checkpoint.checkpoint import Checkpoint

WORKERS = 4  # beside what is measured meanwhile
GB = 1e9
TOKENIZER = "tokenizer.json"
ENTRIES = "entries.json"  # of a piece: its files, as a manifest lists them
FPA_INTB = "24gb-fpa-intb"
VARIANTS = {name: find_preset(name) for name in PRESETS} | {FPA_INTB: find_preset("24gb").packed(Packing.FPA_INTB)}


class Piece(Enum):
    """What a bundle is put together from."""

    TOWER = "tower"
    TOWER_8 = "tower in 8 bits"
    DECODER = "decoder"
    DECODER_8 = "decoder with the last layer in 8 bits"
    DECODER_FPA = "decoder for fpA_intB"
    REST = "resampler, embeddings, tokenizer"


@dataclass(frozen=True)
class Bundles:
    """All presets' bundles of one size, in one folder."""

    folder: Path
    config: OmniLMMConfig

    def bundle(self, preset: str) -> Path:
        return self.folder / preset

    def piece(self, piece: Piece) -> Path:
        return self.folder / "pieces" / piece.name.lower()

    @property
    def missing_bytes(self) -> int:
        """What is still to be written."""
        sizes: dict[Piece, int] = {}
        for name, preset in VARIANTS.items():
            planned = PlannedModel.planned(name, self.config, preset)
            tower, decoder = (data_bytes(each) for each in (planned.graphs.vision, planned.graphs.decoder))
            rest = planned.disk.bundle - tower - decoder
            sizes |= dict(zip(pieces(preset), (tower, decoder, rest), strict=True))
        return sum(size for piece, size in sizes.items() if not self.piece(piece).is_dir())


def pieces(preset: Preset) -> tuple[Piece, Piece, Piece]:
    """The tower, the decoder and the rest of a preset's bundle."""
    tower = Piece.TOWER if preset.tower is LinearFormat.FLOAT else Piece.TOWER_8
    decoder = Piece.DECODER if preset.lm_head_bits == 16 else Piece.DECODER_8
    return tower, Piece.DECODER_FPA if preset.packing is Packing.FPA_INTB else decoder, Piece.REST


def full_bundles(run: Run) -> Bundles:
    """Those that speed is measured with."""
    return Bundles(run.bundles / ("slim" if run.small else "full"), run.config)


def slim_bundles(run: Run) -> Bundles:
    """Two layers and two blocks."""
    return Bundles(run.bundles / "slim", sized(*SLIM))


def all_bundles(run: Run) -> list[Bundles]:
    """What a run needs, what is quickly made first."""
    found = {each.folder: each for each in (slim_bundles(run), full_bundles(run))}
    return list(found.values())


def measured_bundles(run: Run) -> tuple[str, ...]:
    """Those that speed is measured with: of the largest preset that the card has the memory for."""
    cards = read_cards()
    if not run.on_card or holds(cards, 24):
        return "24gb", FPA_INTB
    return (next((f"{gb}gb" for gb in (16, 12) if holds(cards, gb)), "8gb"),)


def make_piece(bundles: Bundles, piece: Piece, tokenizer: Path, threads: int) -> str:
    """Writes one piece's folder, which appears when it is whole; a line about it."""
    import torch

    from benchmarks.card.synthetic_weights import SyntheticWeights
    from export.graphs.decoder import build_decoder
    from export.graphs.resampler import build_resampler
    from export.graphs.vision import build_vision

    torch.set_num_threads(threads)
    started = time.perf_counter()
    preset = next(each for each in VARIANTS.values() if piece in pieces(each))
    weights, graphs, config = SyntheticWeights(bundles.config, preset), Graphs(), bundles.config
    target = bundles.piece(piece)
    folder = target.with_name(f"{target.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines: Iterator[str] = iter(())
    if piece in (Piece.TOWER, Piece.TOWER_8):
        lines = build_vision(config.vision, weights, folder / graphs.vision, preset.vision)
    elif piece is Piece.REST:
        # of a checkpoint, the builder asks for the config and for modules alone
        build_resampler(cast("Checkpoint", weights), folder / graphs.resampler, preset.resampler)
        table = weights.array("model.embed_tokens.weight").astype(preset.decoder.storage.numpy)
        np.save(folder / graphs.embeddings, table)
        shutil.copyfile(tokenizer, folder / graphs.tokenizer)
    else:
        lines = build_decoder(
            config.decoder,
            weights,
            folder / graphs.decode,
            preset.decoder,
            preset.accuracy_level,
            target=preset.target,
            packing=preset.packing,
        )
    for _ in lines:
        pass
    entries = []
    for path in sorted(folder.iterdir()):
        hashes = hash_file(path)
        entries.append(FileEntry(path.name, path.stat().st_size, hashes.sha256, hashes.pieces))
    (folder / ENTRIES).write_text(json.dumps([dataclasses.asdict(entry) for entry in entries]), encoding="utf-8")
    move_into_place(folder, target)
    size = sum(entry.size for entry in entries)
    seconds = time.perf_counter() - started
    return f"{bundles.folder.name}: {piece.value}: {size / GB:.2f} GB in {seconds:.1f} s"


def put_together(bundles: Bundles, name: str) -> None:
    """A bundle of links to its pieces, with a manifest of its own."""
    target = bundles.bundle(name)
    if target.is_dir():
        return
    folder = target.with_name(f"{name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    preset = VARIANTS[name]
    files = []
    for piece in pieces(preset):
        entries = json.loads((bundles.piece(piece) / ENTRIES).read_text(encoding="utf-8"))
        files += [FileEntry(**entry | {"hashes": tuple(entry["hashes"])}) for entry in entries]
    for entry in files:
        source = next(path for piece in pieces(preset) if (path := bundles.piece(piece) / entry.path).is_file())
        link_or_copy(source, folder / entry.path)
    decoder = bundles.config.decoder
    per_token = 2 * decoder.num_hidden_layers * decoder.kv_dim * preset.decoder.compute.numpy.itemsize
    manifest = Manifest(
        name=f"synthetic-{name}",
        tool_version=__version__,
        preset=preset.name,
        target=preset.target,
        config=bundles.config,
        files=tuple(sorted(files, key=lambda entry: entry.path)),
        time_shared=preset.time_shared,
        mapped=preset.mapped,
        packing=preset.packing,
        memory={"kv_cache_per_token": per_token},
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    move_into_place(folder, target)


def write_tokenizer(path: Path) -> None:
    """The full vocabulary's: as `pack` brought it, or made from the tests' own."""
    packed = PACKED / TOKENIZER
    if packed.is_file():
        shutil.copyfile(packed, path)
        return
    from export.checkpoint.tokenizer import convert_tokenizer
    from tests.small_checkpoint import Form
    from tests.small_checkpoint import write_tokenizer as write_source

    source = path.parent / "tokenizer"
    source.mkdir(exist_ok=True)
    write_source(source, Form.BIN)
    path.write_text(convert_tokenizer(source, OmniLMMConfig().tokens).to_str(), encoding="utf-8")


def make(all_sizes: list[Bundles], work: Path, workers: int) -> None:
    """All that is missing, the smallest bundles first. OmniLMMError where a piece can't be made."""
    tokenizer = work / TOKENIZER
    if not tokenizer.is_file():
        write_tokenizer(tokenizer)
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")  # torch's threads don't survive a fork
    tasks = [(bundles, piece) for bundles in all_sizes for piece in Piece if not bundles.piece(piece).is_dir()]
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        begun = [pool.submit(make_piece, *task, tokenizer=tokenizer, threads=threads) for task in tasks]
        for done in as_completed(begun):
            print(done.result(), flush=True)
            put_all_together(all_sizes)
    put_all_together(all_sizes)


def put_all_together(all_sizes: list[Bundles]) -> None:
    """Those whose pieces are there."""
    for bundles in all_sizes:
        for name, preset in VARIANTS.items():
            if all(bundles.piece(piece).is_dir() for piece in pieces(preset)):
                put_together(bundles, name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    args = parser.parse_args()
    started = time.perf_counter()
    workers = max(1, min(WORKERS, (os.cpu_count() or 1) // 2))
    try:
        make(all_bundles(Run.read(args.work)), args.work, workers)
    except OmniLMMError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"all bundles: {time.perf_counter() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
