"""The bundle's table of contents: what was converted from what, how, and every file with its size and hash."""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.schema import build
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.errors import InputError
from omnilmm_lite.sampling_params import SamplingParams

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
EXACT_INT8_SCHEMA = 2  # before it, int8 products were right on processors with VNNI only
MANIFEST = "manifest.json"
# Bundles that were made before these were known mean them as they are here: off.
LATER_SAMPLING = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
PREFILL = "prefill.onnx"  # where prompts have a graph of their own


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: its path relative to the folder, its size in bytes, its SHA-256 in hex."""

    path: str
    size: int
    sha256: str


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

    def to_json(self) -> str:
        data = dataclasses.asdict(self)
        data |= {"target": self.target.value, "packing": self.packing.value}
        return json.dumps({"schema_version": self.schema_version, **data}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: Path) -> Manifest:
        """The manifest in `text`; InputError where it isn't one, or is one of a newer schema."""
        try:
            data = json.loads(text)
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
        if isinstance(sampling := data.get("sampling"), dict):
            data["sampling"] = {**LATER_SAMPLING, **sampling}
        data.setdefault("mapped", [])  # bundles that were made before have none
        data.setdefault("packing", Packing.BLOCKWISE.value)  # nor had they any other
        try:
            manifest = build(cls, data)
            _check_sizes(manifest.config)
        except InputError as error:
            raise InputError(f"{where}: {error}; convert the checkpoint again") from None
        return manifest


def _check_sizes(config: OmniLMMConfig) -> None:
    """InputError names the first number of the model's shape that no model can have."""
    for part in ("vision", "resampler", "decoder"):
        for name, value in vars(getattr(config, part)).items():
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"config.{part}.{name}: {value} is out of range")
    for name, token in vars(config.tokens).items():
        if not 0 <= token < config.decoder.vocab_size:
            raise InputError(f"config.tokens.{name}: {token} is no token of {config.decoder.vocab_size}")
