"""Changing a bundle on purpose: its manifest holds its own hash, and those of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omnilmm_lite.bundle.integrity.hashes import hash_file
from omnilmm_lite.bundle.manifest import MANIFEST, NO_HASH, SEAL, SEAL_LINE

Edit = Callable[[dict[str, Any]], object]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Its JSON without its own hash."""
    data: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    data.pop(SEAL, None)
    return data


def write_manifest(folder: Path, data: dict[str, Any]) -> None:
    """In place of the one that is there, which may be a link to another bundle's."""
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / MANIFEST).write_bytes(resealed(json.dumps({**data, SEAL: NO_HASH}).encode()))


def edit_manifest(folder: Path, change: Edit) -> None:
    data = read_manifest(folder)
    change(data)
    write_manifest(folder, data)


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """A file with other content, which the manifest takes for what was converted."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    hashes = hash_file(folder / name)

    def change(data: dict[str, Any]) -> None:
        entry = entry_of(data, name)
        entry.update(size=len(content), sha256=hashes.sha256, hashes=list(hashes.pieces))

    edit_manifest(folder, change)


def resealed(text: bytes) -> bytes:
    """A manifest's bytes with their own hash in the place of the one at their end; unchanged where there is none."""
    if (found := SEAL_LINE.search(text)) is None:
        return text
    before, after = text[: found.start(1)], text[found.end(1) :]
    return before + hashlib.sha256(before + NO_HASH.encode() + after).hexdigest().encode() + after


def entry_of(data: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in data["files"] if entry["path"] == name)
    return found
