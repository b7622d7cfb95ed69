"""What is in a bundle and what a conversion made, for people."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from omnilmm_lite.bundle.manifest import FileEntry, Manifest
from omnilmm_lite.bundle.report_fields import entries, items, largest_numbers, numbers, projections, scalars
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.console import plain_console

WORST_LAYERS = 5  # shown
WORST_COSINE = 0.99  # of a token: a block of the tower below is pointed out


def print_manifest(manifest: Manifest, *, verified: bool) -> None:
    """A bundle's contents for people."""
    console = plain_console()
    folder = manifest.source.get("folder")
    console.print(
        f"{manifest.name}: preset {manifest.preset}, built for {manifest.target.value}, by "
        f"omnilmm-lite {manifest.tool_version} from {folder if isinstance(folder, str) else 'an unknown folder'}"
    )
    if manifest.target is Device.CUDA:
        console.print(f"packing of the decoder's products: {manifest.packing.value}")
    console.print(_model_table(manifest))
    console.print(_file_table(manifest.files, verified))
    _print_parity(console, manifest)
    _print_quantization(console, manifest.quantization or {})


def print_conversion(manifest: Manifest, out: Path) -> None:
    """What a finished conversion made, and how near it is to the original."""
    console = plain_console()
    size = sum(entry.size for entry in manifest.files)
    console.print(f"{out}: {size / 1e6:,.1f} MB, preset {manifest.preset}")
    _print_parity(console, manifest)
    _print_quantization(console, manifest.quantization or {})
    command = shlex.join(["omnilmm-lite", "run", "PICTURE", "--model", str(out), "-p", "What is this?"])
    console.print(f"try it: {command}")


def _print_parity(console: Console, manifest: Manifest) -> None:
    """What isn't understood is left out."""
    parity = manifest.parity
    for graph, each in entries(parity.get("graphs")).items():
        if found := numbers(each, "difference", "tolerance"):
            console.print(f"{graph}: within {found[0]:.1e} of the reference (allowed: {found[1]:g})")
    if found := numbers(parity.get("tower_quality"), "mean_cosine", "worst_cosine"):
        console.print(
            f"quantized tower against the original: cosine of a patch {found[0]:.5f} in the mean, {found[1]:.4f} "
            "at worst"
        )
    if found := numbers(parity.get("quality"), "tokens", "mean_kld", "top1_agreement"):
        console.print(
            f"4-bit decoder against the original, over {found[0]} tokens: mean KLD {found[1]:.4f}, same top token "
            f"{found[2]:.1%}"
        )


def _print_quantization(console: Console, quantization: Mapping[str, Any]) -> None:
    """How tower and decoder were quantized, and where it hurts most; what isn't understood is left out."""
    print_tower(console, items(entries(quantization.get("tower")).get("blocks")))
    _print_fp16(console, entries(quantization.get("fp16")))
    if settings := scalars(quantization.get("settings")):
        console.print("quantization: " + ", ".join(f"{name} {value}" for name, value in settings.items()))
    layers = list(projections(quantization.get("projections")))
    layouts = Counter((each.bits, each.group_size) for each in layers)
    for (bits, group_size), count in sorted(layouts.items()):
        console.print(f"{count} linear layers at {bits} bits in groups of {group_size}")
    if not layers:
        return
    table = Table("worst layers", "bits", "error of its output", "rounding's", show_edge=False)
    for each in sorted(layers, key=lambda each: -each.error_to_output)[:WORST_LAYERS]:
        times = 1 / each.error_to_rounding if each.error_to_rounding else float("inf")
        cells = (str(each.bits), f"{each.error_to_output:.2%}", f"{times:.1f} times that")
        table.add_row(each.name.removeprefix("model."), *cells)
    console.print(table)


def print_tower(console: Console, blocks: Sequence[object]) -> None:
    """Its worst block in int8, by what each adds to the residual stream, and those that want looking at."""
    found = {number: cosines[0] for number, each in enumerate(blocks, 1) if (cosines := numbers(each, "worst_cosine"))}
    if not found:
        return
    worst = min(found, key=lambda number: found[number])
    console.print(
        f"tower in int8: worst token's cosine in calibration {found[worst]:.4f}, in block {worst} of {len(blocks)}"
    )
    if below := [str(number) for number, cosine in found.items() if cosine < WORST_COSINE]:
        console.print(f"tower's blocks with a token below {WORST_COSINE}: {', '.join(below)}")


def _print_fp16(console: Console, fp16: Mapping[str, Any]) -> None:
    """How near its numbers come to the largest in fp16, and what is divided so that they don't."""
    for each in largest_numbers(fp16.get("worst")):
        divided = "" if each.divisor == 1 else f", divided by {each.divisor:g}"
        console.print(
            f"{each.part} in fp16: at most {each.largest:,.0f}{divided} in calibration; {each.headroom:,.0f} times "
            f"that fits ({each.site})"
        )
    for part, layers in (("tower", "branches"), ("decoder", "inner")):
        own = entries(fp16.get(part))
        stream = numbers(own, "stream") or (1,)
        divisors = [each for each in scalars(own.get(layers)).values() if not isinstance(each, str)]
        words = [f"its residual stream by {stream[0]:g}"] if stream[0] != 1 else []
        words += [f"{len(divisors)} of its layers by up to {max(divisors):g}"] if divisors else []
        if words:
            console.print(f"{part} divided by powers of two, which changes no result: {', '.join(words)}")


def _model_table(manifest: Manifest) -> Table:
    config = manifest.config
    vision, resampler, decoder = config.vision, config.resampler, config.decoder
    table = Table("part", "shape", "bytes", show_edge=False)
    memory = manifest.memory
    rows = {
        "vision": f"{vision.num_hidden_layers} blocks of {vision.hidden_size}, {vision.image_size} px, "
        f"{vision.num_patches} patches",
        "resampler": f"{resampler.num_queries} queries of {resampler.hidden_size}",
        "decoder": f"{decoder.num_hidden_layers} layers of {decoder.hidden_size}, {decoder.num_attention_heads} heads, "
        f"{decoder.num_key_value_heads} for keys and values",
        "embeddings": f"{decoder.vocab_size} tokens of {decoder.hidden_size}",
        "kv_cache_per_token": "for each token of context",
    }
    for part, shape in rows.items():
        table.add_row(part.replace("_", " "), shape, f"{memory.get(part, 0):,}")
    return table


def _file_table(files: tuple[FileEntry, ...], verified: bool) -> Table:
    table = Table("file", "bytes", "sha256 (verified)" if verified else "sha256 (not verified)", show_edge=False)
    for entry in files:
        table.add_row(entry.path, f"{entry.size:,}", entry.sha256[:16])
    return table
