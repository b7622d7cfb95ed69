"""A converted model on disk: a folder with a manifest, checked before anything in it is used."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.builtin import BUILTIN_NAME as BUILTIN_NAME
from omnilmm_lite.bundle.graph_checks import check_graphs, check_table
from omnilmm_lite.bundle.integrity.hashes import sha256 as sha256
from omnilmm_lite.bundle.integrity.large_files import (
    check_in_background,
    check_known_damage,
    damaged,
    large_files,
    remember_whole,
)
from omnilmm_lite.bundle.manifest import EXACT_INT8_SCHEMA, MANIFEST, MAX_BYTES, FileEntry, Manifest
from omnilmm_lite.bundle.onnx_file import Graph, external_locations, parse_graph, read_onnx
from omnilmm_lite.bundle.operators import check_operators
from omnilmm_lite.bundle.presets import PRESETS
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.regular_file import check_regular, read_regular
from omnilmm_lite.formats import LinearFormat

INT8_PRODUCT = b"MatMulIntegerToFloat"  # the operator's name, as a graph's file spells it


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest has been read and holds what it says, as far as opening checks it."""

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
        """Reads the manifest and checks every file's path and size, the hashes of small ones, and the graphs: their
        operators, and their shapes against the manifest's. InputError, one line, for anything amiss."""
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
            text = read_regular(path, MAX_BYTES)
        except FileNotFoundError:
            hint = _checkpoint_hint(folder)
            raise InputError(f"{folder}: this folder has no {MANIFEST}, so it is no bundle{hint}") from None
        except OSError:
            raise InputError(f"{path}: the manifest can't be read; copy the bundle again") from None
        bundle = cls(folder, Manifest.from_json(text, path))
        try:
            bundle._check_files()
        except OSError as error:  # no right to read a file; a disk that fails
            raise InputError(
                f"{error.filename or folder}: {error.strerror or error}; check its rights, or copy the bundle again"
            ) from None
        return bundle

    @property
    def identity(self) -> str:
        """The name and the start of the manifest's hash, which changes with every file of the bundle."""
        return f"{self.manifest.name}@{sha256(self.path(MANIFEST))[:12]}"

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
            if sha256(self.path(entry.path)) != entry.sha256:
                raise damaged(self.path(entry.path))
            remember_whole(self.folder, entry)

    def check_vocabulary(self, tokens: int) -> None:
        """InputError where the tokenizer has more tokens than the model: it would give ids that no row belongs to."""
        if tokens > (known := self.manifest.config.decoder.vocab_size):
            raise InputError(
                f"{self.folder / MANIFEST}: config.decoder.vocab_size is {known}, and {self.manifest.graphs.tokenizer} "
                f"has {tokens} tokens; copy the bundle again or convert the checkpoint again"
            )

    def check_in_background(self, has_answered: Callable[[], bool | None]) -> None:
        """Hashes large files, from where the last start stopped, in a thread that ends with the process. A line about a
        damaged one is logged as a warning. `has_answered`: whether the model has, which it waits for; None ends it."""
        check_in_background(self.folder, self.manifest.files, has_answered)

    def _check_files(self) -> None:
        root = self.folder.resolve()
        for entry in self.manifest.files:
            if not _stays_inside(entry.path, root):
                raise InputError(f"{self.folder / MANIFEST}: the path {entry.path!r} leaves the bundle's folder")
            path = self.path(entry.path)
            try:
                size = check_regular(path).st_size
            except OSError:  # also too long a name
                raise InputError(f"{path}: the file is missing; copy the bundle again") from None
            if size != entry.size:
                raise InputError(
                    f"{path}: the file has {size:,} bytes where the manifest says {entry.size:,}; copy the bundle again"
                )
        sizes = {entry.path: entry.size for entry in self.manifest.files}
        for name in vars(self.manifest.graphs).values():
            if name not in sizes:
                raise InputError(f"{self.folder / MANIFEST}: {name!r} is used but not listed among the files")
        self._check_hashes()
        self._check_graphs(sizes)

    def _check_hashes(self) -> None:
        """Of small files; of large ones what earlier starts know."""
        large = {entry.path for entry in large_files(self.manifest.files)}
        for entry in self.manifest.files:
            if entry.path not in large and sha256(self.path(entry.path)) != entry.sha256:
                raise damaged(self.path(entry.path))
        check_known_damage(self.folder, self.manifest.files)

    def _check_graphs(self, sizes: Mapping[str, int]) -> None:
        """`sizes`: of the files that the manifest lists."""
        graphs, config = self.manifest.graphs, self.manifest.config
        parsed: dict[str, Graph] = {}
        for name in (graphs.vision, graphs.resampler, graphs.prefill, graphs.decode):
            if name not in parsed:
                parsed[name] = self._checked_graph(name, sizes)
        try:
            roles = ("vision", "resampler", "prefill", "decode")
            check_graphs(config, {role: (self.path(name := getattr(graphs, role)), parsed[name]) for role in roles})
        except InputError as error:
            raise InputError(f"{self.folder / MANIFEST}: {error}") from None
        check_table(self.path(graphs.embeddings), config.decoder)

    def _checked_graph(self, name: str, sizes: Mapping[str, int]) -> Graph:
        path = self.path(name)
        if not name.endswith(".onnx"):  # onnxruntime reads an .ort file in a format of its own
            raise InputError(f"{path}: a graph's file name must end in .onnx")
        if "/" in name:  # onnxruntime looks for the weights beside the graph, where the manifest lists no files
            raise InputError(f"{path}: a graph must lie in the bundle's own folder; copy the bundle again")
        data = read_onnx(path)
        self._check_weights_location(name, data, sizes)
        self._check_int8_products(data)
        graph = parse_graph(data, path)
        for place in (each.place for each in graph.initializers.values()):
            if place is not None and place.offset + place.length > sizes.get(place.file, 0):
                raise InputError(f"{path}: the graph's weights reach beyond {place.file}; copy the bundle again")
        check_operators(graph, path)
        return graph

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
            # the command, which has the path, stands last: there a long line isn't cut
            advice = f"with the other options of then, run `{command} --work-dir {shlex.quote(str(work_dir))}`"
        else:
            advice = (
                f"run `{command}` with `--work-dir` and the work folder of then, or `--gptq` and its GPTQ folder: "
                "without, it takes hours"
            )
        raise InputError(f"{self.folder.name}: its int8 products are wrong without VNNI; {advice}")

    def _check_weights_location(self, graph: str, data: bytes, sizes: Mapping[str, int]) -> None:
        """A graph may only name weights that the manifest lists, so that it can't make onnxruntime map other files."""
        locations = external_locations(data)
        if locations is None or not locations <= sizes.keys():
            raise InputError(f"{self.path(graph)}: the graph takes weights from a file that the manifest doesn't list")


def _stays_inside(name: str, root: Path) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:  # Windows' separator, and its drives
        return False
    try:
        found = (root / name).resolve()  # a link may lead elsewhere
        return found.is_relative_to(root) or _is_blob(root / name, found, root)
    except (OSError, RuntimeError, ValueError):  # or nowhere, in a circle
        return False


def _is_blob(path: Path, found: Path, root: Path) -> bool:
    """Whether a file of `root` is a link into the same store of Hugging Face's cache, where every file is one:
    `models--OWNER--NAME/snapshots/REVISION/FILE -> ../../blobs/HASH`. `found`: what it leads to in the end."""
    for snapshots in root.parents:
        if snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--"):
            written = Path(os.path.normpath(path.parent.resolve() / path.readlink()))  # by the link's own text
            return written == found and found.parent == snapshots.parent / "blobs"
    return False


def _checkpoint_hint(folder: Path) -> str:
    if (folder / "config.json").is_file():
        return "; it looks like a checkpoint: `omnilmm-lite convert` makes a bundle of it"
    return "; `omnilmm-lite convert` makes one"
