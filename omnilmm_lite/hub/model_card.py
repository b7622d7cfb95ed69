"""A bundle's page on a hub, made of its manifest: what it is, what it was made from, what it lost, how to run it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from omnilmm_lite.bundle.manifest import Manifest
from omnilmm_lite.bundle.report_fields import entries, items, numbers, projections, scalars
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.files.printable import printable
from omnilmm_lite.hub.choice import is_published

MARK = "<!-- made by omnilmm-lite push; edit it, and the next push leaves it as it is if this line is gone -->"
HUB = "https://huggingface.co"
PUBLISHERS = ("openbmb/OmniLMM-12B", "openbmb/RLAIF-V-12B")
WORST_LAYERS = 5  # shown


def model_card(manifest: Manifest, repo: str) -> str:
    """README.md in Markdown for `repo` (OWNER/NAME)."""
    base = base_model(manifest)
    parts = [
        _front_matter(base),
        MARK,
        f"# {_plain(repo.partition('/')[2])}",
        _introduction(manifest, base),
        "## Run it",
        "With omnilmm-lite, on your own machine and, once it is there, without a network:",
        f"```\nomnilmm-lite pull {repo}\n```",
        "`pull` checks every file against the manifest and prints the command that runs it.",
        "## Where it is from",
        _source(manifest, base),
        "## How near it is to the original",
        _parity(manifest),
        *_quantization(manifest),
        "## Files",
        _table(
            ["file", "bytes", "SHA-256"],
            ([f"`{_plain(each.path)}`", f"{each.size:,}", f"`{_plain(each.sha256)}`"] for each in manifest.files),
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def base_model(manifest: Manifest) -> str | None:
    """The published model that it was made from: by the hash of its weights, else by the folder's name; None where
    neither is known."""
    for each in items(manifest.source.get("files")):
        digest = entries(each).get("sha256")
        if isinstance(digest, str) and (name := is_published(digest)):
            return name
    folder = manifest.source.get("folder")
    return next((name for name in PUBLISHERS if name.partition("/")[2] == folder), None)


def _front_matter(base: str | None) -> str:
    lines = ["---", "license: other", "pipeline_tag: image-text-to-text", "tags: [onnx, omnilmm, omnilmm-lite]"]
    if base is not None:
        lines += [f"base_model: {json.dumps(base)}", f"license_link: {json.dumps(f'{HUB}/{base}')}"]
    return "\n".join([*lines, "---"])


def _introduction(manifest: Manifest, base: str | None) -> str:
    made_from = f"[{base}]({HUB}/{base})" if base else "an OmniLMM checkpoint"
    size = sum(entry.size for entry in manifest.files)
    where = "an NVIDIA card" if manifest.target is Device.CUDA else "the processor"
    return (
        f"A bundle of ONNX graphs made from {made_from}: preset `{_plain(manifest.preset)}`, for {where}, "
        f"{size / 1e6:,.1f} MB, by omnilmm-lite {_plain(manifest.tool_version)}."
    )


def _source(manifest: Manifest, base: str | None) -> str:
    rows = []
    for each in items(manifest.source.get("files")):
        found = entries(each)
        path, size, digest = found.get("path"), numbers(each, "size"), found.get("sha256")
        if isinstance(path, str) and size and isinstance(digest, str):
            rows.append([f"`{_plain(path)}`", f"{size[0]:,}", f"`{_plain(digest)}`"])
    whose = f"[{base}]({HUB}/{base})" if base else "the checkpoint it was made from"
    licence = f"The weights keep the licence of {whose}: read it before you use or pass them on."
    return "\n\n".join(part for part in (licence, _table(["checkpoint's file", "bytes", "SHA-256"], rows)) if part)


def _parity(manifest: Manifest) -> str:
    """What isn't understood is left out."""
    parity, lines = manifest.parity, []
    for graph, each in entries(parity.get("graphs")).items():
        if found := numbers(each, "difference", "tolerance"):
            lines.append(f"* `{_plain(graph)}`: within {found[0]:.1e} of the torch reference (allowed: {found[1]:g})")
    if found := numbers(parity.get("tower_quality"), "mean_cosine", "worst_cosine"):
        lines.append(
            f"* quantized tower against the original: cosine of a patch {found[0]:.5f} in the mean, {found[1]:.4f} at "
            "worst"
        )
    if found := numbers(parity.get("quality"), "tokens", "mean_kld", "top1_agreement"):
        lines.append(
            f"* 4-bit decoder against the original, over {found[0]} tokens: mean KL divergence {found[1]:.4f}, same "
            f"top token {found[2]:.1%}"
        )
    return "\n".join(lines) or "The manifest says nothing about it."


def _quantization(manifest: Manifest) -> Iterator[str]:
    quantization = manifest.quantization or {}
    layers = list(projections(quantization.get("projections")))
    settings = scalars(quantization.get("settings"))
    if not layers and not settings:
        return
    yield "## How it was quantized"
    layouts = Counter((each.bits, each.group_size) for each in layers)
    lines = [
        f"* {count} linear layers at {bits} bits in groups of {size}" for (bits, size), count in sorted(layouts.items())
    ]
    lines += [f"* {_plain(name)}: {_plain(str(value))}" for name, value in settings.items()]
    yield "\n".join(lines)
    worst = sorted(layers, key=lambda each: -each.error_to_output)[:WORST_LAYERS]
    yield _table(
        ["worst layers", "bits", "error of the output"],
        ([f"`{_plain(each.name)}`", str(each.bits), f"{each.error_to_output:.2%}"] for each in worst),
    )


def _table(head: list[str], rows: Iterator[list[str]] | list[list[str]]) -> str:
    """Empty where there are no rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines]) if lines else ""


def _plain(text: str) -> str:
    """A manifest's words, which may be anybody's: nothing in them is Markdown, HTML or a table's column."""
    return "".join(char if char.isalnum() or char in " ._-/,:+=()" else "?" for char in printable(text))
