"""A converted model on disk: a folder with a manifest, checked before anything in it is used."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.manifest import EXACT_INT8_SCHEMA, MANIFEST, FileEntry, Manifest
from omnilmm_lite.bundle.onnx_file import external_locations
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.errors import InputError
from omnilmm_lite.formats import LinearFormat

BUILTIN_NAME = "tiny"
HASH_CHUNK = 1 << 22
INT8_PRODUCT = b"MatMulIntegerToFloat"  # the operator's name, as a graph's file spells it


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest has been read and whose files have the sizes it says."""

    folder: Path
    manifest: Manifest

    @classmethod
    def find(cls, name: str | Path | None) -> Bundle:
        """The bundle in a folder; for None, and for `tiny` where there is no such folder, the built-in one."""
        if name is None or (str(name) == BUILTIN_NAME and not Path(name).exists()):
            return cls.open(BUILTIN / BUILTIN_NAME)
        return cls.open(name)

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Reads the manifest and checks every file's path and size. InputError, one line, for anything amiss."""
        folder = Path(folder)
        try:
            folder = folder.expanduser()
            found = folder.is_dir()
        except (OSError, RuntimeError):  # no right to look there, too long a name; `~` of a user that doesn't exist
            found = False
        if not found:
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

    def path(self, name: str) -> Path:
        """The path of a file that the manifest lists."""
        return self.folder / name

    def weights(self, graph: str) -> Path:
        """The file beside a graph where conversion puts its weights."""
        return self.path(f"{graph}.data")

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
            size = _file_size(path)
            if size is None:
                raise InputError(f"{path}: the file is missing; copy the bundle again")
            if size != entry.size:
                raise InputError(
                    f"{path}: the file has {size:,} bytes where the manifest says {entry.size:,}; copy the bundle again"
                )
        listed = {entry.path for entry in self.manifest.files}
        graphs = self.manifest.graphs
        for name in vars(graphs).values():
            if name not in listed:
                raise InputError(f"{self.folder / MANIFEST}: {name!r} is used but not listed among the files")
        for name in {graphs.vision, graphs.resampler, graphs.prefill, graphs.decode}:
            if not name.endswith(".onnx"):  # onnxruntime reads an .ort file in a format of its own
                raise InputError(f"{self.path(name)}: a graph's file name must end in .onnx")
            data = self.path(name).read_bytes()
            self._check_weights_location(name, data, listed)
            self._check_int8_products(data)

    def _check_int8_products(self, data: bytes) -> None:
        """InputError where int8 weights may overflow: right numbers on some processors, wrong ones on others."""
        if self.manifest.schema_version >= EXACT_INT8_SCHEMA or INT8_PRODUCT not in data:
            return
        preset = self.manifest.preset
        if preset not in PRESETS or PRESETS[preset].tower is not LinearFormat.INT8:
            preset = "cpu-small" if self.manifest.graphs.prefill == self.manifest.graphs.decode else "cpu"
        command = f"omnilmm-lite convert CHECKPOINT NEW --preset {preset}"
        folder = self.folder.resolve()
        work_dir = folder.with_name(f"{folder.name}.work")  # where `convert` keeps the decoder unless told otherwise
        if (work_dir / "gptq").is_dir():
            advice = (
                f"run `{command} --work-dir {shlex.quote(str(work_dir))}` with the other options of then: the decoder "
                "isn't quantized again, and the full model takes about half an hour"
            )
        else:
            advice = (
                f"run `{command}` with `--work-dir` and the work folder of then, or `--gptq` and the GPTQ folder of "
                "then: without either, the decoder is quantized again, which takes hours"
            )
        raise InputError(
            f"{self.folder}: an earlier omnilmm-lite made this bundle, and its int8 products are wrong on processors "
            f"without VNNI; {advice}"
        )

    def _check_weights_location(self, graph: str, data: bytes, listed: set[str]) -> None:
        """A graph may only name weights that the manifest lists, so that it can't make onnxruntime map other files."""
        locations = external_locations(data)
        if locations is None or not locations <= listed:
            raise InputError(f"{self.path(graph)}: the graph takes weights from a file that the manifest doesn't list")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _file_size(path: Path) -> int | None:
    """None where there is no file."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:  # too long a name
        return None


def _stays_inside(name: str, root: Path) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:  # Windows' separator, and its drives
        return False
    try:
        return (root / name).resolve().is_relative_to(root)  # a link may lead elsewhere
    except (OSError, RuntimeError):  # or nowhere, in a circle
        return False


def _checkpoint_hint(folder: Path) -> str:
    if (folder / "config.json").is_file():
        return "; it looks like a checkpoint: `omnilmm-lite convert` makes a bundle of it"
    return "; `omnilmm-lite convert` makes one"
