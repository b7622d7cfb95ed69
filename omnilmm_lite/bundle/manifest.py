"""The bundle's table of contents: what was converted from what, how, and every file with its size and hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnilmm_lite.bundle.integrity.file_entry import FileEntry as FileEntry
from omnilmm_lite.bundle.integrity.hashes import num_pieces
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.schema import build
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import SamplingParams

SCHEMA_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
EXACT_INT8_SCHEMA = 2  # before it, int8 products were right on processors with VNNI only
SEALED_SCHEMA = 3  # before it, neither the manifest nor the pieces of files had hashes of their own
MANIFEST = "manifest.json"
# Bundles that were made before these were known mean them as they are here: off.
LATER_SAMPLING = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
PREFILL = "prefill.onnx"  # where prompts have a graph of their own
MAX_BYTES = 16 << 20
MAX_FILES = 64  # many times what any bundle has; opening hashes each small one
MAX_NUMBER = 1 << 24  # of a model's shape: as much as a checkpoint's config may have at most
# The manifest's end: the hash of all its bytes, with zeros in the hash's own place.
SEAL = "manifest_sha256"
SEAL_LINE = re.compile(rb'"manifest_sha256": "([0-9a-f]{64})"\s*\}\s*\Z')
NO_HASH = "0" * 64
ANY_TEXT = "surrogatepass"  # free-form parts of older bundles may have lone surrogates


@dataclass(frozen=True)
class Graphs:
    """Which file plays which part. One decoder graph may serve both prefill and decode, or two may share the cache."""

    vision: str = "vision.onnx"
    resampler: str = "resampler.onnx"
    prefill: str = "decoder.onnx"
    decode: str = "decoder.onnx"
    embeddings: str = "embeddings.npy"
    tokenizer: str = "tokenizer.json"


@dataclass(frozen=True)
class Manifest:
    """`source`, `quantization`, `parity` and `memory` are for people and reports; the runtime doesn't read them."""

    name: str
    tool_version: str
    preset: str
    target: Device
    config: OmniLMMConfig
    files: tuple[FileEntry, ...]
    schema_version: int = SCHEMA_VERSION
    graphs: Graphs = Graphs()
    time_shared: bool = False  # the tower is let go after each picture: there is no room for it beside the decoder
    # Graphs whose weights the CPU engine takes where they lie in the file. It would pack them for its kernels: seconds
    # of loading and a copy in memory, which int8 products with many rows are no faster for.
    mapped: tuple[str, ...] = ()
    packing: Packing = Packing.BLOCKWISE  # of the decoder's products
    sampling: SamplingParams = field(default_factory=SamplingParams)
    source: dict[str, Any] = field(default_factory=dict)
    quantization: dict[str, Any] | None = None
    parity: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without its own hash."""
        data = dataclasses.asdict(self)
        data |= {"target": self.target.value, "packing": self.packing.value}
        return {"schema_version": self.schema_version, **data}

    def to_json(self) -> str:
        return sealed(self.to_dict())

    @classmethod
    def from_json(cls, text: bytes | str, where: Path) -> Manifest:
        """The manifest in `text`; InputError where it isn't one, was changed, or is one of a newer schema."""
        text = text.encode(errors=ANY_TEXT) if isinstance(text, str) else text
        try:
            data = json.loads(text.decode())
        except (ValueError, RecursionError):
            raise InputError(
                f"{where}: this is not JSON; copy the bundle again or convert the checkpoint again"
            ) from None
        if not isinstance(data, dict) or "schema_version" not in data:
            raise InputError(f"{where}: this is not a bundle's manifest; convert the checkpoint again")
        version = data["schema_version"]
        if isinstance(version, bool) or version not in READABLE_VERSIONS:
            raise InputError(
                f"{where}: the bundle has schema version {reprlib.repr(version)}, this omnilmm-lite reads "
                f"{SCHEMA_VERSION}: update omnilmm-lite, or convert the checkpoint again"
            )
        if (version >= SEALED_SCHEMA or SEAL in data) and not _is_sealed(text):
            raise InputError(
                f"{where}: the manifest is damaged, or was changed by hand: it hasn't the SHA-256 at its end; copy the "
                "bundle again or convert the checkpoint again"
            )
        _add_later_fields(data)
        try:
            manifest = build(cls, data)
            _check_sizes(manifest.config)
            _check_files(manifest.files, manifest.schema_version)
        except InputError as error:
            raise InputError(f"{where}: {error}; convert the checkpoint again") from None
        return manifest


def sealed(data: Mapping[str, Any]) -> str:
    """A manifest's JSON with its hash at the end."""
    blank = json.dumps({**data, SEAL: NO_HASH}, indent=1, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(blank.encode(errors=ANY_TEXT)).hexdigest()
    return blank.removesuffix(f'{NO_HASH}"\n}}\n') + f'{digest}"\n}}\n'


def _is_sealed(text: bytes) -> bool:
    if (found := SEAL_LINE.search(text)) is None:
        return False
    blank = text[: found.start(1)] + NO_HASH.encode() + text[found.end(1) :]
    return hashlib.sha256(blank).hexdigest().encode() == found[1]


def _add_later_fields(data: dict[str, Any]) -> None:
    """What bundles that were made before these fields were known mean by leaving them out."""
    data.pop(SEAL, None)
    if isinstance(sampling := data.get("sampling"), dict):
        data["sampling"] = {**LATER_SAMPLING, **sampling}
    data.setdefault("mapped", [])
    data.setdefault("packing", Packing.BLOCKWISE.value)  # there was no other
    for entry in files if isinstance(files := data.get("files"), list) else ():
        if isinstance(entry, dict):
            entry.setdefault("hashes", [])


def _check_files(files: Sequence[FileEntry], version: int) -> None:
    """InputError for more files than any bundle has, and for hashes of another number of pieces than a file has."""
    if len(files) > MAX_FILES or len({entry.path for entry in files}) != len(files):
        raise InputError(f"files: {len(files)} are listed, and at most {MAX_FILES} may be, each once")
    for entry in files:
        wanted = {num_pieces(entry.size)} | ({0} if version < SEALED_SCHEMA else set())
        if len(entry.hashes) not in wanted:
            raise InputError(f"files: {entry.path!r} has {len(entry.hashes)} hashes, too few or too many for its size")


def _check_sizes(config: OmniLMMConfig) -> None:
    """InputError names the first number of the model's shape that no model can have."""
    for part in ("vision", "resampler", "decoder"):
        sizes = getattr(config, part)
        for each in dataclasses.fields(sizes):
            value, most = getattr(sizes, each.name), sys.float_info.max if each.type == "float" else MAX_NUMBER
            if value is not None and not 0 < value <= most:
                raise InputError(f"config.{part}.{each.name}: {value} is out of range")
    for name, token in vars(config.tokens).items():
        if not 0 <= token < config.decoder.vocab_size:
            raise InputError(f"config.tokens.{name}: {token} is no token of {config.decoder.vocab_size}")
