"""A converted model on disk: a folder with a manifest, checked before anything in it is used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from omnilmm_lite.errors import InputError
from omnilmm_lite.manifest import MANIFEST, FileEntry, Manifest

BUILTIN = Path(__file__).parent / "builtin"
HASH_CHUNK = 1 << 22
# How protobuf writes onnx's StringStringEntryProto{key: "location", value: ...}: where a graph says its weights lie.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x00-\x7f])")


@dataclass(frozen=True)
class Bundle:
    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Reads the manifest and checks every file's path and size. InputError, one line, for anything amiss."""
        folder = Path(folder).expanduser()
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such bundle folder; `omnilmm-lite convert` makes one")
        path = folder / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            hint = _checkpoint_hint(folder)
            raise InputError(f"{folder}: this folder has no {MANIFEST}, so it is no bundle{hint}") from None
        except (OSError, UnicodeDecodeError):
            raise InputError(f"{path}: the manifest can't be read as UTF-8 text") from None
        bundle = cls(folder, Manifest.from_json(text, path))
        bundle._check_files()
        return bundle

    @classmethod
    def builtin(cls) -> Bundle:
        """The demonstration model that ships with the package."""
        return cls.open(BUILTIN / "tiny")

    def path(self, name: str) -> Path:
        """The path of a file that the manifest lists."""
        return self.folder / name

    def verify(self, on_file: Callable[[FileEntry], None] = lambda entry: None) -> None:
        """Hashes every file; InputError names the first that isn't what was converted."""
        for entry in self.manifest.files:
            on_file(entry)
            found = sha256(self.path(entry.path))
            if found != entry.sha256:
                raise InputError(
                    f"{self.path(entry.path)}: the file is damaged: its SHA-256 is {found}, the manifest says "
                    f"{entry.sha256}; copy the bundle again or convert the checkpoint again"
                )

    def _check_files(self) -> None:
        root = self.folder.resolve()
        for entry in self.manifest.files:
            if not _stays_inside(entry.path, root):
                raise InputError(f"{self.folder / MANIFEST}: the path {entry.path!r} leaves the bundle's folder")
            path = self.path(entry.path)
            if not path.is_file():
                raise InputError(f"{path}: the file is missing; copy the bundle again")
            size = path.stat().st_size
            if size != entry.size:
                raise InputError(
                    f"{path}: the file has {size:,} bytes where the manifest says {entry.size:,}; copy the bundle again"
                )
        listed = {entry.path for entry in self.manifest.files}
        graphs = self.manifest.graphs
        for name in vars(graphs).values():
            if name not in listed:
                raise InputError(f"{self.folder / MANIFEST}: {name!r} is used but not listed among the files")
            if name.endswith(".onnx"):
                self._check_weights_location(name, listed)

    def _check_weights_location(self, graph: str, listed: set[str]) -> None:
        """A graph may only name weights that the manifest lists, so that it can't make onnxruntime map other files."""
        data = self.path(graph).read_bytes()
        locations = {
            data[match.end() : match.end() + match[1][0]].decode("utf-8", errors="replace")
            for match in _LOCATION.finditer(data)
        }
        if data.count(b"\x08location") != len(_LOCATION.findall(data)) or not locations <= listed:
            raise InputError(f"{self.path(graph)}: the graph takes weights from a file that the manifest doesn't list")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _stays_inside(name: str, root: Path) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        return False
    return (root / name).resolve().is_relative_to(root)  # a link may lead elsewhere


def _checkpoint_hint(folder: Path) -> str:
    if (folder / "config.json").is_file():
        return "; it looks like a checkpoint: `omnilmm-lite convert` makes a bundle of it"
    return "; `omnilmm-lite convert` makes one"
